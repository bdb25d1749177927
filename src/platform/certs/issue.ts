/**
 * Makes one key pair and one certificate for it, self-signed (an authority) or signed by an authority. Names in, PEM texts out,
 * nothing touches the disk. Profile: RFC 5280, 128-bit random serials, critical basic constraints and key usage, SHA-256 or
 * SHA-384 after the curve.
 */

import * as x509 from "./x509.ts";
import { toHex } from "../../base/mod.ts";

export type Curve = "P-256" | "P-384";

/** A name in a certificate's SAN. */
export type AlternativeName = { readonly type: "dns" | "ip"; readonly value: string };

/** A certificate with its key. */
export interface Issued {
  readonly certificate: x509.X509Certificate;
  readonly keys: CryptoKeyPair;
  readonly certificatePem: string;
  /** PKCS #8. */
  readonly privateKeyPem: string;
}

export interface IssueOptions {
  readonly commonName: string;
  readonly curve: Curve;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface LeafOptions extends IssueOptions {
  readonly purpose: "server" | "client";
  /** May be empty: then there is no SAN at all. */
  readonly names: readonly AlternativeName[];
}

/** A self-signed authority that may sign leaves and revocation lists, and no further authorities. */
export async function issueAuthority(options: IssueOptions): Promise<Issued> {
  const keys = await generateKeys(options.curve);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: subject(options.commonName),
    notBefore: options.notBefore,
    notAfter: options.notAfter,
    keys,
    signingAlgorithm: algorithm(options.curve),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return toPem(certificate, keys);
}

/** A certificate for one end of TLS, signed by `authority`. */
export async function issueLeaf(authority: Issued, options: LeafOptions): Promise<Issued> {
  const keys = await generateKeys(options.curve);
  const usage = options.purpose === "server" ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([usage]),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    await x509.AuthorityKeyIdentifierExtension.create(authority.keys.publicKey),
  ];
  if (options.names.length > 0) {
    extensions.push(new x509.SubjectAlternativeNameExtension(options.names.map((name) => ({ ...name }))));
  }
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: subject(options.commonName),
    issuer: authority.certificate.subjectName.toJSON(),
    notBefore: options.notBefore,
    notAfter: options.notAfter,
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    signingAlgorithm: signingAlgorithm(authority.keys.privateKey),
    extensions,
  });
  return toPem(certificate, keys);
}

/** The subject as a structure, so that no character of the name is taken for syntax. */
function subject(commonName: string): x509.JsonName {
  return [{ CN: [commonName] }];
}

/** 128 random bits, positive and without a leading zero byte (RFC 5280 §4.1.2.2), hexadecimal. */
function randomSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0] ?? 0) & 0x7f | 0x40;
  return toHex(bytes);
}

function algorithm(curve: Curve): EcKeyGenParams & EcdsaParams {
  return { name: "ECDSA", namedCurve: curve, hash: curve === "P-384" ? "SHA-384" : "SHA-256" };
}

function signingAlgorithm(key: CryptoKey): EcKeyGenParams & EcdsaParams {
  return algorithm((key.algorithm as EcKeyAlgorithm).namedCurve === "P-384" ? "P-384" : "P-256");
}

async function generateKeys(curve: Curve): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(algorithm(curve), true, ["sign", "verify"]);
}

async function toPem(certificate: x509.X509Certificate, keys: CryptoKeyPair): Promise<Issued> {
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    certificate,
    keys,
    certificatePem: certificate.toString("pem") + "\n",
    privateKeyPem: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") + "\n",
  };
}
