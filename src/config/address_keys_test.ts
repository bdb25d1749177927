import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { LogRecord } from "../base/mod.ts";
import { loadAddressKeys, newAddressKeys, parseAddressKeys } from "./address_keys.ts";
import type { MaterialReader } from "./material_file.ts";

const A = "aa".repeat(32), B = "bb".repeat(32);

/** A disk with at most one file. */
function disk(start: { text: string | null; mode?: number; readOnly?: boolean }) {
  let { text } = start;
  let made: Uint8Array | null = null;
  const reader = {
    readFile: () => text === null ? Promise.reject(new Deno.errors.NotFound()) : Promise.resolve(new TextEncoder().encode(text)),
    fileMode: () => Promise.resolve(start.mode ?? 0o100600),
    createPrivateFile: (_path: string, bytes: Uint8Array) => {
      if (start.readOnly === true) return Promise.reject(new Deno.errors.PermissionDenied("no"));
      made = bytes;
      text = new TextDecoder().decode(bytes);
      return Promise.resolve();
    },
    entropy: (bytes: Uint8Array) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
    readCertificates: () => [],
    readRevocationLists: () => [],
    nowMs: 0,
  } satisfies MaterialReader;
  return { reader, made: () => made };
}

Deno.test("keys stand one a line: the first seals, comments are passed over", () => {
  const keys = parseAddressKeys(`# kept\n\nretry 7 ${A}\n retry 0 ${B.toUpperCase()} \nreset ${B}\n`, "f");
  assertEquals(keys.retry.map(({ id, key }) => [id, key[0], key.length]), [[7, 0xaa, 32], [0, 0xbb, 32]]);
  assertEquals(keys.reset, new Uint8Array(32).fill(0xbb));
  assertEquals(parseAddressKeys(`retry 1 ${A}`, "f").reset, null);
});

Deno.test("a wrong line is named by its number, and no key stands in the message", () => {
  const wrong = ["", "reset " + A, `retry 256 ${A}`, `retry 1 ${A}\nretry 1 ${B}`, `retry 1 ${A.slice(2)}`, `retry ${A}`];
  wrong.push(`retry 1 ${A}\nreset ${A}\nreset ${A}`, `retry 1 ${A} more`, `retry 1 ${A}\nother`);
  for (const text of wrong) {
    const error = assertThrows(() => parseAddressKeys(text, "keys"), Error);
    assert(error.message.includes("keys") && !error.message.includes("aaaa"), error.message);
  }
});

Deno.test("a file that is not there is made with fresh keys and told", async () => {
  const { reader, made } = disk({ text: null });
  const notices: LogRecord[] = [];
  const first = await loadAddressKeys("f", reader, notices);
  assert(made() !== null && notices.length === 1);
  assertEquals(await loadAddressKeys("f", reader, []), first);
  assert(newAddressKeys(reader.entropy) !== newAddressKeys(reader.entropy));
});

Deno.test("a file that others can read, or that cannot be made, is refused", async () => {
  await assertRejects(() => loadAddressKeys("f", disk({ text: `retry 1 ${A}`, mode: 0o100640 }).reader, []), Error, "mode 0640");
  await assertRejects(() => loadAddressKeys("f", disk({ text: null, readOnly: true }).reader, []), Error, "cannot be made");
});
