/**
 * The token in our Retry packets (RFC 9000 §8.1.2): it proves that the client receives at its address, and brings the original
 * destination ID back, so that the server keeps no state before that. Opaque to clients.
 *
 *   key id u8 | nonce[12] | AEAD(issued at u64 BE ms | original destination ID) with tag[16]
 *   additional data: version u32 BE | address length u8 | address | Retry source ID
 *
 * Bound to the address, to the connection ID that the Retry chose and to the version; valid for 60 s, and once. Several keys
 * open tokens, the first one seals them: keys can be rotated, kept over restarts and shared by servers.
 */

import { assert } from "../../base/mod.ts";

/** AES-256-GCM under one key. Synchronous; `nonce` has 12 bytes, the tag of 16 bytes stands behind the ciphertext. */
export interface Aead {
  seal(nonce: Uint8Array, plaintext: Uint8Array, additional: Uint8Array): Uint8Array;
  /** The plaintext, or null when the bytes are not authentic. */
  open(nonce: Uint8Array, sealed: Uint8Array, additional: Uint8Array): Uint8Array | null;
}

export interface RetryKey {
  /** 0 to 255, unique among the keys in use. */
  readonly id: number;
  readonly aead: Aead;
}

/** What a token is bound to besides its content. */
export interface RetryContext {
  /** The client's address and port, in a form that all servers with the same keys use. At most 255 bytes. */
  readonly address: Uint8Array;
  /** The source ID of the Retry packet, which is the destination ID of the Initial that brings the token. */
  readonly retrySourceId: Uint8Array;
  readonly version: number;
}

export type RetryTokenResult =
  | { readonly kind: "valid"; readonly originalDestinationId: Uint8Array }
  | { readonly kind: "refused"; readonly why: RetryTokenProblem };

export type RetryTokenProblem = "malformed" | "unknown-key" | "not-authentic" | "expired" | "from-the-future" | "replayed";

export const RETRY_TOKEN_LIMITS = {
  ageMaxMs: 60_000,
  /** How far the clocks of servers with the same keys may differ. */
  futureMaxMs: 5_000,
  /** Tokens that are remembered as used, in each of two generations. */
  spentMax: 65_536,
} as const;

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEALED_AT = 1 + NONCE_BYTES;
const TIME_BYTES = 8;
/** RFC 9000 §7.2: what a client chooses has at least 8 bytes; §17.2: none has more than 20. */
const ID_BYTES_MIN = 8;
const ID_BYTES_MAX = 20;
const TOKEN_BYTES_MIN = SEALED_AT + TIME_BYTES + ID_BYTES_MIN + TAG_BYTES;
export const RETRY_TOKEN_BYTES_MAX = SEALED_AT + TIME_BYTES + ID_BYTES_MAX + TAG_BYTES;

export class RetryTokens {
  readonly #entropy: (bytes: Uint8Array) => void;
  readonly #spent = new SpentTokens();
  #keys: readonly RetryKey[] = [];

  /** `entropy` fills an array with unpredictable bytes. */
  constructor(keys: readonly RetryKey[], entropy: (bytes: Uint8Array) => void) {
    this.#entropy = entropy;
    this.setKeys(keys);
  }

  /** Replaces the keys. The first one seals; tokens of keys that are gone are refused. */
  setKeys(keys: readonly RetryKey[]): void {
    assert(keys.length > 0, "retry tokens need a key");
    assert(new Set(keys.map((key) => key.id)).size === keys.length, "two retry keys have one id");
    assert(keys.every((key) => Number.isInteger(key.id) && key.id >= 0 && key.id <= 255), "a retry key's id is not a byte");
    this.#keys = keys;
  }

