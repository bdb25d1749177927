import { assertEquals } from "@std/assert";
import { decodeCertificateSummary } from "./summary.ts";

/** A summary as the library lays it out. */
function encode(
  head: { version?: number; flags?: number },
  texts: readonly string[],
  lists: readonly (readonly string[])[],
): Uint8Array {
  const u16 = (value: number) => [value & 0xff, value >> 8];
  const text = (value: string) => {
    const bytes = new TextEncoder().encode(value);
    return [...u16(bytes.length), ...bytes];
  };
  const times = new Uint8Array(16);
  new DataView(times.buffer).setBigInt64(0, -1000n, true);
  new DataView(times.buffer).setBigInt64(8, 4_102_444_800_000n, true);
  return new Uint8Array([
    head.version ?? 1,
    head.flags ?? 3,
    ...times,
    ...new Uint8Array(32).fill(0xab),
    ...new Uint8Array(32).fill(0),
    ...texts.flatMap(text),
    ...lists.flatMap((list) => [...u16(list.length), ...list.flatMap(text)]),
  ]);
}

const TEXTS = ["0a1b", "agent", "CN=agent", "CN=CA"] as const;
const LISTS = [["a.test", "b.test"], ["spiffe://test/a"], ["::1"]] as const;
const whole = encode({}, TEXTS, LISTS);

Deno.test("a summary is read field by field", () => {
  assertEquals(decodeCertificateSummary(whole), {
    commonName: "agent",
    subject: "CN=agent",
    issuer: "CN=CA",
    serial: "0a1b",
    dnsNames: ["a.test", "b.test"],
    uris: ["spiffe://test/a"],
    ipAddresses: ["::1"],
    notBeforeMs: -1000,
    notAfterMs: 4_102_444_800_000,
    fingerprint: "ab".repeat(32),
    spkiSha256: `${"A".repeat(43)}=`,
    isSelfSigned: true,
  });
});

Deno.test("no common name is null, and an empty one of the flags is not believed", () => {
  const summary = decodeCertificateSummary(encode({ flags: 0 }, ["00", "", "O=x", "O=x"], [[], [], []]));
  assertEquals([summary?.commonName, summary?.isSelfSigned, summary?.dnsNames], [null, false, []]);
});

Deno.test("every shortened or lengthened summary is refused", () => {
  for (let length = 0; length < whole.length; length++) assertEquals(decodeCertificateSummary(whole.subarray(0, length)), null);
  assertEquals(decodeCertificateSummary(new Uint8Array([...whole, 0])), null);
});

Deno.test("another version, unknown flags and broken UTF-8 are refused", () => {
  assertEquals(decodeCertificateSummary(encode({ version: 2 }, TEXTS, LISTS)), null);
  assertEquals(decodeCertificateSummary(encode({ flags: 4 }, TEXTS, LISTS)), null);
  const broken = whole.slice();
  broken[broken.length - 1] = 0xff;
  assertEquals(decodeCertificateSummary(broken), null);
});

Deno.test("a flipped bit never makes the decoder throw", () => {
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const flipped = whole.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    decodeCertificateSummary(flipped);
  }
});

Deno.test("a summary inside a larger buffer is read at its offset", () => {
  const buffer = new Uint8Array(whole.length + 20);
  buffer.set(whole, 10);
  assertEquals(decodeCertificateSummary(buffer.subarray(10, 10 + whole.length))?.serial, "0a1b");
});
