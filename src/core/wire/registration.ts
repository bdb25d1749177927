/**
 * Registration, its end and the answers, WIRE 4: a client names one service per DATAGRAM, the server answers each with ACK or NACK.
 * Rare, so results are objects. Who may register what is decided in `auth` and `registry`.
 */

import { assert, decodeServiceId, decodeUtf8, type ServiceIdOptions, writeUtf8 } from "../../base/mod.ts";
import { type Malformed, malformed, type MalformedWhy } from "./malformed.ts";

export type RegistrationRole = "agent" | "connector";

// REGISTER: kind u8 | id length u8 | id
const REGISTER_FIRST_BYTE = { agent: 0x10, connector: 0x11 } as const;
const REGISTER_ID_AT = 2;

// WITHDRAW: kind u8 | id length u8 | id
const WITHDRAW_FIRST_BYTE = 0x14;

// ACK, NACK: kind u8 | status u8 | id length u8 | id
const ACK_FIRST_BYTE = 0x12;
const NACK_FIRST_BYTE = 0x13;
const REPLY_ID_AT = 3;
const ACK_STATUS = 0x00;

/** The statuses of a NACK with their bytes, WIRE 4.3. */
export const NACK_STATUS = {
  "invalid": 0x01,
  "not-authorised": 0x02,
  "taken": 0x03,
  "rate-limited": 0x04,
  /** What the client asked for by WITHDRAW. */
  "withdrawn": 0x05,
} as const;
/** `unknown` is any byte that this specification does not define: a refusal whose reason we do not know. */
export type NackStatus = keyof typeof NACK_STATUS | "unknown";

export type Registration =
  | { readonly kind: "register"; readonly role: RegistrationRole; readonly service: string }
  /** The frame is whole but its id is none: answer NACK `invalid`. */
  | { readonly kind: "invalid-id"; readonly role: RegistrationRole; readonly why: MalformedWhy }
  /** Not a whole frame: ignored without an answer. */
  | Malformed;

/**
 * A REGISTER-AGENT or REGISTER-CONNECTOR frame. Bytes behind the id are ignored, as ztna-v1 does (WIRE 4.1): the one place
 * where a decoder here takes trailing bytes.
 */
export function decodeRegistration(
  bytes: Uint8Array,
  offset: number,
  length: number,
  options: ServiceIdOptions = {},
): Registration {
  if (length < REGISTER_ID_AT) return malformed("truncated");
  const first = bytes[offset];
  if (first !== REGISTER_FIRST_BYTE.agent && first !== REGISTER_FIRST_BYTE.connector) return malformed("first-byte");
  const role = first === REGISTER_FIRST_BYTE.agent ? "agent" : "connector";
  const idLength = bytes[offset + 1] ?? 0;
  if (REGISTER_ID_AT + idLength > length) return malformed("truncated");
  if (idLength === 0) return { kind: "invalid-id", role, why: "empty" };
  const service = decodeServiceId(bytes, offset + REGISTER_ID_AT, idLength, options);
  if (service.ok) return { kind: "register", role, service: service.value };
  const isText = decodeUtf8(bytes, offset + REGISTER_ID_AT, idLength) !== null;
  return { kind: "invalid-id", role, why: isText ? "service-id" : "not-utf8" };
}

/** Writes a registration and returns its length. `service` has passed `parseServiceId`. */
export function encodeRegistration(bytes: Uint8Array, offset: number, role: RegistrationRole, service: string): number {
  bytes[offset] = REGISTER_FIRST_BYTE[role];
  return REGISTER_ID_AT + writeId(bytes, offset + 1, service);
}

export type Withdrawal = { readonly kind: "withdraw"; readonly service: string } | Malformed;

