/**
 * Loads the certificates, keys and authorities that the settings name, and says in words what is wrong with them before
 * anything is bound or sent. Paths in, PEM bytes out. What a certificate says is read by the reader that the caller gives: the
 * same library that verifies peers. Not here: the TLS configuration that is made from the bytes.
 */

import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import type { AgentSettings } from "./agent.ts";
import type { ConnectorSettings } from "./connector.ts";
import type { ServerSettings } from "./server.ts";
import { isLoopback } from "./value.ts";
import type { P2pSettings } from "./p2p.ts";
import { type AddressKeys, loadAddressKeys } from "./address_keys.ts";
import {
  type CertificateFacts,
  damaged,
  expiredError,
  isoTime,
  type MaterialReader,
  readMaterial,
  readPem,
  warning,
} from "./material_file.ts";
import { loadSystemTrust, loadTrust } from "./trust.ts";
import { loadToken, loadTokenIssuers, type TokenMaterial } from "./token_material.ts";
import { loadRevocation, type RevocationMaterial } from "./revocation.ts";
import { type LogRecord, messageOf, PosternError, usageError } from "../base/mod.ts";

/** A certificate with its chain and its private key, which fit together. */
export interface Identity {
  readonly certificateChainPem: Uint8Array;
  readonly privateKeyPem: Uint8Array;
}

/** What a role is started with beside its settings. */
export interface RoleMaterial {
  /** Null for a client without a certificate. */
  readonly identity: Identity | null;
  /** The only authorities that are trusted; null while verification is off. */
  readonly trustPem: Uint8Array | null;
  /** Null for a client. */
  readonly server: ServerMaterial | null;
  /** A client's registration token; null without one. */
  readonly token: TokenMaterial | null;
  /** What a connector shows to agents that dial it directly, and whom it trusts then. Absent: it takes none. */
  readonly p2p?: P2pMaterial;
  /** What the operator should know about it, for the log. */
  readonly notices: readonly LogRecord[];
}

export interface P2pMaterial {
  readonly identity: Identity;
  readonly trustPem: Uint8Array;
  readonly revocation: RevocationMaterial;
}

/** What only a server has. */
export interface ServerMaterial {
  readonly revocation: RevocationMaterial;
  /** Null: random ones for each process. */
  readonly addressKeys: AddressKeys | null;
  /** SubjectPublicKeyInfo (DER) of those who may issue registration tokens. */
  readonly tokenIssuers: readonly Uint8Array[];
}

/** A certificate that ends sooner than this is worth a warning. */
export const EXPIRY_WARNING_MS = 14 * 86_400_000;

/** Loads what a server needs. Rejects with exit code 1 when a file is wrong, 2 when an authority is missing in the settings. */
export async function loadServerMaterial(settings: ServerSettings, reader: MaterialReader): Promise<RoleMaterial> {
  const notices: LogRecord[] = [];
  const identity = await loadIdentity(settings.certPath, settings.keyPath, reader, notices);
  requireServerTrust(settings);
  const trustPem = settings.verifyPeer && settings.caCertPath !== null
    ? await loadTrust(settings.caCertPath, reader, notices)
    : null;
  const revocation = await loadRevocation({ ...settings, maxStaleFlag: "--crl-max-stale" }, reader, notices);
  const addressKeys = settings.retryKeyPath === null ? null : await loadAddressKeys(settings.retryKeyPath, reader, notices);
  notices.push(...clientPolicyNotices(settings));
  const tokenIssuers = await loadTokenIssuers(settings.tokenKeyPaths, reader);
  return { identity, trustPem, server: { revocation, addressKeys, tokenIssuers }, token: null, notices };
}

/** Throws a usage error when a server would verify clients and was told no authority. Asked last, so that a missing file is told first. */
export function requireServerTrust(settings: ServerSettings): void {
  if (settings.caCertPath !== null || !settings.verifyPeer) return;
  throw usageError(
    "the server does not know whose client certificates to trust: --ca-cert is missing",
    "add --ca-cert FILE; `postern certs init` makes an authority for development",
  );
}

