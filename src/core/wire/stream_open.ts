/**
 * How a relayed stream of ztna-v2 begins: OPEN from the side that opened it, RESULT in the other direction, WIRE 7.3 and 7.4.
 * Both decoders take the bytes that came so far and say how many they want; what follows the header is the stream's data.
 */

import {
  assert,
  decodeServiceId,
  decodeUtf8,
  fromHex,
  parsePrintable,
  type ServiceIdOptions,
  toHex,
  writeUtf8,
} from "../../base/mod.ts";
import { closeField, type FieldRange, type FieldRule, readFields, writeField } from "./fields.ts";
import { type Malformed, malformed, type NeedBytes } from "./malformed.ts";

/** What a stream of ztna-v2 is for, told by its first byte, WIRE 7.1. */
export type StreamPurpose = "open" | "proof" | "signalling" | "unknown";

const OPEN_FIRST_BYTE = 0x54;
const RESULT_FIRST_BYTE = 0x52;
const PROOF_FIRST_BYTE = 0x50;
/** A signalling frame begins with a u32 BE length of at most 65536, so with 00. */
const SIGNALLING_FIRST_BYTE = 0x00;

export function classifyStream(firstByte: number): StreamPurpose {
  switch (firstByte) {
    case OPEN_FIRST_BYTE:
      return "open";
    case PROOF_FIRST_BYTE:
      return "proof";
    case SIGNALLING_FIRST_BYTE:
      return "signalling";
    default:
      return "unknown";
  }
}

// OPEN: kind u8 | length u16 BE | fields
const OPEN_FIELDS_AT = 3;
/** Bytes behind the length: at least the service field with one byte. */
const OPEN_LENGTH_MIN = 4;
const OPEN_LENGTH_MAX = 1024;
/** No OPEN is longer, header and all. */
export const OPEN_MAX_BYTES = OPEN_FIELDS_AT + OPEN_LENGTH_MAX;

const FIELD = { service: 0x01, commonName: 0x02, fingerprint: 0x03, san: 0x04, admission: 0x05 } as const;
/** `agent.` + the longest service id + `.ztna`. */
const SAN_MAX_BYTES = 266;
const FINGERPRINT_BYTES = 32;
const COMMON_NAME_MAX_BYTES = 255;
const OPEN_RULES: readonly FieldRule[] = [
  { type: FIELD.service, lengthMin: 1, lengthMax: 255 },
  { type: FIELD.commonName, lengthMin: 1, lengthMax: COMMON_NAME_MAX_BYTES },
  { type: FIELD.fingerprint, lengthMin: FINGERPRINT_BYTES, lengthMax: FINGERPRINT_BYTES },
  { type: FIELD.san, lengthMin: 1, lengthMax: SAN_MAX_BYTES },
  { type: FIELD.admission, lengthMin: 1, lengthMax: 1 },
];
/** On the wire a certificate is the absent field; the others are their numbers. */
const ADMISSION_BYTE = { token: 2, anonymous: 3 } as const;

/** Who opens the stream through the server, as the server vouches for it towards the connector. */
export interface AgentIdentity {
  /** The certificate's common name; for other admissions what the server calls the agent. 1 to 255 bytes, printable. */
  readonly commonName: string;
  /** SHA-256 of the DER certificate (of the holder's SPKI for a token, zeros for anonymous), 64 lower-case hex digits. */
  readonly fingerprint: string;
  /** The name that authorised the agent for this service, such as `agent.web.ztna`. 1 to 266 bytes, printable. */
  readonly san: string;
  /** By what the server knows the agent. Only with `certificate` do the other three come from a verified certificate. */
  readonly admission: "certificate" | "token" | "anonymous";
}

export interface OpenHeader {
  readonly service: string;
  /** Null from an agent, which the server knows; set from the server to a connector. */
  readonly agent: AgentIdentity | null;
}

export type DecodedOpen =
  | NeedBytes
  /** `length` bytes are the header; the stream's data follows. */
  | ({ readonly kind: "open"; readonly length: number; readonly skippedFields: number } & OpenHeader)
  | Malformed;

export interface OpenOptions extends ServiceIdOptions {
  /** An agent must not name an identity; a server must. */
  readonly from: "agent" | "server";
}

/**
 * OPEN from the `length` bytes of a stream that came so far. `need` tells how many bytes are wanted in all, never more than
 * {@linkcode OPEN_MAX_BYTES}. What can be refused early is refused early.
 */
