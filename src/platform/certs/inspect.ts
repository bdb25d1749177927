/**
 * Says what stands in a PEM text of certificates, for people and for scripts. Bytes in, one report per certificate out.
 * Nothing is judged here: `check.ts` does that.
 */

import * as x509 from "./x509.ts";
import { messageOf, PosternError, toHex } from "../../base/mod.ts";

/** Everything about one certificate that an operator asks for. Times are ISO 8601 in UTC. */
export interface CertificateReport {
  readonly subject: string;
  readonly issuer: string;
  /** Lower-case hexadecimal. */
  readonly serial: string;
  /** `DNS:...`, `IP:...`, `URI:...`, `email:...`. */
  readonly names: readonly string[];
  /** The ZTNA names among them, as `role:service`, lower-case. */
  readonly authorises: readonly string[];
  readonly notBefore: string;
  readonly notAfter: string;
  /** Whole days until the end; below zero when it has expired. */
  readonly daysLeft: number;
  readonly isAuthority: boolean;
  readonly keyUsage: readonly string[];
  readonly extendedKeyUsage: readonly string[];
  /** Such as `EC P-256`, `RSA 2048`, `Ed25519`. */
  readonly keyType: string;
  readonly signature: string;
  /** SHA-256 of the certificate, lower-case hexadecimal. */
  readonly fingerprint: string;
  /** SHA-256 of the SubjectPublicKeyInfo, base64. */
  readonly spkiSha256: string;
}

const DAY_MS = 86_400_000;

/** Every certificate of a PEM text (other blocks are passed over). Throws with exit code 1 when there is none or one is damaged. */
export async function inspectCertificates(path: string, pem: Uint8Array, nowMs: number): Promise<CertificateReport[]> {
  const reports: CertificateReport[] = [];
  for (const certificate of parseCertificates(path, pem)) reports.push(await inspectCertificate(certificate, nowMs));
  return reports;
}

/** The certificates of a PEM text in their order. */
export function parseCertificates(path: string, pem: Uint8Array): x509.X509Certificate[] {
  const blocks = new TextDecoder().decode(pem).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) {
    throw new PosternError(`No certificate in ${path}`, {
      code: "material",
      hint: "it must have a PEM block -----BEGIN CERTIFICATE-----",
    });
  }
  return blocks.map((block, i) => {
    try {
      return new x509.X509Certificate(block);
    } catch (cause) {
      throw new PosternError(`Certificate ${i + 1} in ${path} cannot be parsed: ${messageOf(cause)}`, { code: "material", cause });
    }
  });
}

async function inspectCertificate(certificate: x509.X509Certificate, nowMs: number): Promise<CertificateReport> {
  const names = alternativeNames(certificate);
  return {
    subject: certificate.subject,
    issuer: certificate.issuer,
    serial: certificate.serialNumber.toLowerCase(),
    names,
    authorises: names.flatMap(ztnaName),
    notBefore: certificate.notBefore.toISOString(),
    notAfter: certificate.notAfter.toISOString(),
    daysLeft: Math.floor((certificate.notAfter.getTime() - nowMs) / DAY_MS),
    isAuthority: certificate.getExtension(x509.BasicConstraintsExtension)?.ca ?? false,
    keyUsage: keyUsages(certificate),
    extendedKeyUsage: extendedKeyUsages(certificate),
    keyType: keyType(certificate.publicKey.algorithm),
    signature: signatureName(certificate.signatureAlgorithm),
    fingerprint: toHex(await sha256(certificate.rawData)),
    spkiSha256: btoa(String.fromCharCode(...await sha256(certificate.publicKey.rawData))),
  };
}

const NAME_LABELS: Readonly<Record<string, string>> = {
  dns: "DNS",
  ip: "IP",
  url: "URI",
  email: "email",
  dn: "DN",
  guid: "GUID",
  upn: "UPN",
  id: "RID",
};

function alternativeNames(certificate: x509.X509Certificate): string[] {
  const extension = certificate.getExtension(x509.SubjectAlternativeNameExtension);
  return extension?.names.items.map((name) => `${NAME_LABELS[name.type] ?? name.type}:${name.value}`) ?? [];
}

/** `DNS:agent.web.ztna` is `agent:web`. */
function ztnaName(name: string): string[] {
  const match = /^DNS:(agent|connector)\.(.+)\.ztna$/.exec(name.toLowerCase().replace(/^dns:/, "DNS:"));
  return match === null ? [] : [`${match[1]}:${match[2]}`];
}

const KEY_USAGES = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

function keyUsages(certificate: x509.X509Certificate): string[] {
  const usages = certificate.getExtension(x509.KeyUsagesExtension)?.usages ?? 0;
  return KEY_USAGES.filter((usage) => (usages & x509.KeyUsageFlags[usage]) !== 0);
}

/** An absent extension is an empty list: then every purpose is allowed. */
function extendedKeyUsages(certificate: x509.X509Certificate): string[] {
  const usages = certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages ?? [];
  const byOid = new Map<string, string>(Object.entries(x509.ExtendedKeyUsage).map(([name, oid]) => [String(oid), name]));
  return Array.from(usages, (usage) => byOid.get(String(usage)) ?? String(usage));
}

/** `EC P-256`, `RSA 2048`, `Ed25519`. */
export function keyType(algorithm: Algorithm): string {
  const details = algorithm as Partial<EcKeyAlgorithm & RsaKeyAlgorithm> & Algorithm;
  if (details.namedCurve !== undefined) return details.name === "ECDSA" ? `EC ${details.namedCurve}` : details.namedCurve;
  if (details.modulusLength !== undefined) return `RSA ${details.modulusLength}`;
  return details.name;
}

function signatureName(algorithm: Algorithm & { readonly hash?: { readonly name: string } }): string {
  return algorithm.hash === undefined ? algorithm.name : `${algorithm.name} with ${algorithm.hash.name}`;
}

async function sha256(bytes: ArrayBuffer): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** A report as lines for a person, without a last line feed. */
export function formatReport(report: CertificateReport): string {
  const life = report.daysLeft < 0 ? `EXPIRED ${-report.daysLeft} days ago` : `${report.daysLeft} days left`;
  const rows: [string, string][] = [
    ["Subject", report.subject],
    ["Issuer", report.issuer],
    ["Serial", report.serial],
    ["Names", report.names.join(", ") || "none"],
    ["Authorises", report.authorises.join(", ") || "nothing"],
    ["Valid", `${report.notBefore} to ${report.notAfter} (${life})`],
    ["Authority", report.isAuthority ? "yes" : "no"],
    ["Key", report.keyType],
    ["Key usage", report.keyUsage.join(", ") || "any"],
    ["Purpose", report.extendedKeyUsage.join(", ") || "any"],
    ["Signature", report.signature],
    ["SHA-256", report.fingerprint],
    ["Pin", `sha256/${report.spkiSha256}`],
  ];
  return rows.map(([label, value]) => `${`${label}:`.padEnd(12)}${value}`).join("\n");
}
