/**
 * The primitives that the data plane needs at once, without waiting: authenticated encryption for Retry tokens, HMAC for reset
 * tokens, hashes and Ed25519 for registration tokens. Thin and synchronous over the runtime's own library.
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { HmacSha256 } from "./hmac_sha256.ts";

/** AES-256-GCM under one key; `nonce` has 12 bytes, the tag of 16 bytes stands behind the ciphertext. */
export interface PlaneAead {
  seal(nonce: Uint8Array, plaintext: Uint8Array, additional: Uint8Array): Uint8Array;
  /** The plaintext, or null when the bytes are not authentic. */
  open(nonce: Uint8Array, sealed: Uint8Array, additional: Uint8Array): Uint8Array | null;
}

export interface PlaneCrypto {
  /** `key` has 32 bytes. */
  aes256Gcm(key: Uint8Array): PlaneAead;
  hmacSha256(key: Uint8Array): (data: Uint8Array) => Uint8Array;
  sha256(data: Uint8Array): Uint8Array<ArrayBuffer>;
  /** Whether the Ed25519 signature is by the key whose SubjectPublicKeyInfo (DER) is given. False for a key that is none. */
  verifyEd25519(publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean;
  /** Signs with the Ed25519 key whose PKCS #8 (DER) is given. Throws for a key that is none. */
  signEd25519(privateKey: Uint8Array, data: Uint8Array): Uint8Array;
}

const TAG_BYTES = 16;

export function createPlaneCrypto(): PlaneCrypto {
  return { aes256Gcm, hmacSha256, sha256, verifyEd25519, signEd25519 };
}

function aes256Gcm(key: Uint8Array): PlaneAead {
  return {
    seal(nonce, plaintext, additional) {
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(additional);
      const sealed = new Uint8Array(plaintext.length + TAG_BYTES);
      sealed.set(cipher.update(plaintext));
      cipher.final();
      sealed.set(cipher.getAuthTag(), plaintext.length);
      return sealed;
    },
    open(nonce, sealed, additional) {
      const length = sealed.length - TAG_BYTES;
      if (length < 0) return null;
      try {
        const opener = createDecipheriv("aes-256-gcm", key, nonce).setAAD(additional).setAuthTag(sealed.subarray(length));
        const plaintext = new Uint8Array(opener.update(sealed.subarray(0, length)));
        opener.final();
        return plaintext;
      } catch {
        return null;
      }
    },
  };
}

function hmacSha256(key: Uint8Array): (data: Uint8Array) => Uint8Array {
  const hmac = new HmacSha256(key);
  return (data) => hmac.digest(data);
}

function sha256(data: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash("sha256").update(data).digest());
}

function verifyEd25519(publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    // Anything but a key of that kind is refused here, so that no other algorithm is ever tried.
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    return key.asymmetricKeyType === "ed25519" && verify(null, data, key, signature);
  } catch {
    return false;
  }
}

function signEd25519(privateKey: Uint8Array, data: Uint8Array): Uint8Array {
  const key = createPrivateKey({ key: Buffer.from(privateKey), format: "der", type: "pkcs8" });
  return new Uint8Array(sign(null, data, key));
}
