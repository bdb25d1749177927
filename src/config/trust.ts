/**
 * Whose certificates are trusted: the file of --ca-cert, or a client's system bundle. A path in, PEM out; a file that can verify
 * nobody is refused, because otherwise every peer would be, later and with words about the peer.
 */
import { X509Certificate } from "node:crypto";
import { type LogRecord, PosternError } from "../base/mod.ts";
import { damaged, expiredError, type MaterialReader, readMaterial, readPem, warning } from "./material_file.ts";

/** Where operating systems keep their bundle of authorities: Debian and Alpine, Fedora, openSUSE, RHEL, BSD. */
export const SYSTEM_BUNDLES: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** The authorities of a file. Rejects with exit code 1 when none of them can have signed anything that is valid now. */
export async function loadTrust(path: string, reader: MaterialReader, notices: LogRecord[]): Promise<Uint8Array> {
  const pem = await readMaterial(path, "CA certificate file", reader);
  const authorities = readPem(path, pem, reader);
  if (authorities.length === 0) {
    throw damaged(`No CA certificate in ${path}`, "it must have a PEM block -----BEGIN CERTIFICATE-----");
  }
  const expired = authorities.filter((authority) => authority.notAfterMs <= reader.nowMs);
  if (expired.length === authorities.length) throw expiredError(path, expired[0]?.notAfterMs ?? 0, "CA certificate");
  if (!pemBlocks(pem).some(canBeTrusted)) {
    throw damaged(
      `No authority in ${path}: ${authorities[0]?.subject ?? ""} may not sign certificates`,
      "name the certificate of the authority (CA:TRUE) that signed those of the peers; `postern certs inspect` shows what is in it",
    );
  }
  const [first] = expired;
  if (first !== undefined) {
    const all =
      `${expired.length} of the ${authorities.length} CA certificates in ${path} have expired, ${first.subject} among them`;
    notices.push(warning(expired.length === 1 ? `CA certificate ${first.subject} in ${path} has expired` : all, path));
  }
  notices.push({ level: "info", event: "trust-loaded", message: `Loaded CA certificate from ${path}`, fields: { path } });
  return pem;
}

/** The first bundle that this system has. */
export async function loadSystemTrust(reader: MaterialReader, notices: LogRecord[]): Promise<Uint8Array> {
  for (const path of SYSTEM_BUNDLES) {
    const pem = await reader.readFile(path).catch(() => null);
    if (pem === null || pem.length === 0) continue;
    notices.push({
      level: "info",
      event: "trust-loaded",
      message: `verify_peer enabled, using system CA store for Intermediate connection (${path})`,
      fields: { path },
    });
    return pem;
  }
  throw new PosternError("This system has no bundle of CA certificates to verify the server with", {
    code: "trust-missing",
    hint: "add --ca-cert FILE with the authority that signed the server's certificate",
  });
}

/** A certificate that signed itself can at least vouch for itself. */
function canBeTrusted(pem: string): boolean {
  const certificate = new X509Certificate(pem);
  return certificate.ca || certificate.subject === certificate.issuer;
}

function pemBlocks(pem: Uint8Array): string[] {
  return new TextDecoder().decode(pem).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}
