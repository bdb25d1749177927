/**
 * A TLS 1.3 end without a socket. `ffi/tls` implements it; the metrics listener and the TCP fallback put sockets to it.
 *
 * ```text
 *   socket ──feed──► [ring] ──► TLS ──read──► plaintext
 *   socket ◄─drain── [ring] ◄── TLS ◄─write── plaintext
 * ```
 * Both rings are bounded: `feed` and `write` say how much they took. Every call is synchronous. After each call that is not
 * `drain`, there may be something to drain: alerts and key updates too.
 */
import type { CertificateSummary, ExpectedName, PeerVerification, TlsIdentity } from "../core/quic/engine.ts";

/** Results of {@linkcode TlsEnd.read} and its like that are not counts. */
export const TlsResult = {
  /** The peer said close_notify: nothing more will come. */
  closed: 0,
  /** Drain, then feed; call again. */
  wants: -1,
  /** Refused or broken: {@linkcode TlsEnd.failure} says why. Drain once more, the alert is in there. */
  failed: -2,
  /** The transport ended without close_notify: what was read may be cut short (RFC 8446 §6.1). */
  truncated: -3,
} as const;

export interface TlsContextOptions {
  readonly side: "server" | "client";
  /** A server needs one. */
  readonly identity: TlsIdentity | null;
  readonly verify: PeerVerification;
  /** Whether a CRL past its next update still counts. */
  readonly toleratesStaleCrl: boolean;
  /** ALPN names in order of preference (RFC 7301); none is allowed. */
  readonly protocols: readonly string[];
}

/** What many ends share; it may be disposed of while they live. */
export interface TlsContext extends Disposable {
  /** A server's end takes null. A client names the IP address or DNS name that it insists on; null only without verification. */
  createEnd(expected: ExpectedName): TlsEnd;
}

export interface TlsEnd extends Disposable {
  /** Takes ciphertext from the transport. Returns how many bytes, fewer than given when the ring is full. */
  feed(bytes: Uint8Array<ArrayBuffer>): number;
  /** The transport gave its last byte. */
  feedEnd(): void;
  /** Fills `into` with ciphertext for the transport. Returns how many bytes, 0 when there are none. */
  drain(into: Uint8Array<ArrayBuffer>): number;
  /** Bytes that {@linkcode drain} would give. */
  pendingBytes(): number;
  /** 1 done, or a {@linkcode TlsResult}. */
  handshake(): number;
  /** Fills `into` with plaintext. Returns how many bytes, or a {@linkcode TlsResult}. */
  read(into: Uint8Array<ArrayBuffer>): number;
  /** Takes plaintext, one record at most. Returns how many bytes, or a {@linkcode TlsResult}. */
  write(bytes: Uint8Array<ArrayBuffer>): number;
  /** Says close_notify; reading goes on. Returns 1, or a {@linkcode TlsResult}. */
  shutdown(): number;

  /** Why the end failed, "" while it has not. */
  failure(): string;
  /** Descriptions of the last alerts (RFC 8446 §6), null for none. */
  alerts(): { readonly sent: number | null; readonly received: number | null };
  /** The peer's verified leaf certificate, or null. */
  peerCertificate(): CertificateSummary | null;
  /** Why the peer's certificate was refused, with what it was; null when it was not, or when none was shown. */
  verifyError(): { readonly reason: string; readonly offered: CertificateSummary | null } | null;
  /** What was negotiated; "" before the handshake's end and for no protocol. */
  description(): { readonly version: string; readonly group: string; readonly cipher: string; readonly protocol: string };
  /** TLS exporter (RFC 8446 §7.5); null before the handshake ends. */
  exportKey(label: string, context: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> | null;
}
