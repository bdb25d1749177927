/**
 * Stateless resets (RFC 9000 §10.3): a server that has lost a connection can still end it, because the token that it gave out
 * with each connection ID follows from the ID and a key that outlives the process.
 */

import { assert } from "../../base/mod.ts";

/** HMAC-SHA-256 under a key that is used for nothing else. Synchronous; 32 bytes. */
export type ResetHmac = (data: Uint8Array) => Uint8Array;

export const RESET_TOKEN_BYTES = 16;
/** RFC 9000 §10.3: a shorter packet would not look like one with a short header. */
const RESET_BYTES_MIN = 5 + RESET_TOKEN_BYTES;
/** Above this size of the packet that it answers, a reset need not be as long as that. */
const RESET_BYTES_MAX = 42;

/** The stateless reset token of one of our connection IDs (RFC 9000 §10.3.2). */
export function resetToken(hmac: ResetHmac, id: Uint8Array): Uint8Array {
  const digest = hmac(id);
  assert(digest.length >= RESET_TOKEN_BYTES, "the length of an HMAC");
  return digest.slice(0, RESET_TOKEN_BYTES);
}

/**
 * Writes a stateless reset for a packet of `receivedBytes` with a short header to an unknown ID, and returns its length; 0 when
 * that packet is too short to be answered. A reset is shorter than what it answers, so that two ends cannot reset each other
 * for ever. `entropy` fills an array with unpredictable bytes.
 */
export function writeStatelessReset(
  bytes: Uint8Array,
  offset: number,
  receivedBytes: number,
  token: Uint8Array,
  entropy: (bytes: Uint8Array) => void,
): number {
  const length = Math.min(receivedBytes - 1, RESET_BYTES_MAX);
  if (length < RESET_BYTES_MIN) return 0;
  assert(token.length === RESET_TOKEN_BYTES, "the length of a reset token");
  entropy(bytes.subarray(offset, offset + length - RESET_TOKEN_BYTES));
  bytes[offset] = ((bytes[offset] ?? 0) & 0x3f) | 0x40;
  bytes.set(token, offset + length - RESET_TOKEN_BYTES);
  return length;
}
