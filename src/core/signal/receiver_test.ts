/** Streams cut anywhere, frames of every length, and what is held meanwhile. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { concatBytes, fromHex } from "../../base/mod.ts";
import { encodeSignal, type Malformed, SIGNAL_ENCODED_MAX_BYTES, type SignalMessage } from "../wire/mod.ts";
import { SignalReceiver } from "./mod.ts";

const RESULT: SignalMessage = { kind: "punching-result", sessionId: 12345n, success: false, workingAddress: null };
const START: SignalMessage = { kind: "start-punching", sessionId: 1n, startDelayMs: 100, candidates: [] };
const LARGE: SignalMessage = {
  kind: "candidate-answer",
  sessionId: 7n,
  candidates: Array.from({ length: 32 }, (_, i) => ({
    type: "host",
    address: { ip: `192.0.2.${i}`, port: 5000 },
    priority: i,
    foundation: "f".repeat(64),
    relatedAddress: null,
  })),
};

function encoded(message: SignalMessage): Uint8Array {
  const bytes = new Uint8Array(SIGNAL_ENCODED_MAX_BYTES);
  return bytes.slice(0, encodeSignal(bytes, 0, message));
}

function frame(length: number, payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(4);
  new DataView(header.buffer).setUint32(0, length);
  return concatBytes(header, payload);
}

Deno.test("a stream cut anywhere brings the same messages", () => {
  const messages = [RESULT, START, LARGE, START, RESULT];
  const stream = concatBytes(...messages.map(encoded));
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 30 }), (sizes) => {
    const receiver = new SignalReceiver();
    const received: (SignalMessage | Malformed)[] = [];
    for (let at = 0, i = 0; at < stream.length; i++) {
      const size = sizes[i % sizes.length] ?? 1;
      received.push(...receiver.handle(stream.subarray(at, at + size)));
      at += size;
    }
    assertEquals(received, messages);
    assertEquals(receiver.held, 0);
  }));
});

Deno.test("a vector of an earlier peer", () => {
  const receiver = new SignalReceiver();
  assertEquals(receiver.handle(fromHex("0000000e0300000039300000000000000000") ?? new Uint8Array()), [RESULT]);
});

Deno.test("a frame that is too long is skipped without being kept, and the stream goes on behind it", () => {
  const receiver = new SignalReceiver();
  const tooLong = frame(70_000, new Uint8Array(70_000));
  const received: (SignalMessage | Malformed)[] = [];
  for (let at = 0; at < tooLong.length; at += 1000) {
    received.push(...receiver.handle(tooLong.subarray(at, at + 1000)));
    assertEquals(receiver.held, 0);
  }
  received.push(...receiver.handle(encoded(RESULT)));
  assertEquals(received, [{ kind: "malformed", why: "too-long" }, RESULT]);
});

Deno.test("empty and malformed frames are reported, and the next one is read", () => {
  const receiver = new SignalReceiver();
  const received = receiver.handle(concatBytes(frame(0, new Uint8Array()), frame(4, Uint8Array.of(9, 0, 0, 0)), encoded(START)));
  assertEquals(received.map((one) => one.kind), ["malformed", "malformed", "start-punching"]);
});

Deno.test("a frame may have 65,536 bytes, and no more than that is ever held", () => {
  const receiver = new SignalReceiver();
  assertEquals(receiver.handle(frame(65_536, new Uint8Array(65_535))), []);
  assertEquals(receiver.held, 65_539);
  assertEquals(receiver.handle(new Uint8Array(1)).map((one) => one.kind), ["malformed"]);
  assertEquals(receiver.held, 0);
});

Deno.test("arbitrary streams never throw", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 10 }), (chunks) => {
    const receiver = new SignalReceiver();
    for (const chunk of chunks) {
      receiver.handle(Uint8Array.of(0, 0, 0, ...chunk));
      receiver.handle(chunk);
    }
  }));
});
