/**
 * Certificates for tests, made in memory: authorities, leaves with any names, uses, times and keys, and revocation lists.
 * What comes out is PEM text as `Uint8Array`, the form in which the program takes it; nothing is written to disk.
 */
import "reflect-metadata";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import * as x509 from "@peculiar/x509";

x509.cryptoProvider.set(crypto);

/** For `CertificateOptions`: import them from here, since the library must be loaded behind reflect-metadata. */
export { Extension, KeyUsageFlags } from "@peculiar/x509";

export type KeyType = "p256" | "p384" | "rsa2048" | "rsa1024" | "ed25519";
export type ExtendedKeyUsage = "clientAuth" | "serverAuth" | "codeSigning";

export interface CertificateOptions {
  /** Absent: no common name, an organisation instead. */
  readonly commonName?: string;
  /** The whole subject in RFC 4514 form, in place of {@linkcode commonName}. */
  readonly subject?: string;
  readonly dns?: readonly string[];
  readonly ip?: readonly string[];
  readonly uri?: readonly string[];
  /** Default: both clientAuth and serverAuth. Null: no such extension. */
  readonly eku?: readonly ExtendedKeyUsage[] | null;
  /** Default: a day ago. */
  readonly notBefore?: Date;
  /** Default: in a day. */
  readonly notAfter?: Date;
  /** Default: p256. */
  readonly keyType?: KeyType;
  /** Default: the key's own, SHA-256 or SHA-384. For ECDSA authorities only. */
  readonly signatureHash?: "SHA-1";
  /** Hexadecimal; default: random. */
  readonly serial?: string;
  /** Default: keyCertSign and cRLSign for an authority, digitalSignature for a leaf. */
  readonly keyUsage?: x509.KeyUsageFlags;
  /** Further extensions as they are. */
  readonly extensions?: readonly x509.Extension[];
}

export interface Issued {
  /** The leaf, then the intermediate authorities up to, without, the root. */
  readonly certificatePem: Uint8Array<ArrayBuffer>;
  readonly privateKeyPem: Uint8Array<ArrayBuffer>;
  readonly certificate: x509.X509Certificate;
  readonly keys: CryptoKeyPair;
}

export interface CrlOptions {
  readonly revoked?: readonly Issued[];
  /** Default: an hour ago. */
  readonly thisUpdate?: Date;
  /** Default: in a day. */
  readonly nextUpdate?: Date;
}

