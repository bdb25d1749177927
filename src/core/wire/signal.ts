/**
 * Signalling between agent, server and connector (WIRE 6): framed messages on QUIC streams by which two peers learn each
 * other's addresses. {@linkcode readSignalFrame} finds a frame in what came so far, {@linkcode decodeSignal} reads it.
 * Whether its sender may say that, and which candidates are fit to be tried, is decided in `signal/`.
 */

import { assert, parsePrintable, parseServiceId, type ServiceIdOptions, type SocketAddress } from "../../base/mod.ts";
import { BincodeReader, BincodeWriter } from "./bincode.ts";
import { type Malformed, malformed, type NeedBytes } from "./malformed.ts";

/** Limits of WIRE 6.5. */
export const SIGNAL_PAYLOAD_MAX_BYTES = 65536;
export const CANDIDATES_MAX = 32;
export const FOUNDATION_MAX_BYTES = 64;
export const SIGNAL_TEXT_MAX_BYTES = 1024;
export const START_DELAY_MAX_MS = 10_000;
const SERVICE_ID_MAX_BYTES = 255;
/** type, V4 address, priority, foundation's length, absent related address. */
const CANDIDATE_MIN_BYTES = 4 + 10 + 4 + 8 + 1;
const CANDIDATE_MAX_BYTES = 4 + 22 + 4 + 8 + FOUNDATION_MAX_BYTES + 1 + 22;
/** Room that {@linkcode encodeSignal} wants: more than any message that it writes. */
export const SIGNAL_ENCODED_MAX_BYTES = 64 + SERVICE_ID_MAX_BYTES + SIGNAL_TEXT_MAX_BYTES + CANDIDATES_MAX * CANDIDATE_MAX_BYTES;

/** In the order of their index on the wire. */
const CANDIDATE_TYPES = ["host", "server-reflexive", "peer-reflexive", "relay"] as const;
export type CandidateType = typeof CANDIDATE_TYPES[number];

export interface Candidate {
  readonly type: CandidateType;
  /** May be unspecified or unfit: earlier peers send 0.0.0.0 as host candidate. */
  readonly address: SocketAddress;
  readonly priority: number;
  /** `host_IP`, `srflx_IP`, `relay_IP`; at most 64 bytes, no controls. */
  readonly foundation: string;
  readonly relatedAddress: SocketAddress | null;
}

/** In the order of their code on the wire. */
const SIGNAL_ERRORS = [
  "unknown",
  "service-not-found",
  "no-connector-available",
  "session-not-found",
  "session-timeout",
  "invalid-message",
  "peer-rejected",
] as const;
export type SignalError = typeof SIGNAL_ERRORS[number];

const MESSAGE_KINDS = ["candidate-offer", "candidate-answer", "start-punching", "punching-result", "error"] as const;

export type SignalMessage =
  | {
    readonly kind: "candidate-offer";
    readonly sessionId: bigint;
    readonly service: string;
    readonly candidates: readonly Candidate[];
  }
  | { readonly kind: "candidate-answer"; readonly sessionId: bigint; readonly candidates: readonly Candidate[] }
  | {
    readonly kind: "start-punching";
    readonly sessionId: bigint;
    readonly startDelayMs: number;
    readonly candidates: readonly Candidate[];
  }
  | {
    readonly kind: "punching-result";
    readonly sessionId: bigint;
    readonly success: boolean;
    readonly workingAddress: SocketAddress | null;
  }
  /** `message` is for people: sanitise it. */
  | { readonly kind: "error"; readonly sessionId: bigint | null; readonly code: SignalError; readonly message: string };

const FRAME_PAYLOAD_AT = 4;

export type SignalFrame =
  | NeedBytes
  /** The payload is `length` bytes from `offset`; the next frame begins behind it. */
  | { readonly kind: "frame"; readonly offset: number; readonly length: number }
  | Malformed;

/** The first frame in the `length` bytes of a stream that came so far: `length u32 BE | payload`, WIRE 6.1. */
export function readSignalFrame(bytes: Uint8Array, offset: number, length: number): SignalFrame {
  if (length < FRAME_PAYLOAD_AT) return { kind: "need", bytes: FRAME_PAYLOAD_AT };
  const payloadLength = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset);
  if (payloadLength > SIGNAL_PAYLOAD_MAX_BYTES) return malformed("too-long");
  if (payloadLength === 0) return malformed("empty");
  if (length < FRAME_PAYLOAD_AT + payloadLength) return { kind: "need", bytes: FRAME_PAYLOAD_AT + payloadLength };
  return { kind: "frame", offset: offset + FRAME_PAYLOAD_AT, length: payloadLength };
}