/** A WITHDRAW frame, WIRE 4.7. The id is strict UTF-8 and otherwise any: the server looks for it among the connection's own. */
export function decodeWithdrawal(bytes: Uint8Array, offset: number, length: number): Withdrawal {
  if (length < REGISTER_ID_AT) return malformed("truncated");
  if (bytes[offset] !== WITHDRAW_FIRST_BYTE) return malformed("first-byte");
  const idLength = bytes[offset + 1] ?? 0;
  if (REGISTER_ID_AT + idLength > length) return malformed("truncated");
  if (REGISTER_ID_AT + idLength < length) return malformed("trailing");
  if (idLength === 0) return malformed("empty");
  const service = decodeUtf8(bytes, offset + REGISTER_ID_AT, idLength);
  return service === null ? malformed("not-utf8") : { kind: "withdraw", service };
}

/** Writes a WITHDRAW and returns its length. `service` has passed `parseServiceId`. */
export function encodeWithdrawal(bytes: Uint8Array, offset: number, service: string): number {
  bytes[offset] = WITHDRAW_FIRST_BYTE;
  return REGISTER_ID_AT + writeId(bytes, offset + 1, service);
}

export type RegistrationReply =
  | { readonly kind: "ack"; readonly service: string }
  /** `service` is "" only with status `invalid`: that id could not be repeated. */
  | { readonly kind: "nack"; readonly status: NackStatus; readonly statusByte: number; readonly service: string }
  | Malformed;

/**
 * An ACK or NACK. The id is strict UTF-8 and otherwise any: the client compares it with what it asked for and ignores
 * answers to other questions (WIRE 4.5).
 */
export function decodeRegistrationReply(bytes: Uint8Array, offset: number, length: number): RegistrationReply {
  if (length < REPLY_ID_AT) return malformed("truncated");
  const first = bytes[offset];
  if (first !== ACK_FIRST_BYTE && first !== NACK_FIRST_BYTE) return malformed("first-byte");
  const statusByte = bytes[offset + 1] ?? 0;
  const idLength = bytes[offset + 2] ?? 0;
  if (REPLY_ID_AT + idLength > length) return malformed("truncated");
  if (REPLY_ID_AT + idLength < length) return malformed("trailing");
  const service = decodeUtf8(bytes, offset + REPLY_ID_AT, idLength);
  if (service === null) return malformed("not-utf8");
  if (first === ACK_FIRST_BYTE) {
    if (statusByte !== ACK_STATUS) return malformed("unknown-code");
    return service === "" ? malformed("empty") : { kind: "ack", service };
  }
  if (statusByte === ACK_STATUS) return malformed("unknown-code");
  if (service === "" && statusByte !== NACK_STATUS.invalid) return malformed("empty");
  return { kind: "nack", status: nackStatusOf(statusByte), statusByte, service };
}

function nackStatusOf(statusByte: number): NackStatus {
  switch (statusByte) {
    case NACK_STATUS.invalid:
      return "invalid";
    case NACK_STATUS["not-authorised"]:
      return "not-authorised";
    case NACK_STATUS.taken:
      return "taken";
    case NACK_STATUS["rate-limited"]:
      return "rate-limited";
    case NACK_STATUS.withdrawn:
      return "withdrawn";
    default:
      return "unknown";
  }
}

/** Writes an ACK and returns its length. */
export function encodeAck(bytes: Uint8Array, offset: number, service: string): number {
  bytes[offset] = ACK_FIRST_BYTE;
  bytes[offset + 1] = ACK_STATUS;
  return REPLY_ID_AT + writeId(bytes, offset + 2, service);
}

/** Writes a NACK and returns its length. `service` is "" for status `invalid`, whose id cannot be repeated. */
export function encodeNack(bytes: Uint8Array, offset: number, status: keyof typeof NACK_STATUS, service: string): number {
  bytes[offset] = NACK_FIRST_BYTE;
  bytes[offset + 1] = NACK_STATUS[status];
  return REPLY_ID_AT + writeId(bytes, offset + 2, service);
}

/** Writes the id behind its length byte at `offset` and returns the id's length in bytes. */
function writeId(bytes: Uint8Array, offset: number, service: string): number {
  const length = writeUtf8(service, bytes, offset + 1, 255);
  assert(length >= 0, "a service id that fits");
  bytes[offset] = length;
  return length;
}
