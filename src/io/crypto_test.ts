import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { generateKeyPairSync, sign } from "node:crypto";
import { createPlaneCrypto } from "./crypto.ts";

const crypto_ = createPlaneCrypto();
const bytes = (length: number) => crypto.getRandomValues(new Uint8Array(length));
const fromHex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const toHex = (data: Uint8Array) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");

Deno.test("AES-256-GCM: the test vector with additional data, and nothing that was changed is opened", () => {
  // McGrew and Viega, The Galois/Counter Mode of Operation, test case 16.
  const key = fromHex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
  const nonce = fromHex("cafebabefacedbaddecaf888");
  const plaintext = fromHex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
  );
  const additional = fromHex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const aead = crypto_.aes256Gcm(key);
  const sealed = aead.seal(nonce, plaintext, additional);
  assertEquals(toHex(sealed.subarray(-16)), "76fc6ece0f4e1768cddf8853bb2d551b");
  assertEquals(aead.open(nonce, sealed, additional), plaintext);
  for (let at = 0; at < sealed.length; at += 5) {
    const changed = sealed.slice();
    changed[at] = (changed[at] ?? 0) ^ 0x40;
    assertEquals(aead.open(nonce, changed, additional), null);
  }
  assertEquals(aead.open(nonce, sealed, bytes(20)), null);
  assertEquals(aead.open(nonce, sealed.subarray(0, 15), additional), null);
  assertEquals(crypto_.aes256Gcm(bytes(32)).open(nonce, sealed, additional), null);
});

Deno.test("HMAC-SHA-256 and SHA-256: known answers", () => {
  const answer = crypto_.hmacSha256(new TextEncoder().encode("Jefe"))(new TextEncoder().encode("what do ya want for nothing?"));
  assertEquals(toHex(answer), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  assertEquals(toHex(crypto_.sha256(new Uint8Array(0))), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assertNotEquals(crypto_.hmacSha256(bytes(32))(bytes(4)), crypto_.hmacSha256(bytes(32))(bytes(4)));
});

Deno.test("Ed25519: a signature counts for its key and its data, keys of other kinds never", () => {
  const pair = generateKeyPairSync("ed25519");
  const spki = new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" }));
  const data = bytes(40);
  const signature = new Uint8Array(sign(null, data, pair.privateKey));
  assert(crypto_.verifyEd25519(spki, data, signature));
  assert(!crypto_.verifyEd25519(spki, bytes(40), signature));
  assert(!crypto_.verifyEd25519(spki, data, bytes(64)));
  assert(!crypto_.verifyEd25519(bytes(44), data, signature));
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const otherSpki = new Uint8Array(other.publicKey.export({ format: "der", type: "spki" }));
  assert(!crypto_.verifyEd25519(otherSpki, data, new Uint8Array(sign("sha256", data, other.privateKey))));
});