export interface Authority extends Issued {
  issue(options?: CertificateOptions): Promise<Issued>;
  /** An intermediate authority below this one. */
  authority(options?: CertificateOptions): Promise<Authority>;
  /** PEM, labelled `X509 CRL`. */
  crl(options?: CrlOptions): Promise<Uint8Array<ArrayBuffer>>;
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const ENCODER = new TextEncoder();

const KEY_ALGORITHMS = {
  p256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  p384: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  rsa2048: { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  rsa1024: { name: "RSASSA-PKCS1-v1_5", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  ed25519: { name: "Ed25519" },
} as const;

const USAGES = {
  clientAuth: x509.ExtendedKeyUsage.clientAuth,
  serverAuth: x509.ExtendedKeyUsage.serverAuth,
  codeSigning: x509.ExtendedKeyUsage.codeSigning,
} as const;

/** A root authority, self-signed. */
export async function createAuthority(options: CertificateOptions = {}): Promise<Authority> {
  const keyType = options.keyType ?? "p256";
  const keys = await generateKeys(keyType);
  const certificate = await sign({ commonName: "Test CA", ...options }, keys, null, keyType, true);
  return authorityOf(await issued(certificate, keys, []), [], keyType);
}

/** Any certificate used as an authority, whether it may be one or not: for the chains that must be refused. */
export function asAuthority(self: Issued, keyType: KeyType = "p256"): Authority {
  return authorityOf(self, [self.certificate], keyType);
}

/** A leaf that signs itself. */
export async function createSelfSigned(options: CertificateOptions = {}): Promise<Issued> {
  const keyType = options.keyType ?? "p256";
  const keys = await generateKeys(keyType);
  return issued(await sign(options, keys, null, keyType, false), keys, []);
}

/** Several PEM texts as one. */
export function joinPem(...texts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return ENCODER.encode(texts.map((text) => new TextDecoder().decode(text).trimEnd() + "\n").join(""));
}

function authorityOf(self: Issued, chain: readonly x509.X509Certificate[], signerKeyType: KeyType): Authority {
  const signer = { certificate: self.certificate, keys: self.keys, keyType: signerKeyType };
  return {
    ...self,
    async issue(options = {}) {
      const keyType = options.keyType ?? "p256";
      const keys = await generateKeys(keyType);
      return issued(await sign(options, keys, signer, keyType, false), keys, chain);
    },
    async authority(options = {}) {
      const keyType = options.keyType ?? "p256";
      const keys = await generateKeys(keyType);
      const certificate = await sign({ commonName: "Test intermediate CA", ...options }, keys, signer, keyType, true);
      return authorityOf(await issued(certificate, keys, chain), [certificate, ...chain], keyType);
    },
    async crl(options = {}) {
      const now = Date.now();
      const list = await x509.X509CrlGenerator.create({
        issuer: self.certificate.subjectName,
        thisUpdate: options.thisUpdate ?? new Date(now - HOUR_MS),
        nextUpdate: options.nextUpdate ?? new Date(now + DAY_MS),
        signingKey: self.keys.privateKey,
        signingAlgorithm: KEY_ALGORITHMS[signerKeyType],
        entries: (options.revoked ?? []).map((each) => ({
          serialNumber: each.certificate.serialNumber,
          revocationDate: new Date(now - HOUR_MS),
          // Without a reason the generator writes an empty list of extensions, which RFC 5280 §5.1 forbids and BoringSSL refuses.
          reason: x509.X509CrlReason.keyCompromise,
        })),
      });
      return ENCODER.encode(pem("X509 CRL", list.rawData));
    },
  };
}

interface Signer {
  readonly certificate: x509.X509Certificate;
  readonly keys: CryptoKeyPair;
  readonly keyType: KeyType;
}

async function sign(
  options: CertificateOptions,
  keys: CryptoKeyPair,
  signer: Signer | null,
  keyType: KeyType,
  isAuthority: boolean,
): Promise<x509.X509Certificate> {
  const subject = options.subject ?? (options.commonName === undefined ? "O=Test" : [{ CN: [options.commonName] }]);
  const subjectName = new x509.Name(subject);
  return await x509.X509CertificateGenerator.create({
    serialNumber: options.serial ?? `01${randomBytes(8).toString("hex")}`,
    subject: subjectName,
    issuer: signer?.certificate.subjectName ?? subjectName,
    notBefore: options.notBefore ?? new Date(Date.now() - DAY_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + DAY_MS),
    publicKey: keys.publicKey,
    signingKey: signer?.keys.privateKey ?? keys.privateKey,
    signingAlgorithm: {
      ...KEY_ALGORITHMS[signer?.keyType ?? keyType],
      ...(options.signatureHash && { hash: options.signatureHash }),
    },
    extensions: [...await extensionsOf(options, keys, signer, isAuthority)],
  });
}

async function extensionsOf(
  options: CertificateOptions,
  keys: CryptoKeyPair,
  signer: Signer | null,
  isAuthority: boolean,
): Promise<x509.Extension[]> {
  const extensions: x509.Extension[] = [new x509.BasicConstraintsExtension(isAuthority, undefined, true)];
  const usage = isAuthority ? x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign : x509.KeyUsageFlags.digitalSignature;
  extensions.push(new x509.KeyUsagesExtension(options.keyUsage ?? usage, true));
  extensions.push(await x509.SubjectKeyIdentifierExtension.create(keys.publicKey));
  extensions.push(await x509.AuthorityKeyIdentifierExtension.create(signer?.keys.publicKey ?? keys.publicKey));
  const eku = options.eku === undefined ? (isAuthority ? null : ["clientAuth", "serverAuth"] as const) : options.eku;
  if (eku !== null) extensions.push(new x509.ExtendedKeyUsageExtension(eku.map((each) => USAGES[each])));
  const names = [
    ...(options.dns ?? []).map((value) => ({ type: "dns" as const, value })),
    ...(options.ip ?? []).map((value) => ({ type: "ip" as const, value })),
    ...(options.uri ?? []).map((value) => ({ type: "url" as const, value })),
  ];
  if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names));
  return [...extensions, ...(options.extensions ?? [])];
}

async function issued(
  certificate: x509.X509Certificate,
  keys: CryptoKeyPair,
  chain: readonly x509.X509Certificate[],
): Promise<Issued> {
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  const certificates = [certificate, ...chain].map((each) => pem("CERTIFICATE", each.rawData));
  return {
    certificatePem: ENCODER.encode(certificates.join("")),
    privateKeyPem: ENCODER.encode(pem("PRIVATE KEY", pkcs8)),
    certificate,
    keys,
  };
}

async function generateKeys(keyType: KeyType): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(KEY_ALGORITHMS[keyType], true, ["sign", "verify"]) as CryptoKeyPair;
}

function pem(label: string, der: ArrayBuffer): string {
  const lines = Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
