/**
 * Loads what registration tokens need: the public keys of their issuers for a server, the token and its holder's key for a
 * client. PEM and text in, DER and bytes out. What a token says is judged by the server.
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { messageOf } from "../base/mod.ts";
import { damaged, type MaterialReader, readMaterial } from "./material_file.ts";

/** A token with the key of its holder. */
export interface TokenMaterial {
  readonly token: Uint8Array;
  /** SubjectPublicKeyInfo and PKCS #8, both DER. */
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

const TOKEN_TEXT_MAX = 4096;

/** SubjectPublicKeyInfo (DER) of every key in the files. Rejects with exit code 1. */
export async function loadTokenIssuers(paths: readonly string[], reader: MaterialReader): Promise<Uint8Array[]> {
  const keys: Uint8Array[] = [];
  for (const path of paths) {
    const text = new TextDecoder().decode(await readMaterial(path, "Token issuer's key", reader));
    const blocks = text.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? [];
    if (blocks.length === 0) throw damaged(`No public key in ${path}`, "it must have a PEM block -----BEGIN PUBLIC KEY-----");
    for (const block of blocks) keys.push(publicDer(parseKey(path, () => createPublicKey(block))));
  }
  return keys;
}

/** A client's token and the private key of its holder. Rejects with exit code 1. */
export async function loadToken(tokenPath: string, keyPath: string, reader: MaterialReader): Promise<TokenMaterial> {
  const text = new TextDecoder().decode(await readMaterial(tokenPath, "Registration token", reader)).trim();
  const token = decodeTokenText(text);
  if (token === null) {
    throw damaged(`No registration token in ${tokenPath}`, "it must be the one line that `postern token issue` prints");
  }
  const pem = new TextDecoder().decode(await readMaterial(keyPath, "Token holder's key", reader));
  const key = parseKey(keyPath, () => createPrivateKey(pem));
  return {
    token,
    publicKey: publicDer(createPublicKey(key.export({ type: "pkcs8", format: "pem" }))),
    privateKey: new Uint8Array(key.export({ type: "pkcs8", format: "der" }) as Uint8Array),
  };
}

/** The bytes of a token as `postern token issue` prints it; null when the text can be none. */
export function decodeTokenText(text: string): Uint8Array<ArrayBuffer> | null {
  // A single character of the last four is no byte; the runtime throws on it, and on some texts with other characters.
  if (!/^[A-Za-z0-9_-]+$/.test(text) || text.length > TOKEN_TEXT_MAX || text.length % 4 === 1) return null;
  return new Uint8Array(Buffer.from(text, "base64url"));
}

function parseKey(path: string, read: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = read();
  } catch (cause) {
    throw damaged(`Key cannot be parsed: ${path}: ${messageOf(cause)}`, "it must be an Ed25519 key in PEM", cause);
  }
  if (key.asymmetricKeyType !== "ed25519") {
    throw damaged(`Key ${path} is no Ed25519 key`, "`postern token keys` makes one");
  }
  return key;
}

function publicDer(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ type: "spki", format: "der" }) as Uint8Array);
}