/** Loads what a connector or an agent needs. Rejects with exit code 1 when a file is wrong. */
export async function loadClientMaterial(
  settings: ConnectorSettings | AgentSettings,
  reader: MaterialReader,
): Promise<RoleMaterial> {
  const notices: LogRecord[] = [];
  const { clientCertPath, clientKeyPath } = settings;
  const identity = clientCertPath === null || clientKeyPath === null
    ? null
    : await loadIdentity(clientCertPath, clientKeyPath, reader, notices);
  const { tokenPath, tokenKeyPath } = settings;
  const token = tokenPath === null || tokenKeyPath === null ? null : await loadToken(tokenPath, tokenKeyPath, reader);
  if (identity === null && token === null) {
    notices.push(warning("No client certificate: only a server that takes anonymous clients will let this one in", "client_cert"));
  }
  for (const { address, port } of settings.role === "agent" ? settings.forwards : []) {
    if (isLoopback(address)) continue;
    notices.push(
      warning(`The forward on ${address} port ${port} serves whoever reaches it, under this agent's identity`, "forward"),
    );
  }
  const p2p = settings.role === "connector" && settings.p2p !== null
    ? { p2p: await loadP2p(settings.p2p, settings.caCertPath, reader, notices) }
    : {};
  if (!settings.verifyPeer) {
    notices.push({
      level: "warn",
      event: "verification-disabled",
      message: "TLS peer verification DISABLED — do not use in production",
      fields: {},
    });
    return { identity, trustPem: null, server: null, token, ...p2p, notices };
  }
  const trustPem = settings.caCertPath === null
    ? await loadSystemTrust(reader, notices)
    : await loadTrust(settings.caCertPath, reader, notices);
  return { identity, trustPem, server: null, token, ...p2p, notices };
}

async function loadP2p(
  { certPath, keyPath, caCertPath, crlPaths, crlMaxStaleMs }: P2pSettings,
  uplinkCaPath: string | null,
  reader: MaterialReader,
  notices: LogRecord[],
): Promise<P2pMaterial> {
  const identity = await loadIdentity(certPath, keyPath, reader, notices, P2P_FILES);
  const trustPath = caCertPath ?? uplinkCaPath;
  if (trustPath === null) throw usageError("direct connections trust nobody: --p2p-ca-cert is missing", "add --p2p-ca-cert FILE");
  const trustPem = await loadTrust(trustPath, reader, notices);
  const lists = { crlPaths, crlMaxStaleMs, maxStaleFlag: "--p2p-crl-max-stale", denyListPath: null };
  return { identity, trustPem, revocation: await loadRevocation(lists, reader, notices) };
}

/** What the two files of an identity are called when one cannot be read. */
const OWN_FILES = { cert: "Certificate file", key: "Private key file" };
const P2P_FILES = { cert: "P2P certificate file", key: "P2P private key file" };

async function loadIdentity(
  certPath: string,
  keyPath: string,
  reader: MaterialReader,
  notices: LogRecord[],
  names = OWN_FILES,
): Promise<Identity> {
  const certificateChainPem = await readMaterial(certPath, names.cert, reader);
  const privateKeyPem = await readMaterial(keyPath, names.key, reader);
  const leaf = readPem(certPath, certificateChainPem, reader)[0];
  if (leaf === undefined) throw damaged(`No certificate in ${certPath}`, "it must have a PEM block -----BEGIN CERTIFICATE-----");
  checkValidity(certPath, leaf, reader.nowMs, notices);
  const spkiSha256 = publicKeyDigest(keyPath, privateKeyPem);
  if (spkiSha256 !== leaf.spkiSha256) {
    throw damaged(
      `Private key ${keyPath} does not belong to certificate ${certPath}`,
      "`postern certs check` shows which fits which",
    );
  }
  const mode = await reader.fileMode(keyPath);
  if (mode !== null && (mode & 0o077) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, "0");
    notices.push(warning(`Private key ${keyPath} can be read by others (mode ${octal}): chmod 600 it`, keyPath));
  }
  return { certificateChainPem, privateKeyPem };
}

