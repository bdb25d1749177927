import { assert, assertEquals, assertRejects } from "@std/assert";
import type { LogRecord } from "../base/mod.ts";
import type { MaterialReader } from "./material_file.ts";
import type { RevocationFacts } from "./material_file.ts";
import { loadRevocation } from "./revocation.ts";

const NOW = Date.UTC(2026, 5, 1);
const HOUR = 3_600_000;

/** Lists by path: the hours from now to their next update. */
function reader(lists: Readonly<Record<string, readonly number[]>>): MaterialReader {
  return {
    readFile: (path) =>
      path in lists ? Promise.resolve(new TextEncoder().encode(path)) : Promise.reject(new Deno.errors.NotFound()),
    fileMode: () => Promise.resolve(null),
    createPrivateFile: null,
    readCertificates: () => [],
    readRevocationLists: (pem) =>
      (lists[new TextDecoder().decode(pem)] ?? []).map((hours): RevocationFacts => ({
        issuer: "CN=CA",
        thisUpdateMs: NOW - HOUR,
        nextUpdateMs: NOW + hours * HOUR,
        serials: ["1"],
      })),
    entropy: () => {},
    nowMs: NOW,
  };
}

const settings = (crlPaths: readonly string[], staleHours: number) => ({
  crlPaths,
  crlMaxStaleMs: staleHours * HOUR,
  denyListPath: null,
  maxStaleFlag: "--x",
});

Deno.test("lists of all files count together; without any there is nothing to check", async () => {
  const both = await loadRevocation(settings(["a", "b"], 0), reader({ a: [48], b: [72, 96] }), []);
  assertEquals([both.lists.length, both.toleratesStale, both.nextLookMs], [3, false, Infinity]);
  assertEquals(new TextDecoder().decode(both.crlPem ?? undefined), "a\nb\n");
  const none = await loadRevocation(settings([], 0), reader({}), []);
  assertEquals([none.crlPem, none.lists.length], [null, 0]);
});

Deno.test("a list past its time counts on only as long as the settings say, and both is told", async () => {
  for (const [hours, stale, tolerated, told] of [[-1, 0, false, "are refused"], [-1, 24, true, "still counts"]] as const) {
    const notices: LogRecord[] = [];
    const loaded = await loadRevocation(settings(["a"], stale), reader({ a: [hours] }), notices);
    assertEquals(loaded.toleratesStale, tolerated);
    assert(notices.some(({ level, message }) => level === "warn" && message.includes(told)), JSON.stringify(notices));
  }
  const over = await loadRevocation(settings(["a"], 24), reader({ a: [-25] }), []);
  assertEquals([over.toleratesStale, over.nextLookMs], [false, Infinity]);
  // The first of several lists whose grace ends decides when to look again.
  const soon = await loadRevocation(settings(["a", "b"], 24), reader({ a: [-20], b: [5] }), []);
  assertEquals([soon.toleratesStale, soon.nextLookMs], [true, NOW + 4 * HOUR]);
});

Deno.test("a file without a list and a missing file are refused with their names", async () => {
  await assertRejects(() => loadRevocation(settings(["a"], 0), reader({ a: [] }), []), Error, "No revocation list in a");
  await assertRejects(() => loadRevocation(settings(["x"], 0), reader({}), []), Error, "Revocation list not found: x");
});