export function decodeOpen(bytes: Uint8Array, offset: number, length: number, options: OpenOptions): DecodedOpen {
  if (length > 0 && bytes[offset] !== OPEN_FIRST_BYTE) return malformed("first-byte");
  if (length < OPEN_FIELDS_AT) return { kind: "need", bytes: OPEN_FIELDS_AT };
  const fieldsLength = (bytes[offset + 1] ?? 0) << 8 | (bytes[offset + 2] ?? 0);
  if (fieldsLength > OPEN_LENGTH_MAX) return malformed("too-long");
  if (fieldsLength < OPEN_LENGTH_MIN) return malformed("truncated");
  const headerLength = OPEN_FIELDS_AT + fieldsLength;
  if (length < headerLength) return { kind: "need", bytes: headerLength };

  const fields = readFields(bytes, offset + OPEN_FIELDS_AT, fieldsLength, OPEN_RULES);
  if (fields.kind === "malformed") return fields;
  const serviceAt = fields.ranges.get(FIELD.service);
  if (serviceAt === undefined) return malformed("field-missing");
  const service = decodeServiceId(bytes, serviceAt.offset, serviceAt.length, options);
  if (!service.ok) return malformed(decodeUtf8(bytes, serviceAt.offset, serviceAt.length) === null ? "not-utf8" : "service-id");
  const agent = options.from === "server" ? decodeIdentity(bytes, fields.ranges) : forbidIdentity(fields.ranges);
  if (agent !== null && "kind" in agent) return agent;
  return { kind: "open", length: headerLength, skippedFields: fields.skipped, service: service.value, agent };
}

const IDENTITY_FIELDS = [FIELD.commonName, FIELD.fingerprint, FIELD.san, FIELD.admission];

function forbidIdentity(ranges: ReadonlyMap<number, FieldRange>): null | Malformed {
  return IDENTITY_FIELDS.some((type) => ranges.has(type)) ? malformed("field-forbidden") : null;
}

function decodeIdentity(bytes: Uint8Array, ranges: ReadonlyMap<number, FieldRange>): AgentIdentity | Malformed {
  const fingerprintAt = ranges.get(FIELD.fingerprint);
  const commonName = decodeName(bytes, ranges.get(FIELD.commonName), COMMON_NAME_MAX_BYTES);
  const san = decodeName(bytes, ranges.get(FIELD.san), SAN_MAX_BYTES);
  if (fingerprintAt === undefined) return malformed("field-missing");
  if (typeof commonName !== "string") return commonName;
  if (typeof san !== "string") return san;
  const admission = decodeAdmission(bytes, ranges.get(FIELD.admission));
  if (typeof admission !== "string") return admission;
  const fingerprint = toHex(bytes.subarray(fingerprintAt.offset, fingerprintAt.offset + fingerprintAt.length));
  return { commonName, fingerprint, san, admission };
}

function decodeName(bytes: Uint8Array, at: FieldRange | undefined, maxBytes: number): string | Malformed {
  if (at === undefined) return malformed("field-missing");
  const text = decodeUtf8(bytes, at.offset, at.length);
  if (text === null) return malformed("not-utf8");
  return parsePrintable(text, maxBytes).ok ? text : malformed("control-characters");
}

function decodeAdmission(bytes: Uint8Array, at: FieldRange | undefined): AgentIdentity["admission"] | Malformed {
  if (at === undefined) return "certificate";
  const byte = bytes[at.offset];
  if (byte === ADMISSION_BYTE.token) return "token";
  return byte === ADMISSION_BYTE.anonymous ? "anonymous" : malformed("unknown-code");
}

/**
 * Writes OPEN and returns its length, at most {@linkcode OPEN_MAX_BYTES}, for which `bytes` must have room. Returns 0 when
 * the identity cannot be said on the wire (a name that is empty, too long or has control characters): then deny the stream.
 */
export function encodeOpen(bytes: Uint8Array, offset: number, open: OpenHeader): number {
  assert(offset + OPEN_MAX_BYTES <= bytes.length, "room for an OPEN");
  const serviceLength = writeUtf8(open.service, bytes, offset + OPEN_FIELDS_AT + 3, 255);
  if (serviceLength <= 0) return 0;
  let at = closeField(bytes, offset + OPEN_FIELDS_AT, FIELD.service, serviceLength);
  if (open.agent !== null) {
    at = writeIdentity(bytes, at, open.agent);
    if (at === 0) return 0;
  }
  const fieldsLength = at - offset - OPEN_FIELDS_AT;
  bytes[offset] = OPEN_FIRST_BYTE;
  bytes[offset + 1] = fieldsLength >> 8;
  bytes[offset + 2] = fieldsLength & 255;
  return at - offset;
}

