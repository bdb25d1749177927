/**
 * Packets of the memory engine: QUIC's own headers (RFC 9000 §17), so that the endpoint finds connections in them as in real ones,
 * around frames in a plain encoding of fixed widths. The last eight bytes seal the packet: who does not know the key, or has a
 * packet that was spoilt on its way, sees that.
 *
 *   long    type | version 1 | DCID | SCID | [token] | length (2) | number (4) | frames | seal (8)
 *   short   type | DCID (16) | number (4) | frames | seal (8)
 */
import { LOCAL_CID_BYTES } from "../../src/core/quic/mod.ts";

export const SEAL_BYTES = 8;
export const SHORT_OVERHEAD_BYTES = 1 + LOCAL_CID_BYTES + 4 + SEAL_BYTES;

export const LongType = { initial: 0, handshake: 2, retry: 3 } as const;

export const FrameType = {
  padding: 0x00,
  ping: 0x01,
  ack: 0x02,
  resetStream: 0x04,
  stopSending: 0x05,
  crypto: 0x06,
  stream: 0x08,
  maxData: 0x10,
  maxStreamData: 0x11,
  maxStreams: 0x12,
  newConnectionId: 0x18,
  retireConnectionId: 0x19,
  close: 0x1c,
  handshakeDone: 0x1e,
  datagram: 0x30,
} as const;

/** What one packet carries, as it is sent, remembered until it is acknowledged, and received. */
export type Frame =
  | { readonly kind: "ping" }
  /** A ping in a packet of `bytes`, to see whether such a packet passes. */
  | { readonly kind: "probe"; readonly bytes: number }
  | { readonly kind: "ack"; readonly ranges: readonly (readonly [number, number])[] }
  | { readonly kind: "reset"; readonly stream: number; readonly code: number; readonly finalSize: number }
  | { readonly kind: "stop"; readonly stream: number; readonly code: number }
  | { readonly kind: "crypto"; readonly offset: number; readonly bytes: Uint8Array }
  | {
    readonly kind: "stream";
    readonly stream: number;
    readonly offset: number;
    readonly bytes: Uint8Array;
    readonly fin: boolean;
  }
  | { readonly kind: "max-data"; readonly max: number }
  | { readonly kind: "max-stream-data"; readonly stream: number; readonly max: number }
  | { readonly kind: "max-streams"; readonly max: number }
  | {
    readonly kind: "new-id";
    readonly sequence: number;
    readonly retirePriorTo: number;
    readonly id: Uint8Array;
    readonly token: Uint8Array;
  }
  | { readonly kind: "retire-id"; readonly sequence: number }
  | { readonly kind: "close"; readonly isApplication: boolean; readonly code: number; readonly reason: string }
  | { readonly kind: "handshake-done" }
  | { readonly kind: "datagram"; readonly bytes: Uint8Array };

/** Writes into a packet; `at` is where the next byte goes. */
export class FrameWriter {
  at = 0;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array<ArrayBuffer>, view: DataView<ArrayBuffer>) {
    this.#bytes = bytes;
    this.#view = view;
  }

  u8(value: number): void {
    this.#view.setUint8(this.at++, value);
  }

  u16(value: number): void {
    this.#view.setUint16(this.at, value);
    this.at += 2;
  }

  u32(value: number): void {
    this.#view.setUint32(this.at, value);
    this.at += 4;
  }

  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.at);
    this.at += value.length;
  }

  frame(frame: Frame): void {
    switch (frame.kind) {
      case "ping":
      case "probe":
        return this.u8(FrameType.ping);
      case "handshake-done":
        return this.u8(FrameType.handshakeDone);
      case "ack":
        this.u8(FrameType.ack);
        this.u8(frame.ranges.length);
        for (const [first, last] of frame.ranges) {
          this.u32(first);
          this.u32(last);
        }
        return;
      case "reset":
        return this.#numbers(FrameType.resetStream, frame.stream, frame.code, frame.finalSize);
      case "stop":
        return this.#numbers(FrameType.stopSending, frame.stream, frame.code);
      case "max-data":
        return this.#numbers(FrameType.maxData, frame.max);
      case "max-stream-data":
        return this.#numbers(FrameType.maxStreamData, frame.stream, frame.max);
      case "max-streams":
        return this.#numbers(FrameType.maxStreams, frame.max);
      case "retire-id":
        return this.#numbers(FrameType.retireConnectionId, frame.sequence);
      case "crypto":
        this.#numbers(FrameType.crypto, frame.offset);
        return this.#sized(frame.bytes);
      case "stream":
        this.#numbers(FrameType.stream, frame.stream, frame.offset);
        this.u8(frame.fin ? 1 : 0);
        return this.#sized(frame.bytes);
      case "new-id":
        this.#numbers(FrameType.newConnectionId, frame.sequence, frame.retirePriorTo);
        this.#sized(frame.id);
        return this.#sized(frame.token);
      case "close":
        this.u8(FrameType.close);
        this.u8(frame.isApplication ? 1 : 0);
        this.u32(frame.code);
        return this.#sized(new TextEncoder().encode(frame.reason));
      case "datagram":
        this.u8(FrameType.datagram);
        return this.#sized(frame.bytes);
    }
  }

  #numbers(type: number, ...values: number[]): void {
    this.u8(type);
    for (const value of values) this.u32(value);
  }

  #sized(value: Uint8Array): void {
    this.u16(value.length);
    this.bytes(value);
  }
}

