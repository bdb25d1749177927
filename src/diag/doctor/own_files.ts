/**
 * The files of this end: our certificate with its key, or a registration token, and the authorities by which the server is verified.
 * A role refuses to start with what is wrong here; this says it and goes on with what can be read.
 */
import {
  type AgentSettings,
  type ConnectorSettings,
  EXPIRY_WARNING_MS,
  isoTime,
  loadSystemTrust,
  loadToken,
  loadTrust,
  type MaterialReader,
  publicKeyDigest,
  readMaterial,
  type TokenMaterial,
} from "../../config/mod.ts";
import { type LogRecord, PosternError } from "../../base/mod.ts";
import type { CertificateSummary } from "../../core/quic/mod.ts";
import type { Findings } from "./finding.ts";

/** Reads files as a role does, and more of a certificate. */
export interface DoctorReader extends MaterialReader {
  readonly readCertificates: (pem: Uint8Array) => readonly CertificateSummary[];
}

export type DoctorSettings = AgentSettings | ConnectorSettings;

/** What this end has to show and to trust, as far as it could be read. */
export interface OwnFiles {
  readonly identity: { readonly certificateChainPem: Uint8Array; readonly privateKeyPem: Uint8Array } | null;
  /** Our certificate, also when its key does not fit. */
  readonly leaf: CertificateSummary | null;
  readonly token: TokenMaterial | null;
  /** Null when there is none to verify the server by. */
  readonly trustPem: Uint8Array | null;
}

const DAY_MS = 86_400_000;

export async function examineOwnFiles(settings: DoctorSettings, reader: DoctorReader, findings: Findings): Promise<OwnFiles> {
  const { clientCertPath, clientKeyPath, tokenPath, tokenKeyPath } = settings;
  const certificate = clientCertPath === null ? null : await readOwnCertificate(clientCertPath, reader, findings);
  const keyPem = clientKeyPath === null
    ? null
    : await readOwnKey(clientKeyPath, certificate?.leaf ?? null, clientCertPath, reader, findings);
  const token = tokenPath === null || tokenKeyPath === null ? null : await readToken(tokenPath, tokenKeyPath, reader, findings);
  if (clientCertPath === null && tokenPath === null) {
    const mend = "add --client-cert FILE and --client-key FILE, or --token FILE and --token-key FILE";
    findings.warn("certificate", "-", "none: only a server that takes anonymous clients lets this one in", mend);
  }
  const identity = certificate === null || keyPem === null ? null : { certificateChainPem: certificate.pem, privateKeyPem: keyPem };
  return { identity, leaf: certificate?.leaf ?? null, token, trustPem: await readTrust(settings, reader, findings) };
}

async function readOwnCertificate(path: string, reader: DoctorReader, findings: Findings) {
  let pem: Uint8Array, leaf: CertificateSummary | undefined;
  try {
    pem = await readMaterial(path, "Certificate file", reader);
    leaf = certificatesOf(path, pem, reader)[0];
  } catch (error) {
    findings.failed("certificate", path, error);
    return null;
  }
  if (leaf === undefined) return null;
  const mend = "issue it anew (`postern certs init --force` renews a development set), and put it in the place of this file";
  judgeValidity(leaf, reader.nowMs, {
    ok: (message) => findings.ok("certificate", path, `${leaf.subject}, ${message}`),
    warn: (message) => findings.warn("certificate", path, `${leaf.subject}, ${message}`, mend),
    expired: (message) => findings.fail("certificate", path, `${leaf.subject}, ${message}`, mend),
    early: (message) => findings.fail("certificate", path, `${leaf.subject}, ${message}`, SET_CLOCK),
  });
  return { pem, leaf };
}

function certificatesOf(path: string, pem: Uint8Array, reader: DoctorReader): readonly CertificateSummary[] {
  try {
    return reader.readCertificates(pem);
  } catch (cause) {
    throw new PosternError("no certificate can be read in it", {
      code: "material",
      hint: `it must be PEM: postern certs inspect ${path}`,
      cause,
    });
  }
}

