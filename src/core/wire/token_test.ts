import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { concatBytes, fromHex, toHex } from "../../base/mod.ts";
import { decodeProof, encodeProof, PROOF_MAX_BYTES, proofSignatureInput } from "./stream_proof.ts";
import { decodeToken, encodeTokenClaims, type TokenClaims, tokenSignatureInput } from "./token.ts";

const CLAIMS: TokenClaims = { role: "agent", services: ["web", "db"], expiresSeconds: 1798761600, holder: "00".repeat(32) };

/** The key of RFC 8032 §7.1, test 1. */
function issuerKey(): Promise<CryptoKey> {
  const seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
  const pkcs8 = fromHex("302e020100300506032b657004220420" + seed) ?? new Uint8Array();
  return crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
}

const sign = async (key: CryptoKey, input: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(await crypto.subtle.sign("Ed25519", key, input));

Deno.test("a signed token is the golden one, byte for byte", async () => {
  const signed = encodeTokenClaims(CLAIMS);
  assert(signed !== null);
  const token = concatBytes(signed, await sign(await issuerKey(), tokenSignatureInput(signed)));
  assertEquals(toHex(token), GOLDEN_TOKEN);
  const decoded = decodeToken(token, 0, token.length);
  assertEquals(decoded, { kind: "token", ...CLAIMS, services: ["db", "web"], signedLength: signed.length });
});

Deno.test("a proof is bound to one connection and one token", async () => {
  const holder = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair;
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("spki", holder.publicKey));
  const token = fromHex(GOLDEN_TOKEN) ?? new Uint8Array();
  const tokenHash = new Uint8Array(await crypto.subtle.digest("SHA-256", token));
  const exported = crypto.getRandomValues(new Uint8Array(32));
  const signature = await sign(holder.privateKey, proofSignatureInput(exported, tokenHash));

  const bytes = new Uint8Array(PROOF_MAX_BYTES);
  const length = encodeProof(bytes, 0, { token, publicKey, signature });
  const proof = decodeProof(bytes, 0, length);
  assertEquals(proof, { kind: "proof", length, skippedFields: 0, token, publicKey, signature });
  const verify = (input: Uint8Array<ArrayBuffer>) => crypto.subtle.verify("Ed25519", holder.publicKey, signature, input);
  assertEquals(await verify(proofSignatureInput(exported, tokenHash)), true);
  assertEquals(await verify(proofSignatureInput(exported.map((byte) => byte ^ 1), tokenHash)), false);
  assertEquals(await verify(proofSignatureInput(exported, tokenHash.map((byte) => byte ^ 1))), false);
});

Deno.test("what is signed begins with a label of its own", () => {
  const same = new Uint8Array(64);
  assertNotEquals(toHex(tokenSignatureInput(same)), toHex(proofSignatureInput(same.subarray(32), same.subarray(32))));
});

Deno.test("claims that do not fit are not written", () => {
  const many = Array.from({ length: 9 }, (_, i) => String(i).repeat(254));
  for (const services of [[], [""], ["a", "a"], ["x".repeat(256)], many]) {
    assertEquals(encodeTokenClaims({ ...CLAIMS, services }), null);
  }
  assertEquals(encodeTokenClaims({ ...CLAIMS, holder: "00" }), null);
});

Deno.test("every service is a claim that stands alone, under the legacy grammar too", () => {
  for (const [services, kind] of [[["*"], "token"], [["*", "db"], "malformed"], [["!", "*"], "malformed"]] as const) {
    const signed = encodeTokenClaims({ ...CLAIMS, services });
    assert(signed !== null);
    const token = concatBytes(signed, new Uint8Array(64));
    assertEquals(decodeToken(token, 0, token.length, { legacy: true }).kind, kind, services.join());
  }
});

const GOLDEN_TOKEN = "01003c0100010102000702646203776562030008000000006b36ec80040020000000000000000000000000000000000000000000" +
  "0000000000000000000000acba729280fe18655508b6f149de205b195b2966896ff0b7aff9bd5fe79183006f1cf39100f32f8ab7" +
  "8dfe3ff8d82b319b8ed37fd23292bab5e0198c8caf7106";
