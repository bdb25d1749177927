/** The parts of the demonstration that need no tunnel: bytes and digests, logs, words and picture. */
import { createHash } from "node:crypto";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { formatBytes, formatMs, formatRate } from "./format.ts";
import { LogFile, watchFolder } from "./log_follower.ts";
import { timesOf } from "./measure.ts";
import { Pattern } from "./pattern.ts";
import { drawPicture } from "./picture.ts";
import { Screen } from "./screen.ts";

const MIB = 1024 * 1024;

Deno.test("pattern: the same seed gives the same bytes, of the size that was asked for", async () => {
  for (const size of [0, 1, MIB, MIB + 1, 3 * MIB - 7]) {
    const hash = createHash("sha256");
    let bytes = 0;
    for (const piece of new Pattern(7, size).pieces()) {
      hash.update(piece);
      bytes += piece.length;
    }
    assertEquals([bytes, hash.digest("hex")], [size, await new Pattern(7, size).digest()]);
  }
  assertNotEquals(await new Pattern(8, MIB).digest(), await new Pattern(7, MIB).digest());
  assertNotEquals(await new Pattern(0, MIB).digest(), createHash("sha256").update(new Uint8Array(MIB)).digest("hex"));
});

Deno.test("pattern: bytes that change places are seen", async () => {
  const copies: Uint8Array<ArrayBuffer>[] = [];
  for (const piece of new Pattern(7, 3 * MIB).pieces()) copies.push(piece.slice());
  const digestOf = (order: readonly number[]) => {
    const hash = createHash("sha256");
    for (const at of order) hash.update(copies[at] ?? new Uint8Array(0));
    return hash.digest("hex");
  };
  assertEquals(digestOf([0, 1, 2]), await new Pattern(7, 3 * MIB).digest());
  assertNotEquals(digestOf([0, 2, 1]), digestOf([0, 1, 2]));
});

Deno.test("log: whole lines come out as they are written; what is no record is kept for people", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-log-" });
  try {
    using log = new LogFile(`${folder}/a.log`);
    const append = (text: string) => Deno.writeTextFileSync(log.path, text, { append: true });
    append('{"level":"info","event":"ready","msg":"Rea');
    log.read();
    assertEquals(log.records, []);
    append('dy","listen_0":"udp:127.0.0.1:1"}\npostern: error: no\n{"half":1}\n{broken\n');
    log.read();
    assertEquals(log.records.map(({ event, msg }) => [event, msg]), [["ready", "Ready"]]);
    assertEquals(log.lines, ["info ready: Ready", "postern: error: no", '{"half":1}', "{broken"]);
    assertEquals((Deno.statSync(log.path).mode ?? 0) & 0o777, 0o600);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("log: what is due after its end does nothing", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-log-" });
  try {
    const log = new LogFile(`${folder}/a.log`);
    log[Symbol.dispose]();
    Deno.writeTextFileSync(log.path, "late\n", { append: true });
    log.read();
    assertEquals(log.lines, []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("log: the kernel says when a file in the folder has grown", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-log-" });
  const changed = Promise.withResolvers<void>();
  {
    using _watcher = watchFolder(folder, changed.resolve);
    await Deno.writeTextFile(`${folder}/a.log`, "a line\n");
    await changed.promise;
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("times: nearest-rank percentiles", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assertEquals(timesOf(hundred), { count: 100, p50Ms: 50, p99Ms: 99 });
  assertEquals(timesOf([3]), { count: 1, p50Ms: 3, p99Ms: 3 });
});

Deno.test("numbers for people", () => {
  assertEquals([0, 1, 1023, 1536, 256 * MIB, 3 * 1024 * MIB].map(formatBytes), [
    ...["0 B", "1 B", "1023 B", "1.5 KiB", "256 MiB", "3 GiB"],
  ]);
  assertEquals([0.3124, 4.211, 42.11, 421.1].map(formatMs), ["0.312 ms", "4.21 ms", "42.1 ms", "421 ms"]);
  assertEquals([formatRate(125_000_000, 1000), formatRate(1_250_000, 1000)], ["1.00 Gbit/s", "10 Mbit/s"]);
});

Deno.test("picture: it fits on 80 columns whatever was measured", () => {
  const times = (p50Ms: number) => ({ count: 9, p50Ms, p99Ms: p50Ms * 100 });
  for (const ms of [0, 0.001, 7, 99.9, 12_345]) {
    const transfer = { bytes: 16 * 1024 ** 3, ms: ms + 1, sha256: "" };
    const lines = drawPicture({
      handshakeMs: { agent: ms, connector: ms },
      ...{ protocol: "ztna-v2", group: "X25519MLKEM768", cipher: "TLS_AES_128_GCM_SHA256" },
      ...{ firstByte: times(ms), roundTrip: times(ms), toService: transfer, fromService: transfer },
    });
    const [head = "", ...rest] = lines.slice(0, -2);
    for (const line of rest) assertEquals(line.length, head.length, line);
    for (const line of lines) assert(line.length < 110, line);
    assert(head.length < 80);
  }
});

Deno.test("screen: plain lines where there is no terminal, a line that is drawn over where there is one", async () => {
  const plain = (text: string) => text;
  const paint = { red: plain, green: plain, cyan: plain, bold: plain, dim: plain };
  for (const isTerminal of [false, true]) {
    let text = "";
    const screen = new Screen({ write: (more) => text += more, isTerminal, columns: () => 80, paint });
    const value = await screen.step("bytes", ({ progress }) => {
      progress(0, 2048);
      progress(1024, 2048);
      return Promise.resolve([5, "two of them"]);
    });
    assertEquals(value, 5);
    // deno-lint-ignore no-control-regex
    assertEquals(/\x1b/.test(text), isTerminal);
    if (!isTerminal) assertEquals(text, "  ...  bytes            2 KiB\n  ok   bytes            two of them\n");
    const failed = await screen.step("more", () => Promise.reject(new Error("no"))).catch((error) => error.message);
    assertEquals(failed, "no");
    assert(text.endsWith("  FAIL more\n"));
  }
});
