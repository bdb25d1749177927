/**
 * PROOF, the first message of a client that has a registration token instead of a certificate, WIRE 8.2: the token, the
 * holder's public key, and a signature that binds both to this very connection. The answer is a RESULT. The signatures are
 * verified elsewhere.
 */

import { assert, concatBytes } from "../../base/mod.ts";
import { type FieldRange, type FieldRule, readFields, writeField } from "./fields.ts";
import { type Malformed, malformed, type NeedBytes } from "./malformed.ts";
import { SIGNATURE_BYTES, TOKEN_MAX_BYTES } from "./token.ts";

// PROOF: kind u8 | length u16 BE | fields
const PROOF_FIRST_BYTE = 0x50;
const FIELDS_AT = 3;
const FIELD = { token: 0x01, publicKey: 0x02, signature: 0x03 } as const;
/** An Ed25519 SubjectPublicKeyInfo (RFC 8410 §4). */
const PUBLIC_KEY_BYTES = 44;
/** Bytes behind the length. Leaves 100 for fields to come. */
const LENGTH_MAX = 3 * 3 + TOKEN_MAX_BYTES + PUBLIC_KEY_BYTES + SIGNATURE_BYTES + 100;
export const PROOF_MAX_BYTES = FIELDS_AT + LENGTH_MAX;
const PROOF_RULES: readonly FieldRule[] = [
  { type: FIELD.token, lengthMin: 1, lengthMax: TOKEN_MAX_BYTES },
  { type: FIELD.publicKey, lengthMin: PUBLIC_KEY_BYTES, lengthMax: PUBLIC_KEY_BYTES },
  { type: FIELD.signature, lengthMin: SIGNATURE_BYTES, lengthMax: SIGNATURE_BYTES },
];

export interface Proof {
  readonly token: Uint8Array;
  /** The holder's SubjectPublicKeyInfo in DER; its SHA-256 stands in the token. */
  readonly publicKey: Uint8Array;
  /** Ed25519 over {@linkcode proofSignatureInput}. */
  readonly signature: Uint8Array;
}

export type DecodedProof =
  | NeedBytes
  /** `length` bytes are the message. The arrays are copies. */
  | ({ readonly kind: "proof"; readonly length: number; readonly skippedFields: number } & Proof)
  | Malformed;

/** PROOF from the `length` bytes of a stream that came so far. */
export function decodeProof(bytes: Uint8Array, offset: number, length: number): DecodedProof {
  if (length > 0 && bytes[offset] !== PROOF_FIRST_BYTE) return malformed("first-byte");
  if (length < FIELDS_AT) return { kind: "need", bytes: FIELDS_AT };
  const fieldsLength = (bytes[offset + 1] ?? 0) << 8 | (bytes[offset + 2] ?? 0);
  if (fieldsLength > LENGTH_MAX) return malformed("too-long");
  const end = FIELDS_AT + fieldsLength;
  if (length < end) return { kind: "need", bytes: end };
  const fields = readFields(bytes, offset + FIELDS_AT, fieldsLength, PROOF_RULES);
  if (fields.kind === "malformed") return fields;
  const token = fields.ranges.get(FIELD.token);
  const publicKey = fields.ranges.get(FIELD.publicKey);
  const signature = fields.ranges.get(FIELD.signature);
  if (token === undefined || publicKey === undefined || signature === undefined) return malformed("field-missing");
  const copy = (range: FieldRange) => bytes.slice(range.offset, range.offset + range.length);
  return {
    kind: "proof",
    length: end,
    skippedFields: fields.skipped,
    token: copy(token),
    publicKey: copy(publicKey),
    signature: copy(signature),
  };
}

/** Writes PROOF and returns its length, at most {@linkcode PROOF_MAX_BYTES}, for which `bytes` must have room. */
export function encodeProof(bytes: Uint8Array, offset: number, proof: Proof): number {
  assert(offset + PROOF_MAX_BYTES <= bytes.length && proof.token.length <= TOKEN_MAX_BYTES, "room for a PROOF");
  assert(proof.publicKey.length === PUBLIC_KEY_BYTES && proof.signature.length === SIGNATURE_BYTES, "an Ed25519 key and signature");
  let at = writeField(bytes, offset + FIELDS_AT, FIELD.token, proof.token);
  at = writeField(bytes, at, FIELD.publicKey, proof.publicKey);
  at = writeField(bytes, at, FIELD.signature, proof.signature);
  const fieldsLength = at - offset - FIELDS_AT;
  bytes[offset] = PROOF_FIRST_BYTE;
  bytes[offset + 1] = fieldsLength >> 8;
  bytes[offset + 2] = fieldsLength & 255;
  return at - offset;
}

/** The label and length for the TLS exporter (RFC 8446 §7.5, empty context) whose output a PROOF signs. WIRE 8.2. */
export const PROOF_EXPORTER = { label: "EXPORTER-ztna-v2-registration-proof", lengthBytes: 32 } as const;

/** What the holder signs: a label, the exporter's output for this connection, the SHA-256 of the token. */
export function proofSignatureInput(exported: Uint8Array, tokenSha256: Uint8Array): Uint8Array<ArrayBuffer> {
  assert(exported.length === PROOF_EXPORTER.lengthBytes && tokenSha256.length === 32, "an exporter output and a SHA-256");
  return concatBytes(new TextEncoder().encode("ztna-v2 registration proof\0"), exported, tokenSha256);
}
