/**
 * What two peers say to each other directly, outside QUIC: packets that begin with 0x5A on a P2P socket (WIRE 6.7 to 6.9).
 * {@linkcode classifyP2pPacket} parts them from QUIC by their exact forms, so that no QUIC packet is swallowed.
 */

import { assert, fromHex, type SocketAddress, toHex } from "../../base/mod.ts";
import { BincodeReader, BincodeWriter } from "./bincode.ts";
import { KEEPALIVE_LENGTH, KEEPALIVE_REQUEST, KEEPALIVE_RESPONSE } from "./frame.ts";
import { type Malformed, malformed } from "./malformed.ts";

export const CONTROL_FIRST_BYTE = 0x5a;

export const P2pPacket = { quic: 0, keepaliveRequest: 1, keepaliveResponse: 2, binding: 3 } as const;
export type P2pPacket = typeof P2pPacket[keyof typeof P2pPacket];

// Binding: 5A | index u32 LE | transaction id[12] | Request: priority u64, use_candidate; Response: success, mapped address
const BINDING_REQUEST_LENGTH = 26;
const BINDING_RESPONSE_LENGTHS: readonly number[] = [19, 29, 41];
export const BINDING_MAX_BYTES = 41;
const TRANSACTION_ID_BYTES = 12;

/** What a UDP payload on a P2P socket is, WIRE 6.9. Everything that has not exactly a control packet's form is QUIC's. */
export function classifyP2pPacket(bytes: Uint8Array, offset: number, length: number): P2pPacket {
  if (length < KEEPALIVE_LENGTH || length > BINDING_MAX_BYTES || bytes[offset] !== CONTROL_FIRST_BYTE) return P2pPacket.quic;
  const second = bytes[offset + 1];
  if (length === KEEPALIVE_LENGTH) {
    if (second === KEEPALIVE_REQUEST) return P2pPacket.keepaliveRequest;
    return second === KEEPALIVE_RESPONSE ? P2pPacket.keepaliveResponse : P2pPacket.quic;
  }
  if (bytes[offset + 2] !== 0 || bytes[offset + 3] !== 0 || bytes[offset + 4] !== 0) return P2pPacket.quic;
  const isBinding = second === 0 && length === BINDING_REQUEST_LENGTH || second === 1 && BINDING_RESPONSE_LENGTHS.includes(length);
  return isBinding ? P2pPacket.binding : P2pPacket.quic;
}

const KEEPALIVE_SEQUENCE_AT = 2;

/** The sequence number of a keepalive, request or response. Only for what was classified as one. */
export function keepaliveSequence(bytes: Uint8Array, offset: number): number {
  const at = offset + KEEPALIVE_SEQUENCE_AT;
  return ((bytes[at] ?? 0) << 24 | (bytes[at + 1] ?? 0) << 16 | (bytes[at + 2] ?? 0) << 8 | (bytes[at + 3] ?? 0)) >>> 0;
}

/** Writes a keepalive and returns its length. `sequence` is a u32. */
export function encodeKeepalive(bytes: Uint8Array, offset: number, kind: "request" | "response", sequence: number): number {
  assert(offset + KEEPALIVE_LENGTH <= bytes.length, "room for a keepalive");
  bytes[offset] = CONTROL_FIRST_BYTE;
  bytes[offset + 1] = kind === "request" ? KEEPALIVE_REQUEST : KEEPALIVE_RESPONSE;
  const at = offset + KEEPALIVE_SEQUENCE_AT;
  bytes[at] = sequence >>> 24;
  bytes[at + 1] = sequence >>> 16;
  bytes[at + 2] = sequence >>> 8;
  bytes[at + 3] = sequence;
  return KEEPALIVE_LENGTH;
}

export type BindingMessage =
  | {
    readonly kind: "binding-request";
    /** 24 lower-case hexadecimal digits: twelve bytes that only the asker can guess. */
    readonly transactionId: string;
    readonly priority: bigint;
    readonly useCandidate: boolean;
  }
  | {
    readonly kind: "binding-response";
    readonly transactionId: string;
    readonly success: boolean;
    /** The source address of the request, as the answering side saw it. */
    readonly mappedAddress: SocketAddress | null;
  };

const BINDING_KINDS = ["binding-request", "binding-response"] as const;

/** A binding message with its first byte 0x5A. It fills `length` exactly. */
export function decodeBinding(bytes: Uint8Array, offset: number, length: number): BindingMessage | Malformed {
  if (length === 0) return malformed("truncated");
  if (bytes[offset] !== CONTROL_FIRST_BYTE) return malformed("first-byte");
  const reader = new BincodeReader(bytes, offset + 1, length - 1);
  const kind = reader.index(BINDING_KINDS);
  const transactionId = toHex(reader.bytes(TRANSACTION_ID_BYTES));
  const message: BindingMessage = kind === "binding-request"
    ? { kind, transactionId, priority: reader.u64(), useCandidate: reader.bool() }
    : { kind, transactionId, success: reader.bool(), mappedAddress: reader.option(() => reader.socketAddress()) };
  reader.end();
  return reader.why === null ? message : malformed(reader.why);
}

/** Writes a binding message and returns its length, at most {@linkcode BINDING_MAX_BYTES}. */
export function encodeBinding(bytes: Uint8Array, offset: number, message: BindingMessage): number {
  const transactionId = fromHex(message.transactionId);
  assert(
    transactionId?.length === TRANSACTION_ID_BYTES && offset + BINDING_MAX_BYTES <= bytes.length,
    "a binding message that fits",
  );
  bytes[offset] = CONTROL_FIRST_BYTE;
  const writer = new BincodeWriter(bytes, offset + 1);
  writer.index(BINDING_KINDS, message.kind);
  writer.bytes(transactionId);
  if (message.kind === "binding-request") {
    writer.u64(message.priority);
    writer.bool(message.useCandidate);
  } else {
    writer.bool(message.success);
    writer.option(message.mappedAddress, (address) => writer.socketAddress(address));
  }
  return writer.at - offset;
}
