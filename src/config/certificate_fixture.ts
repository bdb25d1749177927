/**
 * Reads certificates for tests that run beside others in one process; the tests of the built binary do the same with the native
 * library's reader. PEM in, facts out, leaf first.
 */

import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createHash } from "node:crypto";

/** Throws when there is none or one is damaged, as the native reader does. */
export function readCertificatesForTest(pem: Uint8Array) {
  const blocks = new TextDecoder().decode(pem).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (blocks === null) throw new Error("the text holds no CERTIFICATE block");
  return blocks.map((block) => {
    const certificate = new x509.X509Certificate(block);
    return {
      commonName: certificate.subjectName.getField("CN").at(-1) ?? null,
      subject: certificate.subject,
      issuer: certificate.issuer,
      serial: certificate.serialNumber,
      dnsNames: [],
      uris: [],
      ipAddresses: [],
      notBeforeMs: certificate.notBefore.getTime(),
      notAfterMs: certificate.notAfter.getTime(),
      fingerprint: createHash("sha256").update(new Uint8Array(certificate.rawData)).digest("hex"),
      spkiSha256: createHash("sha256").update(new Uint8Array(certificate.publicKey.rawData)).digest("base64"),
      isSelfSigned: certificate.subject === certificate.issuer,
    };
  });
}
