import { assert, assertEquals } from "@std/assert";
import {
  type AgentIdentity,
  classifyStream,
  decodeOpen,
  decodeResult,
  encodeOpen,
  encodeResult,
  OPEN_MAX_BYTES,
} from "./stream_open.ts";

const ALICE: AgentIdentity = {
  commonName: "alice",
  fingerprint: "ab".repeat(32),
  san: "agent.web.ztna",
  admission: "certificate",
};

Deno.test("an OPEN that comes byte by byte is found at its last byte, and data behind it is left alone", () => {
  const bytes = new Uint8Array(2 * OPEN_MAX_BYTES);
  const length = encodeOpen(bytes, 0, { service: "web", agent: ALICE });
  for (let have = 0; have < length; have++) {
    const decoded = decodeOpen(bytes, 0, have, { from: "server" });
    assert(decoded.kind === "need" && decoded.bytes > have && decoded.bytes <= length);
  }
  for (const have of [length, length + 1, length + 900]) {
    const decoded = decodeOpen(bytes, 0, have, { from: "server" });
    assertEquals(decoded, { kind: "open", length, skippedFields: 0, service: "web", agent: ALICE });
  }
});

Deno.test("no announced length makes the decoder ask for more than its bound", () => {
  for (let announced = 0; announced <= 0xffff; announced++) {
    const decoded = decodeOpen(Uint8Array.of(0x54, announced >> 8, announced & 255), 0, 3, { from: "agent" });
    assertEquals(decoded.kind, announced >= 4 && announced <= 1024 ? "need" : "malformed");
    if (decoded.kind === "need") assertEquals(decoded.bytes, 3 + announced);
  }
});

Deno.test("the longest identity fits", () => {
  const bytes = new Uint8Array(OPEN_MAX_BYTES);
  const agent = { ...ALICE, commonName: "n".repeat(255), san: `agent.${"s".repeat(255)}.ztna`, admission: "token" as const };
  const length = encodeOpen(bytes, 0, { service: "s".repeat(255), agent });
  assert(length > 0 && length <= OPEN_MAX_BYTES);
  assertEquals(decodeOpen(bytes, 0, length, { from: "server", legacy: true }).kind, "open");
});

Deno.test("an identity that cannot be said is not written", () => {
  const bytes = new Uint8Array(OPEN_MAX_BYTES);
  const bad: readonly Partial<AgentIdentity>[] = [
    { commonName: "" },
    { commonName: "n".repeat(256) },
    { commonName: "a\nb" },
    { commonName: "a\u202eb" },
    { commonName: "\ud800" },
    { san: "" },
    { san: "s".repeat(267) },
    { fingerprint: "ab" },
    { fingerprint: "zz".repeat(32) },
  ];
  for (const change of bad) assertEquals(encodeOpen(bytes, 0, { service: "web", agent: { ...ALICE, ...change } }), 0);
  assertEquals(encodeOpen(bytes, 0, { service: "", agent: null }), 0);
  assertEquals(encodeOpen(bytes, 0, { service: "é".repeat(128), agent: null }), 0);
});

Deno.test("fields are never read beyond the announced length", () => {
  // The service field claims two bytes more than the header has; they stand behind it.
  const bytes = Uint8Array.of(0x54, 0, 4, 1, 0, 3, 0x61, 0x62, 0x63);
  assertEquals(decodeOpen(bytes, 0, 9, { from: "agent" }), { kind: "malformed", why: "truncated" });
});

Deno.test("a RESULT is found at its last byte", () => {
  const bytes = new Uint8Array(300);
  const length = encodeResult(bytes, 0, "backend-refused", "nobody listens");
  for (let have = 0; have < length; have++) {
    const decoded = decodeResult(bytes, 0, have);
    assert(decoded.kind === "need" && decoded.bytes > have && decoded.bytes <= length);
  }
  assertEquals(decodeResult(bytes, 0, length + 5), { kind: "result", code: "backend-refused", reason: "nobody listens", length });
});

Deno.test("a long reason is cut between characters", () => {
  const bytes = new Uint8Array(300);
  const cases = [["x".repeat(300), 255], ["é".repeat(200), 254], ["a" + "é".repeat(200), 255], ["😀".repeat(100), 252], [
    "世".repeat(85),
    255,
  ]] as const;
  for (const [reason, expected] of cases) {
    const length = encodeResult(bytes, 0, "busy", reason);
    const decoded = decodeResult(bytes, 0, length);
    assert(decoded.kind === "result" && reason.startsWith(decoded.reason));
    assertEquals(length, 3 + expected);
  }
});

Deno.test("the first byte tells what a stream is for", () => {
  const known = new Map([[0x54, "open"], [0x50, "proof"], [0x00, "signalling"]]);
  for (let first = 0; first < 256; first++) assertEquals(classifyStream(first), (known.get(first) ?? "unknown") as "unknown");
});
