/**
 * The registration token, WIRE 8.1: what an issuer signed about the holder of a key. This file reads and writes the bytes and
 * names what is signed; the signatures themselves are made and verified elsewhere. A decoded token is a claim until then.
 */

import { assert, compareBytes, concatBytes, decodeServiceId, fromHex, type ServiceIdOptions, toHex } from "../../base/mod.ts";
import { closeField, type FieldRange, type FieldRule, readFields, writeField } from "./fields.ts";
import { type Malformed, malformed } from "./malformed.ts";
import type { RegistrationRole } from "./registration.ts";

// TOKEN: version u8 | length u16 BE | fields | signature[64]
const TOKEN_VERSION = 0x01;
const FIELDS_AT = 3;
export const SIGNATURE_BYTES = 64;
export const TOKEN_MAX_BYTES = 2048;

const FIELD = { role: 0x01, services: 0x02, expires: 0x03, holder: 0x04 } as const;
const HOLDER_BYTES = 32;
const TOKEN_RULES: readonly FieldRule[] = [
  { type: FIELD.role, lengthMin: 1, lengthMax: 1 },
  { type: FIELD.services, lengthMin: 2, lengthMax: TOKEN_MAX_BYTES },
  { type: FIELD.expires, lengthMin: 8, lengthMax: 8 },
  { type: FIELD.holder, lengthMin: HOLDER_BYTES, lengthMax: HOLDER_BYTES },
];
const ROLE_BYTE = { agent: 1, connector: 2 } as const;

export interface TokenClaims {
  readonly role: RegistrationRole;
  /** Service ids in the order of their bytes, no duplicates; or `["*"]` for every service. */
  readonly services: readonly string[];
  /** Seconds since the epoch; void from this moment on. */
  readonly expiresSeconds: number;
  /** SHA-256 of the holder's SubjectPublicKeyInfo (DER), 64 lower-case hexadecimal digits. */
  readonly holder: string;
}

export type DecodedToken =
  | ({
    readonly kind: "token";
    /** The first bytes of the token that the issuer signed; the signature is the 64 bytes behind them. */
    readonly signedLength: number;
  } & TokenClaims)
  | Malformed;

/** A token that fills `length` bytes from `offset` exactly. Its signature and expiry are not looked at. */
export function decodeToken(bytes: Uint8Array, offset: number, length: number, options: ServiceIdOptions = {}): DecodedToken {
  if (length > TOKEN_MAX_BYTES) return malformed("too-long");
  if (length < FIELDS_AT + SIGNATURE_BYTES) return malformed("truncated");
  if (bytes[offset] !== TOKEN_VERSION) return malformed("first-byte");
  const fieldsLength = (bytes[offset + 1] ?? 0) << 8 | (bytes[offset + 2] ?? 0);
  const signedLength = FIELDS_AT + fieldsLength;
  if (signedLength + SIGNATURE_BYTES !== length) {
    return malformed(signedLength + SIGNATURE_BYTES > length ? "truncated" : "trailing");
  }
  const fields = readFields(bytes, offset + FIELDS_AT, fieldsLength, TOKEN_RULES);
  if (fields.kind === "malformed") return fields;
  // A claim that we do not understand may be a restriction, so a token has no fields to skip.
  if (fields.skipped > 0) return malformed("field-unknown");
  const role = fields.ranges.get(FIELD.role);
  const services = fields.ranges.get(FIELD.services);
  const expires = fields.ranges.get(FIELD.expires);
  const holder = fields.ranges.get(FIELD.holder);
  if (role === undefined || services === undefined || expires === undefined || holder === undefined) {
    return malformed("field-missing");
  }
  const ids = decodeServices(bytes, services, options);
  if ("kind" in ids) return ids;
  const roleByte = bytes[role.offset];
  if (roleByte !== ROLE_BYTE.agent && roleByte !== ROLE_BYTE.connector) return malformed("unknown-code");
  const seconds = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(expires.offset);
  if (seconds > BigInt(Number.MAX_SAFE_INTEGER)) return malformed("out-of-range");
  return {
    kind: "token",
    role: roleByte === ROLE_BYTE.agent ? "agent" : "connector",
    services: ids,
    expiresSeconds: Number(seconds),
    holder: toHex(bytes.subarray(holder.offset, holder.offset + holder.length)),
    signedLength,
  };
}

function decodeServices(bytes: Uint8Array, range: FieldRange, options: ServiceIdOptions): string[] | Malformed {
  const services: string[] = [];
  const end = range.offset + range.length;
  let previous = new Uint8Array();
  for (let at = range.offset; at < end;) {
    const idLength = bytes[at] ?? 0;
    if (at + 1 + idLength > end) return malformed("truncated");
    const id = bytes.slice(at + 1, at + 1 + idLength);
    if (compareBytes(previous, id) >= 0) return malformed(idLength === 0 ? "empty" : "field-order");
    const isEvery = range.length === 2 && id[0] === EVERY_SERVICE;
    const service = isEvery ? { ok: true, value: "*" } as const : decodeServiceId(id, 0, idLength, options);
    if (!service.ok || service.value === "*" && !isEvery) return malformed("service-id");
    services.push(service.value);
    previous = id;
    at += 1 + idLength;
  }
  return services;
}

/** `*`: stands alone, and is no service id. */
const EVERY_SERVICE = 0x2a;

/**
 * The part of a token that the issuer signs, or null when the claims do not fit in a token: no service, too many, an empty or
 * overlong id, a bad holder. Ids are sorted here.
 */
export function encodeTokenClaims(claims: TokenClaims): Uint8Array<ArrayBuffer> | null {
  const ids = claims.services.map((service) => new TextEncoder().encode(service)).sort(compareBytes);
  const holder = fromHex(claims.holder);
  const list = concatBytes(...ids.flatMap((id) => [Uint8Array.of(id.length), id]));
  const length = FIELDS_AT + 4 * 3 + 1 + list.length + 8 + HOLDER_BYTES;
  const isRepeated = ids.some((id, i) => i > 0 && compareBytes(ids[i - 1] ?? id, id) === 0);
  if (ids.length === 0 || isRepeated || ids.some((id) => id.length === 0 || id.length > 255)) return null;
  if (holder?.length !== HOLDER_BYTES || length + SIGNATURE_BYTES > TOKEN_MAX_BYTES) return null;
  const bytes = new Uint8Array(length);
  bytes[0] = TOKEN_VERSION;
  bytes[1] = (length - FIELDS_AT) >> 8;
  bytes[2] = (length - FIELDS_AT) & 255;
  let at = writeField(bytes, FIELDS_AT, FIELD.role, Uint8Array.of(ROLE_BYTE[claims.role]));
  at = writeField(bytes, at, FIELD.services, list);
  new DataView(bytes.buffer).setBigUint64(at + 3, BigInt(claims.expiresSeconds));
  at = closeField(bytes, at, FIELD.expires, 8);
  at = writeField(bytes, at, FIELD.holder, holder);
  assert(at === length, "the length of a token");
  return bytes;
}

/** What the issuer signs with Ed25519: a label that no other signature of ours begins with, then the claims. WIRE 8.1. */
export function tokenSignatureInput(signedPart: Uint8Array): Uint8Array<ArrayBuffer> {
  return concatBytes(new TextEncoder().encode("ztna-v2 registration token\0"), signedPart);
}