/** Bytes that a frame takes, for those that are asked for their size before they are written. */
export const FRAME_BYTES = { control: 16, stream: 12, datagram: 3, crypto: 7, ack: 2 + 8 * 32, newId: 64, close: 8 + 200 } as const;

/** Reads the frames from `at` to `end`. Null when they are not whole: such a packet was not written by this engine. */
export function readFrames(bytes: Uint8Array<ArrayBuffer>, view: DataView<ArrayBuffer>, at: number, end: number): Frame[] | null {
  const reader = new FrameReader(bytes, view, at);
  const frames: Frame[] = [];
  while (reader.at < end) {
    const type = reader.u8();
    if (type === FrameType.padding) continue;
    const frame = reader.frame(type);
    if (frame === null || reader.at > end) return null;
    frames.push(frame);
  }
  return frames;
}

class FrameReader {
  at: number;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;

  constructor(bytes: Uint8Array<ArrayBuffer>, view: DataView<ArrayBuffer>, at: number) {
    this.#bytes = bytes;
    this.#view = view;
    this.at = at;
  }

  u8(): number {
    return this.#view.getUint8(this.at++);
  }

  frame(type: number): Frame | null {
    switch (type) {
      case FrameType.ping:
        return { kind: "ping" };
      case FrameType.handshakeDone:
        return { kind: "handshake-done" };
      case FrameType.ack:
        return { kind: "ack", ranges: Array.from({ length: this.u8() }, () => [this.#u32(), this.#u32()] as const) };
      case FrameType.resetStream:
        return { kind: "reset", stream: this.#u32(), code: this.#u32(), finalSize: this.#u32() };
      case FrameType.stopSending:
        return { kind: "stop", stream: this.#u32(), code: this.#u32() };
      case FrameType.maxData:
        return { kind: "max-data", max: this.#u32() };
      case FrameType.maxStreamData:
        return { kind: "max-stream-data", stream: this.#u32(), max: this.#u32() };
      case FrameType.maxStreams:
        return { kind: "max-streams", max: this.#u32() };
      case FrameType.retireConnectionId:
        return { kind: "retire-id", sequence: this.#u32() };
      case FrameType.crypto:
        return { kind: "crypto", offset: this.#u32(), bytes: this.#sized() };
      case FrameType.stream:
        return { kind: "stream", stream: this.#u32(), offset: this.#u32(), fin: this.u8() === 1, bytes: this.#sized() };
      case FrameType.newConnectionId:
        return { kind: "new-id", sequence: this.#u32(), retirePriorTo: this.#u32(), id: this.#sized(), token: this.#sized() };
      case FrameType.close:
        return {
          kind: "close",
          isApplication: this.u8() === 1,
          code: this.#u32(),
          reason: new TextDecoder().decode(this.#sized()),
        };
      case FrameType.datagram:
        return { kind: "datagram", bytes: this.#sized() };
      default:
        return null;
    }
  }

  #u32(): number {
    this.at += 4;
    return this.#view.getUint32(this.at - 4);
  }

  #sized(): Uint8Array {
    this.at += 2;
    const length = this.#view.getUint16(this.at - 2);
    this.at += length;
    return this.#bytes.slice(this.at - length, this.at);
  }
}

/** Writes the seal behind `[from, to)`. */
export function seal(view: DataView, from: number, to: number, key: number): void {
  const [a, b] = sealOf(view, from, to, key);
  view.setUint32(to, a);
  view.setUint32(to + 4, b);
}

/** Whether the eight bytes behind `[from, to)` are their seal. */
export function isSealed(view: DataView, from: number, to: number, key: number): boolean {
  const [a, b] = sealOf(view, from, to, key);
  return view.getUint32(to) === a && view.getUint32(to + 4) === b;
}

function sealOf(view: DataView, from: number, to: number, key: number): [number, number] {
  let a = key | 0, b = ~key;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    a = Math.imul(a ^ view.getInt32(at), 0x01000193);
    b = (Math.imul(b, 31) + a) | 0;
  }
  for (; at < to; at++) {
    a = Math.imul(a ^ view.getUint8(at), 0x01000193);
    b = (Math.imul(b, 31) + a) | 0;
  }
  return [a >>> 0, b >>> 0];
}

/** A key from bytes that both ends know. */
export function keyFrom(...parts: readonly Uint8Array[]): number {
  let hash = 0x811c9dc5 | 0;
  for (const part of parts) for (const byte of part) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}
