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
export function readFrames(bytes: Uint8Array, view: DataView, at: number, end: number): Frame[] | null {
  const frames: Frame[] = [];
  const u8 = () => view.getUint8(at++);
  const u16 = () => (at += 2, view.getUint16(at - 2));
  const u32 = () => (at += 4, view.getUint32(at - 4));
  const sized = () => {
    const length = u16();
    at += length;
    return bytes.slice(at - length, at);
  };
  while (at < end) {
    const type = u8();
    switch (type) {
      case FrameType.padding:
        break;
      case FrameType.ping:
        frames.push({ kind: "ping" });
        break;
      case FrameType.handshakeDone:
        frames.push({ kind: "handshake-done" });
        break;
      case FrameType.ack:
        frames.push({ kind: "ack", ranges: Array.from({ length: u8() }, () => [u32(), u32()] as const) });
        break;
      case FrameType.resetStream:
        frames.push({ kind: "reset", stream: u32(), code: u32(), finalSize: u32() });
        break;
      case FrameType.stopSending:
        frames.push({ kind: "stop", stream: u32(), code: u32() });
        break;
      case FrameType.maxData:
        frames.push({ kind: "max-data", max: u32() });
        break;
      case FrameType.maxStreamData:
        frames.push({ kind: "max-stream-data", stream: u32(), max: u32() });
        break;
      case FrameType.maxStreams:
        frames.push({ kind: "max-streams", max: u32() });
        break;
      case FrameType.retireConnectionId:
        frames.push({ kind: "retire-id", sequence: u32() });
        break;
      case FrameType.crypto:
        frames.push({ kind: "crypto", offset: u32(), bytes: sized() });
        break;
      case FrameType.stream: {
        const stream = u32(), offset = u32(), fin = u8() === 1;
        frames.push({ kind: "stream", stream, offset, fin, bytes: sized() });
        break;
      }
      case FrameType.newConnectionId:
        frames.push({ kind: "new-id", sequence: u32(), retirePriorTo: u32(), id: sized(), token: sized() });
        break;
      case FrameType.close:
        frames.push({ kind: "close", isApplication: u8() === 1, code: u32(), reason: new TextDecoder().decode(sized()) });
        break;
      case FrameType.datagram:
        frames.push({ kind: "datagram", bytes: sized() });
        break;
      default:
        return null;
    }
    if (at > end) return null;
  }
  return frames;
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