/** What mends a clock, where systemd keeps it. */
export const SET_CLOCK = "set the clock of whichever machine is wrong: timedatectl set-ntp true (`date -u` shows it)";

/** Who is told what of a validity. */
interface ValidityWords {
  readonly ok: (message: string) => void;
  readonly warn: (message: string) => void;
  readonly expired: (message: string) => void;
  readonly early: (message: string) => void;
}

/** Says of a certificate whether it holds now, and for how many days. */
export function judgeValidity(
  { notBeforeMs, notAfterMs }: Pick<CertificateSummary, "notBeforeMs" | "notAfterMs">,
  nowMs: number,
  words: ValidityWords,
): void {
  const days = Math.floor(Math.abs(notAfterMs - nowMs) / DAY_MS);
  if (notBeforeMs > nowMs) {
    words.early(`not valid before ${isoTime(notBeforeMs)}: the clock here says ${isoTime(secondsOf(nowMs))}`);
  } else if (notAfterMs <= nowMs) words.expired(`expired on ${isoTime(notAfterMs)}, ${days} days ago`);
  else if (notAfterMs - nowMs < EXPIRY_WARNING_MS) words.warn(`expires on ${isoTime(notAfterMs)}: ${days} days left`);
  else words.ok(`valid until ${isoTime(notAfterMs)}: ${days} days left`);
}

/** For people: without fractions. */
export function secondsOf(ms: number): number {
  return Math.floor(ms / 1_000) * 1_000;
}

async function readOwnKey(
  path: string,
  leaf: CertificateSummary | null,
  certificatePath: string | null,
  reader: DoctorReader,
  findings: Findings,
): Promise<Uint8Array | null> {
  try {
    const pem = await readMaterial(path, "Private key file", reader);
    const digest = publicKeyDigest(path, pem);
    if (leaf !== null && digest !== leaf.spkiSha256) {
      const mend = `postern certs check --cert ${certificatePath ?? "FILE"} --key ${path}`;
      findings.fail("key", path, `does not belong to the certificate ${certificatePath ?? ""}`, mend);
      return null;
    }
    const mode = await reader.fileMode(path);
    if (mode !== null && (mode & 0o077) !== 0) {
      findings.warn("key", path, `others can read it (mode ${(mode & 0o777).toString(8)})`, `chmod 600 ${path}`);
    } else findings.ok("key", path, leaf === null ? "can be read" : "belongs to the certificate");
    return pem;
  } catch (error) {
    findings.failed("key", path, error);
    return null;
  }
}

async function readToken(path: string, keyPath: string, reader: MaterialReader, findings: Findings): Promise<TokenMaterial | null> {
  try {
    const token = await loadToken(path, keyPath, reader);
    findings.ok("token", path, "can be read, with its holder's key");
    return token;
  } catch (error) {
    findings.failed("token", path, error);
    return null;
  }
}

async function readTrust(settings: DoctorSettings, reader: MaterialReader, findings: Findings): Promise<Uint8Array | null> {
  const { verifyPeer, caCertPath } = settings;
  const subject = caCertPath ?? "the system's bundle";
  if (!verifyPeer) {
    findings.warn("authorities", "-", "the server is not verified: whoever is in between can be it", "leave --no-verify-peer out");
    return null;
  }
  const notices: LogRecord[] = [];
  try {
    const pem = caCertPath === null ? await loadSystemTrust(reader, notices) : await loadTrust(caCertPath, reader, notices);
    for (const { level, message } of notices) {
      if (level === "warn") {
        findings.warn("authorities", subject, message, `take what has expired out of the file: postern certs inspect ${subject}`);
      }
    }
    findings.ok("authorities", subject, "can be read");
    return pem;
  } catch (error) {
    findings.failed("authorities", subject, error);
    return null;
  }
}
