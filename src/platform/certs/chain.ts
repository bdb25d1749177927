/**
 * Whether a certificate leads to a trusted authority (RFC 5280 §6), by a library that checks signatures, validity, and that
 * every issuer may sign certificates. Certificates in, one reason or none out.
 */

import { Certificate, CertificateChainValidationEngine } from "pkijs";
import type { X509Certificate } from "./x509.ts";
import { messageOf } from "../../base/mod.ts";

/** Null when `leaf` leads to one of `trusted`, through `intermediates` if need be; otherwise why not. */
export async function chainProblem(
  leaf: X509Certificate,
  intermediates: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  nowMs: number,
): Promise<string | null> {
  const engine = new CertificateChainValidationEngine({
    // The engine takes the last certificate for the one to be verified.
    certs: [...intermediates, leaf].map(toPki),
    trustedCerts: trusted.map(toPki),
    checkDate: new Date(nowMs),
  });
  try {
    const { result, resultMessage } = await engine.verify();
    return result ? null : resultMessage || "no path to a trusted authority";
  } catch (cause) {
    return messageOf(cause);
  }
}

function toPki(certificate: X509Certificate): Certificate {
  return Certificate.fromBER(certificate.rawData);
}