function checkValidity(path: string, leaf: CertificateFacts, nowMs: number, notices: LogRecord[]): void {
  if (leaf.notAfterMs <= nowMs) throw expiredError(path, leaf.notAfterMs, "Certificate");
  if (leaf.notBeforeMs > nowMs) {
    throw new PosternError(`Certificate is not valid before ${isoTime(leaf.notBeforeMs)}: ${path}`, {
      code: "certificate-not-yet-valid",
      hint: `the clock says ${isoTime(nowMs)}: set it right, or wait`,
    });
  }
  if (leaf.notAfterMs - nowMs < EXPIRY_WARNING_MS) {
    notices.push(warning(`Certificate ${path} expires on ${isoTime(leaf.notAfterMs)}`, path));
  }
}

/** SHA-256 of the public key (SubjectPublicKeyInfo) that belongs to the private key of a PEM text, base64. */
export function publicKeyDigest(path: string, pem: Uint8Array): string {
  const text = new TextDecoder().decode(pem);
  // Other blocks may stand before the key (EC PARAMETERS, certificates); the key's own block is all that counts.
  // Headers of an encrypted one have hyphens (RFC 1421), the key itself has none.
  const block = /-----BEGIN ([A-Z0-9 ]*)PRIVATE[ ]KEY-----(?:[^-]|-(?!----))+-----END \1PRIVATE[ ]KEY-----/.exec(text)?.[0];
  if (block === undefined) throw damaged(`No private key in ${path}`, "it must be an EC, RSA or Ed25519 key as PEM");
  if (block.includes("ENCRYPTED")) {
    throw damaged(`Private key ${path} is encrypted`, "store it without a passphrase, mode 0600: openssl pkey -in FILE -out NEW");
  }
  try {
    const publicKey = createPublicKey(createPrivateKey(block).export({ type: "pkcs8", format: "pem" }));
    return createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64");
  } catch (cause) {
    throw damaged(
      `Private key cannot be parsed: ${path}: ${messageOf(cause)}`,
      "EC, RSA and Ed25519 keys in PEM are understood",
      cause,
    );
  }
}

/** What the settings mean for who may connect. */
function clientPolicyNotices(settings: ServerSettings): LogRecord[] {
  const notices: LogRecord[] = [{
    level: "info",
    event: "settings-applied",
    message: `Require client cert: ${settings.requireClientCert}`,
    fields: { require_client_cert: settings.requireClientCert },
  }, {
    level: "info",
    event: "settings-applied",
    message: `Stateless retry: ${settings.retry}`,
    fields: { retry: settings.retry },
  }];
  if (settings.requireClientCert) {
    notices.push({
      level: "info",
      event: "settings-applied",
      message: "mTLS client authentication ENABLED — connections without valid client certs will be rejected",
      fields: {},
    });
  } else {
    const grants = settings.allowAnonymous.map(({ role, service }) => `${role}:${service}`).join(", ");
    notices.push(warning(
      `Client certificates are NOT required — a client without one may register ${
        grants === "" ? "nothing" : grants
      }; for migration only`,
      "require_client_cert",
    ));
  }
  if (!settings.verifyPeer) {
    notices.push({
      level: "warn",
      event: "verification-disabled",
      message: "TLS peer verification DISABLED — do not use in production",
      fields: {},
    });
  }
  if (settings.allowLegacyCerts) {
    notices.push(
      warning("Certificates without a ZTNA name may register for every service (--allow-legacy-certs)", "allow_legacy_certs"),
    );
  }
  return notices;
}