  /** A token for the Retry that answers an Initial to `originalDestinationId`. `nowMs` is milliseconds since the epoch. */
  seal(context: RetryContext, originalDestinationId: Uint8Array, nowMs: number): Uint8Array {
    const idBytes = originalDestinationId.length;
    assert(idBytes >= ID_BYTES_MIN && idBytes <= ID_BYTES_MAX, "the length of a client's first destination ID");
    const key = this.#keys[0];
    assert(key !== undefined, "retry tokens need a key");
    const plaintext = new Uint8Array(TIME_BYTES + idBytes);
    new DataView(plaintext.buffer).setBigUint64(0, BigInt(Math.floor(nowMs)));
    plaintext.set(originalDestinationId, TIME_BYTES);
    const nonce = new Uint8Array(NONCE_BYTES);
    this.#entropy(nonce);
    const sealed = key.aead.seal(nonce, plaintext, additionalData(context));
    assert(sealed.length === plaintext.length + TAG_BYTES, "the length of a sealed token");
    const token = new Uint8Array(SEALED_AT + sealed.length);
    token[0] = key.id;
    token.set(nonce, 1);
    token.set(sealed, SEALED_AT);
    return token;
  }

  /** Checks a token that came with an Initial. A valid one stays valid until it is spent: the Initial may come twice. */
  open(token: Uint8Array, context: RetryContext, nowMs: number): RetryTokenResult {
    if (token.length < TOKEN_BYTES_MIN || token.length > RETRY_TOKEN_BYTES_MAX) return refused("malformed");
    const key = this.#keys.find((one) => one.id === token[0]);
    if (key === undefined) return refused("unknown-key");
    const plaintext = key.aead.open(token.subarray(1, SEALED_AT), token.subarray(SEALED_AT), additionalData(context));
    if (plaintext === null) return refused("not-authentic");
    const issuedAtMs = Number(new DataView(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength).getBigUint64(0));
    if (nowMs - issuedAtMs > RETRY_TOKEN_LIMITS.ageMaxMs) return refused("expired");
    if (issuedAtMs - nowMs > RETRY_TOKEN_LIMITS.futureMaxMs) return refused("from-the-future");
    if (this.#spent.has(token)) return refused("replayed");
    return { kind: "valid", originalDestinationId: plaintext.slice(TIME_BYTES) };
  }

  /** Remembers a valid token as used, once its connection has been accepted. */
  spend(token: Uint8Array, nowMs: number): void {
    this.#spent.add(token, nowMs);
  }
}

/**
 * Used tokens, in two generations: the older one is dropped when the younger has lasted longer than any token. If the younger
 * is full before, it becomes the older one early; a replay still has to come from the same address.
 */
class SpentTokens {
  #young = new Set<number>();
  #old = new Set<number>();
  #youngSinceMs = -Infinity;

  has(token: Uint8Array): boolean {
    const key = keyOf(token);
    return this.#young.has(key) || this.#old.has(key);
  }

  add(token: Uint8Array, nowMs: number): void {
    const { ageMaxMs, futureMaxMs, spentMax } = RETRY_TOKEN_LIMITS;
    if (this.#young.size >= spentMax || nowMs - this.#youngSinceMs > ageMaxMs + futureMaxMs) {
      this.#old = this.#young;
      this.#young = new Set();
      this.#youngSinceMs = nowMs;
    }
    this.#young.add(keyOf(token));
  }
}

/** The last six bytes of the tag: no two tokens that are valid at one time share them but by a chance of 2^-48. */
function keyOf(token: Uint8Array): number {
  let key = 0;
  for (const byte of token.subarray(-6)) key = key * 256 + byte;
  return key;
}

function additionalData(context: RetryContext): Uint8Array {
  const { address, retrySourceId, version } = context;
  assert(address.length <= 255, "the length of an address");
  const bytes = new Uint8Array(5 + address.length + retrySourceId.length);
  new DataView(bytes.buffer).setUint32(0, version);
  bytes[4] = address.length;
  bytes.set(address, 5);
  bytes.set(retrySourceId, 5 + address.length);
  return bytes;
}

function refused(why: RetryTokenProblem): RetryTokenResult {
  return { kind: "refused", why };
}
