/** TLS handshakes in the language of security events, the same for every listener that performs them. */
import type { SecurityEventInput } from "./security_event.ts";

/** What an event tells of a certificate. */
export interface EventCertificate {
  readonly subject: string;
  readonly commonName: string | null;
  readonly issuer: string;
  readonly serial: string;
  readonly notAfterMs: number;
}

export interface TlsConnectionFacts {
  readonly remote: string;
  readonly cipher: string;
  readonly serverName: string;
  readonly protocol: string;
  /** The verified leaf; null where none was shown. */
  readonly certificate: EventCertificate | null;
  /** How many the peer presented. */
  readonly certificates: number;
}

export interface TlsFailure {
  readonly remote: string;
  /** In the words of the library. */
  readonly reason: string;
  /** The peer came with a version below TLS 1.3. */
  readonly isOldVersion: boolean;
  /** What the peer showed, though it was refused. */
  readonly offered: EventCertificate | null;
}

/** A handshake that was completed. Tickets are never issued, so nothing is ever resumed. */
export function tlsConnectionEvent(facts: TlsConnectionFacts): SecurityEventInput {
  const { certificate } = facts;
  return {
    event_type: "tls_connection",
    details: {
      server_name: facts.serverName,
      resumed: false,
      negotiated_protocol: facts.protocol,
      peer_certificates: facts.certificates,
      verified_chains: certificate === null ? 0 : 1,
    },
    remote_addr: facts.remote,
    tls_version: "TLS 1.3",
    cipher_suite: facts.cipher,
    peer_cert_info: describePeer(certificate),
  };
}

/** A handshake that failed: what is special about it first, then the failure itself. */
export function tlsFailureEvents(failure: TlsFailure): SecurityEventInput[] {
  const { reason, offered, remote } = failure;
  const peer = offered === null ? {} : { peer_cert_info: describePeer(offered) };
  const events: SecurityEventInput[] = [];
  const special = failure.isOldVersion ? oldVersion() : certificateEvent(reason, offered);
  if (special !== null) events.push({ ...special, remote_addr: remote, ...peer });
  events.push({ event_type: "handshake_failure", details: { error: reason }, remote_addr: remote, ...peer });
  return events;
}

function oldVersion(): SecurityEventInput {
  return { event_type: "weak_protocol", details: { version_code: "below TLS 1.3" } };
}

/** How the library's words begin (postern_native.h), and behind them which certificate of the chain: 0 is the leaf. */
const EXPIRED = "certificate expired";
const REVOKED = "certificate revoked";
const WHICH = /\(certificate (\d+)(?:: (.*))?\)$/;

function certificateEvent(reason: string, offered: EventCertificate | null): SecurityEventInput | null {
  const isExpired = reason.startsWith(EXPIRED);
  if (offered === null || (!isExpired && !reason.startsWith(REVOKED))) return null;
  const [, depth = "0", subject = ""] = WHICH.exec(reason) ?? [];
  // Of an authority above the leaf only the name is known here.
  const named = depth === "0"
    ? { subject: offered.subject, issuer: offered.issuer, serial: offered.serial }
    : { subject, issuer: null, serial: null };
  if (!isExpired) return { event_type: "certificate_revoked", details: named };
  return {
    event_type: "certificate_expired",
    details: { ...named, not_after: depth === "0" ? isoTime(offered.notAfterMs) : null },
  };
}

function describePeer(certificate: EventCertificate | null): string {
  if (certificate === null) return "";
  return `CN=${certificate.commonName ?? ""}, Issuer=${certificate.issuer}, Expiry=${isoTime(certificate.notAfterMs)}`;
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
