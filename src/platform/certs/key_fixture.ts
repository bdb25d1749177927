/** Reads private keys where the command line would pass a function for it. */

import { createHash, createPrivateKey, createPublicKey } from "node:crypto";

/** SHA-256 of the public key that belongs to a private key, base64. */
export function keyDigest(_path: string, bytes: Uint8Array): string {
  const key = createPublicKey(createPrivateKey(new TextDecoder().decode(bytes)).export({ type: "pkcs8", format: "pem" }));
  return createHash("sha256").update(key.export({ type: "spki", format: "der" })).digest("base64");
}
