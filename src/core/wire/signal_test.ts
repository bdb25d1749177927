import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type Candidate,
  decodeSignal,
  encodeSignal,
  readSignalFrame,
  SIGNAL_ENCODED_MAX_BYTES,
  type SignalMessage,
} from "./signal.ts";

const LARGEST: Candidate = {
  type: "relay",
  address: { ip: "2001:db8:1:2:3:4:5:6", port: 65535 },
  priority: 0xffffffff,
  foundation: "f".repeat(64),
  relatedAddress: { ip: "2001:db8:1:2:3:4:5:7", port: 1 },
};

Deno.test("frames that come together are found one after the other", () => {
  const bytes = new Uint8Array(3 * SIGNAL_ENCODED_MAX_BYTES);
  const messages: SignalMessage[] = [
    { kind: "punching-result", sessionId: 1n, success: false, workingAddress: null },
    { kind: "candidate-offer", sessionId: 2n ** 64n - 1n, service: "web", candidates: Array(32).fill(LARGEST) },
    { kind: "error", sessionId: null, code: "peer-rejected", message: "é".repeat(512) },
  ];
  let end = 0;
  for (const message of messages) end += encodeSignal(bytes, end, message);
  const found: unknown[] = [];
  for (let at = 0; at < end;) {
    const frame = readSignalFrame(bytes, at, end - at);
    assert(frame.kind === "frame");
    found.push(decodeSignal(bytes, frame.offset, frame.length));
    at = frame.offset + frame.length;
  }
  assertEquals(found, messages);
});

Deno.test("a claimed count costs nothing before it is checked", () => {
  // An answer that claims 2^32 candidates, and one that claims 32 in an empty rest.
  for (const count of [2n ** 32n, 32n]) {
    const bytes = new Uint8Array(20);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 1, true);
    view.setBigUint64(12, count, true);
    assertEquals(decodeSignal(bytes, 0, 20), { kind: "malformed", why: count === 32n ? "truncated" : "too-long" });
  }
});

Deno.test("the service of an offer follows the grammar in force", () => {
  const bytes = new Uint8Array(SIGNAL_ENCODED_MAX_BYTES);
  const length = encodeSignal(bytes, 0, { kind: "candidate-offer", sessionId: 1n, service: "Web App", candidates: [] });
  assertEquals(decodeSignal(bytes, 4, length - 4), { kind: "malformed", why: "service-id" });
  assertEquals(decodeSignal(bytes, 4, length - 4, { legacy: true }).kind, "candidate-offer");
});

Deno.test("a message over the limits is a mistake of ours and is not written", () => {
  const bytes = new Uint8Array(2 * SIGNAL_ENCODED_MAX_BYTES);
  assertThrows(() => encodeSignal(bytes, 0, { kind: "candidate-answer", sessionId: 1n, candidates: Array(33).fill(LARGEST) }));
  assertThrows(() => encodeSignal(bytes, 0, { kind: "error", sessionId: 1n, code: "unknown", message: "x".repeat(1025) }));
  assertThrows(() => encodeSignal(new Uint8Array(10), 0, { kind: "candidate-answer", sessionId: 1n, candidates: [] }));
});

Deno.test("v4-mapped and unspecified addresses of candidates pass unchanged", () => {
  const bytes = new Uint8Array(SIGNAL_ENCODED_MAX_BYTES);
  for (const ip of ["0.0.0.0", "::", "::ffff:1.2.3.4", "::1.2.3.4"]) {
    const message: SignalMessage = { kind: "punching-result", sessionId: 1n, success: true, workingAddress: { ip, port: 0 } };
    const length = encodeSignal(bytes, 0, message);
    const decoded = decodeSignal(bytes, 4, length - 4);
    assert(decoded.kind === "punching-result" && decoded.workingAddress !== null);
    const again = new Uint8Array(SIGNAL_ENCODED_MAX_BYTES);
    assertEquals(encodeSignal(again, 0, decoded), length);
    assertEquals(again, bytes);
    bytes.fill(0);
  }
});
