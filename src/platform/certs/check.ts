/**
 * Whether a certificate, its key and its authorities fit together and hold today: the answer that a TLS handshake would give,
 * before there is one. PEM bytes in, a list of findings out.
 */

import { chainProblem } from "./chain.ts";
import { parseCertificates } from "./inspect.ts";
import type { X509Certificate } from "./x509.ts";

/** A PEM file that was read. */
export interface LoadedPem {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface CheckOptions {
  readonly cert: LoadedPem;
  readonly key: LoadedPem;
  /** Absent: the chain is not checked. */
  readonly ca?: LoadedPem;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** SHA-256 of the public key of a private key's PEM text, base64. Throws when it cannot be read. */
  readonly keyDigest: (path: string, pem: Uint8Array) => string;
}

export interface Finding {
  readonly check: "pair" | "validity" | "chain" | "authority-validity";
  readonly isOk: boolean;
  readonly detail: string;
}

const DAY_MS = 86_400_000;

/** All findings, good and bad. Throws with exit code 1 when a file cannot be parsed at all. */
export async function checkCertificate(options: CheckOptions): Promise<Finding[]> {
  const { cert, ca, nowMs } = options;
  const [leaf, ...intermediates] = parseCertificates(cert.path, cert.bytes);
  if (leaf === undefined) return [];
  const findings = [await checkPair(leaf, options), checkValidity("validity", cert.path, leaf, nowMs)];
  if (ca === undefined) return findings;
  const trusted = parseCertificates(ca.path, ca.bytes);
  for (const authority of trusted) {
    const finding = checkValidity("authority-validity", `${ca.path} (${authority.subject})`, authority, nowMs);
    if (!finding.isOk) findings.push(finding);
  }
  const problem = await chainProblem(leaf, intermediates, trusted, nowMs);
  findings.push({
    check: "chain",
    isOk: problem === null,
    detail: problem === null
      ? `${cert.path} was signed by an authority in ${ca.path}`
      : `${cert.path} does not lead to ${ca.path}: ${problem}`,
  });
  return findings;
}

async function checkPair(leaf: X509Certificate, { cert, key, keyDigest }: CheckOptions): Promise<Finding> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", leaf.publicKey.rawData));
  const isOk = keyDigest(key.path, key.bytes) === btoa(String.fromCharCode(...digest));
  return {
    check: "pair",
    isOk,
    detail: isOk ? `${key.path} is the key of ${cert.path}` : `Private key ${key.path} does not belong to certificate ${cert.path}`,
  };
}

function checkValidity(check: Finding["check"], path: string, certificate: X509Certificate, nowMs: number): Finding {
  const { notBefore, notAfter } = certificate;
  if (notAfter.getTime() <= nowMs) return { check, isOk: false, detail: `${path} expired on ${notAfter.toISOString()}` };
  if (notBefore.getTime() > nowMs) return { check, isOk: false, detail: `${path} is not valid before ${notBefore.toISOString()}` };
  const days = Math.floor((notAfter.getTime() - nowMs) / DAY_MS);
  return { check, isOk: true, detail: `${path} is valid until ${notAfter.toISOString()} (${days} days left)` };
}