/** One message from a frame's payload. It fills the payload exactly: see WIRE 6.5 for why trailing bytes are refused. */
export function decodeSignal(
  bytes: Uint8Array,
  offset: number,
  length: number,
  options: ServiceIdOptions = {},
): SignalMessage | Malformed {
  if (length > SIGNAL_PAYLOAD_MAX_BYTES) return malformed("too-long");
  const reader = new BincodeReader(bytes, offset, length);
  const message = readMessage(reader, options);
  reader.end();
  return reader.why === null ? message : malformed(reader.why);
}

function readMessage(reader: BincodeReader, options: ServiceIdOptions): SignalMessage {
  const kind = reader.index(MESSAGE_KINDS);
  if (kind === "error") {
    const sessionId = reader.option(() => reader.u64());
    return { kind, sessionId, code: reader.index(SIGNAL_ERRORS), message: reader.string(SIGNAL_TEXT_MAX_BYTES) };
  }
  const sessionId = reader.u64();
  switch (kind) {
    case "candidate-offer":
      return { kind, sessionId, service: readServiceId(reader, options), candidates: readCandidates(reader) };
    case "candidate-answer":
      return { kind, sessionId, candidates: readCandidates(reader) };
    case "start-punching":
      return { kind, sessionId, startDelayMs: reader.number(START_DELAY_MAX_MS), candidates: readCandidates(reader) };
    case "punching-result":
      return { kind, sessionId, success: reader.bool(), workingAddress: reader.option(() => reader.socketAddress()) };
  }
}

function readServiceId(reader: BincodeReader, options: ServiceIdOptions): string {
  const text = reader.string(SERVICE_ID_MAX_BYTES);
  if (!parseServiceId(text, options).ok) reader.fail("service-id");
  return text;
}

function readCandidates(reader: BincodeReader): Candidate[] {
  return reader.list(CANDIDATES_MAX, CANDIDATE_MIN_BYTES, () => {
    const type = reader.index(CANDIDATE_TYPES);
    const address = reader.socketAddress();
    const priority = reader.u32();
    const foundation = reader.string(FOUNDATION_MAX_BYTES);
    if (foundation !== "" && !parsePrintable(foundation, FOUNDATION_MAX_BYTES).ok) reader.fail("control-characters");
    return { type, address, priority, foundation, relatedAddress: reader.option(() => reader.socketAddress()) };
  });
}

/**
 * Writes a frame with one message and returns the length of both. `bytes` must have room for
 * {@linkcode SIGNAL_ENCODED_MAX_BYTES}; the message keeps the limits above.
 */
export function encodeSignal(bytes: Uint8Array, offset: number, message: SignalMessage): number {
  assert(offset + SIGNAL_ENCODED_MAX_BYTES <= bytes.length, "room for a signalling message");
  const writer = new BincodeWriter(bytes, offset + FRAME_PAYLOAD_AT);
  writer.index(MESSAGE_KINDS, message.kind);
  writeBody(writer, message);
  const end = writer.at;
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).setUint32(offset, end - offset - FRAME_PAYLOAD_AT);
  return end - offset;
}

function writeBody(writer: BincodeWriter, message: SignalMessage): void {
  if (message.kind === "error") {
    writer.option(message.sessionId, (id) => writer.u64(id));
    writer.index(SIGNAL_ERRORS, message.code);
    writer.string(message.message, SIGNAL_TEXT_MAX_BYTES);
    return;
  }
  writer.u64(message.sessionId);
  switch (message.kind) {
    case "candidate-offer":
      writer.string(message.service, SERVICE_ID_MAX_BYTES);
      return writeCandidates(writer, message.candidates);
    case "candidate-answer":
      return writeCandidates(writer, message.candidates);
    case "start-punching":
      writer.u64(BigInt(message.startDelayMs));
      return writeCandidates(writer, message.candidates);
    case "punching-result":
      writer.bool(message.success);
      writer.option(message.workingAddress, (address) => writer.socketAddress(address));
  }
}

function writeCandidates(writer: BincodeWriter, candidates: readonly Candidate[]): void {
  assert(candidates.length <= CANDIDATES_MAX, "no more candidates than a message may have");
  writer.list(candidates, (candidate) => {
    writer.index(CANDIDATE_TYPES, candidate.type);
    writer.socketAddress(candidate.address);
    writer.u32(candidate.priority);
    writer.string(candidate.foundation, FOUNDATION_MAX_BYTES);
    writer.option(candidate.relatedAddress, (address) => writer.socketAddress(address));
  });
}