/** Returns the offset behind the identity's fields, or 0. */
function writeIdentity(bytes: Uint8Array, offset: number, agent: AgentIdentity): number {
  const commonName = parsePrintable(agent.commonName, COMMON_NAME_MAX_BYTES);
  const san = parsePrintable(agent.san, SAN_MAX_BYTES);
  const fingerprint = fromHex(agent.fingerprint);
  if (!commonName.ok || !san.ok || fingerprint?.length !== FINGERPRINT_BYTES) return 0;
  let at = closeField(bytes, offset, FIELD.commonName, writeUtf8(commonName.value, bytes, offset + 3, COMMON_NAME_MAX_BYTES));
  at = writeField(bytes, at, FIELD.fingerprint, fingerprint);
  at = closeField(bytes, at, FIELD.san, writeUtf8(san.value, bytes, at + 3, SAN_MAX_BYTES));
  if (agent.admission === "certificate") return at;
  return writeField(bytes, at, FIELD.admission, Uint8Array.of(ADMISSION_BYTE[agent.admission]));
}

// RESULT: kind u8 | code u8 | reason length u8 | reason
const RESULT_REASON_AT = 3;
const RESULT_REASON_MAX_BYTES = 255;
export const RESULT_MAX_BYTES = RESULT_REASON_AT + RESULT_REASON_MAX_BYTES;

/** The index is the code on the wire, WIRE 7.4. */
export const RESULT_CODES = [
  "accepted",
  "denied",
  "unknown-service",
  "no-connector",
  "datagram-only",
  "backend-refused",
  "backend-timeout",
  "busy",
] as const;
export type ResultCode = typeof RESULT_CODES[number];

export type DecodedResult =
  | NeedBytes
  /** `length` bytes are the header; data follows only after `accepted`. `reason` is for people: sanitise it. */
  | { readonly kind: "result"; readonly code: ResultCode; readonly reason: string; readonly length: number }
  | Malformed;

/** RESULT from the `length` bytes of a stream that came so far. */
export function decodeResult(bytes: Uint8Array, offset: number, length: number): DecodedResult {
  if (length > 0 && bytes[offset] !== RESULT_FIRST_BYTE) return malformed("first-byte");
  const code = RESULT_CODES[bytes[offset + 1] ?? 0];
  if (length > 1 && code === undefined) return malformed("unknown-code");
  if (length < RESULT_REASON_AT || code === undefined) return { kind: "need", bytes: RESULT_REASON_AT };
  const reasonLength = bytes[offset + 2] ?? 0;
  if (code === "accepted" && reasonLength > 0) return malformed("not-canonical");
  const headerLength = RESULT_REASON_AT + reasonLength;
  if (length < headerLength) return { kind: "need", bytes: headerLength };
  const reason = decodeUtf8(bytes, offset + RESULT_REASON_AT, reasonLength);
  return reason === null ? malformed("not-utf8") : { kind: "result", code, reason, length: headerLength };
}

/**
 * Writes RESULT and returns its length, at most {@linkcode RESULT_MAX_BYTES}, for which `bytes` must have room. A reason over
 * 255 bytes is cut between characters; `accepted` has none.
 */
export function encodeResult(bytes: Uint8Array, offset: number, code: ResultCode, reason = ""): number {
  assert(offset + RESULT_MAX_BYTES <= bytes.length, "room for a RESULT");
  const encoded = new TextEncoder().encode(code === "accepted" ? "" : reason);
  let reasonLength = Math.min(encoded.length, RESULT_REASON_MAX_BYTES);
  // A byte 10xxxxxx continues a character: step back to where one begins.
  while (((encoded[reasonLength] ?? 0) & 0xc0) === 0x80) reasonLength--;
  bytes.set(encoded.subarray(0, reasonLength), offset + RESULT_REASON_AT);
  bytes[offset] = RESULT_FIRST_BYTE;
  bytes[offset + 1] = RESULT_CODES.indexOf(code);
  bytes[offset + 2] = reasonLength;
  return RESULT_REASON_AT + reasonLength;
}
