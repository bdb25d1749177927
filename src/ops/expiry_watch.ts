/** Looks once an hour at the certificates and revocation lists in use, and says once a day what ends soon or has ended. */
import type { CertificateStatus, LogSink, RevocationListStatus, SecurityEventInput } from "../base/mod.ts";
import { EXPIRY_WARNING_DAYS } from "./watch/mod.ts";

const LOOK_MS = 3_600_000;
const DAY_MS = 86_400_000;

export interface ExpiryWatchOptions {
  readonly certificates: () => readonly CertificateStatus[];
  readonly revocationLists: () => readonly RevocationListStatus[];
  readonly log: LogSink;
  readonly record: (event: SecurityEventInput) => void;
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
}

/** Looks now and then every hour. Returns what ends it, and what looks at once. */
export function watchExpiry(options: ExpiryWatchOptions): { look(): void; close(): void } {
  /** What was said about which certificate, and when. */
  const said = new Map<string, number>();
  const once = (key: string, say: () => void) => {
    const nowMs = options.nowMs();
    for (const [known, atMs] of said) if (nowMs - atMs >= DAY_MS) said.delete(known);
    if (said.has(key)) return;
    said.set(key, nowMs);
    say();
  };
  const look = () => {
    const nowMs = options.nowMs();
    for (const certificate of options.certificates()) {
      const leftMs = certificate.notAfterMs - nowMs;
      const key = `${certificate.purpose} ${certificate.serial}`;
      if (leftMs < EXPIRY_WARNING_DAYS * DAY_MS) once(key, () => tellCertificate(options, certificate, leftMs));
      if (certificate.isSelfSigned && !certificate.purpose.endsWith("ca")) {
        once(
          `self ${key}`,
          () => tell(options, `The ${certificate.purpose} certificate is self-signed: not for production`, certificate.path),
        );
      }
    }
    for (const list of options.revocationLists()) {
      if (list.nextUpdateMs - nowMs < DAY_MS) once(`crl ${list.issuer}`, () => tellList(options, list));
    }
  };
  look();
  const timer = setInterval(look, LOOK_MS);
  Deno.unrefTimer(timer);
  return { look, close: () => clearInterval(timer) };
}

function tellCertificate(options: ExpiryWatchOptions, certificate: CertificateStatus, leftMs: number): void {
  const end = new Date(certificate.notAfterMs).toISOString();
  const days = Math.floor(leftMs / DAY_MS);
  const { subject, issuer, serial, purpose } = certificate;
  tell(options, `The ${purpose} certificate ${leftMs <= 0 ? "ended" : "ends"} on ${end} (${days} days left)`, certificate.path);
  options.record({
    event_type: leftMs <= 0 ? "certificate_expired" : "certificate_expiring",
    details: { purpose, subject, issuer, serial, not_after: end },
  });
}

function tellList(options: ExpiryWatchOptions, list: RevocationListStatus): void {
  const end = new Date(list.nextUpdateMs).toISOString();
  tell(
    options,
    `The revocation list of ${list.issuer} must be renewed by ${end}; after that its certificates are refused`,
    list.path,
  );
  options.record({ event_type: "crl_expiring", details: { issuer: list.issuer, next_update: end } });
}

function tell(options: ExpiryWatchOptions, message: string, path: string): void {
  options.log({ level: "warn", event: "certificate-expiring", message, fields: { path } });
}
