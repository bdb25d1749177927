/**
 * The handshake of the memory engine: three messages in the order of TLS 1.3, so that a client is established before the server
 * has seen its certificate, and certificates that are what they say, verified by simple rules.
 *
 *   client   hello ──►                              protocols, limits
 *   server            ◄── hello, certificate        the protocol, limits
 *   client   certificate, finished ──►              the client is established here,
 *   server                                          the server here, or it refuses
 */
import type { CertificateSummary, ExpectedName, PeerVerification } from "../../src/core/quic/mod.ts";
import type { StreamLimits } from "./memory_stream_table_fixture.ts";

/** A certificate in memory; its text stands where PEM would. */
export interface SimCertificate {
  /** Who signed it: the text that must stand in the trust. */
  readonly authority: string;
  readonly summary: CertificateSummary;
}

export interface SimCertificateOptions {
  readonly commonName: string;
  readonly authority?: string;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
}

const YEAR_MS = 365 * 86_400_000;

export const SIM_AUTHORITY = "simulated authority";

/** The text of a certificate, for the place of its PEM. */
export function simCertificatePem(options: SimCertificateOptions): Uint8Array<ArrayBuffer> {
  const authority = options.authority ?? SIM_AUTHORITY;
  const fingerprint = [...options.commonName].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 7);
  const hex = (fingerprint >>> 0).toString(16).padStart(8, "0");
  const certificate: SimCertificate = {
    authority,
    summary: {
      commonName: options.commonName,
      subject: `CN=${options.commonName}`,
      issuer: `CN=${authority}`,
      serial: hex,
      dnsNames: options.dnsNames ?? [],
      uris: [],
      ipAddresses: options.ipAddresses ?? [],
      notBeforeMs: options.notBeforeMs ?? 0,
      notAfterMs: options.notAfterMs ?? 100 * YEAR_MS,
      fingerprint: hex.repeat(8),
      spkiSha256: hex,
      isSelfSigned: false,
    },
  };
  return encode(certificate);
}

/** The text of trust in one authority. */
export function simTrustPem(authority = SIM_AUTHORITY): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(authority);
}

/** What both ends say about themselves in their hello. */
export interface TransportHello {
  readonly idleTimeoutMs: number;
  readonly packetBytesMax: number;
  readonly streams: StreamLimits;
  readonly idsMax: number;
  /** Of the server's first ID. */
  readonly resetToken: readonly number[] | null;
}

export type HandshakeMessage =
  | {
    readonly kind: "client-hello";
    readonly random: number;
    readonly protocols: readonly string[];
    readonly transport: TransportHello;
  }
  | {
    readonly kind: "server-hello";
    readonly random: number;
    readonly protocol: string;
    readonly transport: TransportHello;
    readonly certificate: SimCertificate | null;
  }
  | { readonly kind: "client-finished"; readonly certificate: SimCertificate | null };

/** Alerts as transport errors, 0x100 + alert (RFC 9001 §4.8). */
export const Alert = {
  badCertificate: 0x12a,
  expired: 0x12d,
  unknownAuthority: 0x130,
  required: 0x174,
  noProtocol: 0x178,
} as const;

export interface Verdict {
  /** The certificate that counts, null for none. */
  readonly verified: CertificateSummary | null;
  readonly failure: { readonly reason: string; readonly alert: number; readonly offered: CertificateSummary | null } | null;
}

/** Verifies the peer's certificate. `expected` null: the name is not looked at. */
export function verifyPeer(
  certificate: SimCertificate | null,
  verify: PeerVerification,
  expected: ExpectedName,
  wallMs: number,
): Verdict {
  const fail = (reason: string, alert: number): Verdict => ({
    verified: null,
    failure: { reason, alert, offered: certificate?.summary ?? null },
  });
  if (verify.kind === "off") return { verified: null, failure: null };
  if (certificate === null) {
    return verify.kind === "if-given" ? { verified: null, failure: null } : fail("no certificate was shown", Alert.required);
  }
  const trusted = new TextDecoder().decode(verify.trustPem).split("\n");
  if (!trusted.includes(certificate.authority)) return fail("unable to get local issuer certificate", Alert.unknownAuthority);
  const { notBeforeMs, notAfterMs, dnsNames, ipAddresses } = certificate.summary;
  if (wallMs < notBeforeMs || wallMs > notAfterMs) return fail("certificate expired", Alert.expired);
  if (expected !== null && !dnsNames.includes(expected) && !ipAddresses.includes(expected)) {
    return fail("Hostname mismatch", Alert.badCertificate);
  }
  return { verified: certificate.summary, failure: null };
}

/** One line for each message. */
export function encodeMessage(message: HandshakeMessage): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(message) + "\n");
}

/** Collects bytes into messages. */
export class MessageReader {
  #text = "";

  take(bytes: Uint8Array): HandshakeMessage[] {
    this.#text += new TextDecoder().decode(bytes);
    const lines = this.#text.split("\n");
    this.#text = lines.pop() ?? "";
    return lines.map((line) => JSON.parse(line) as HandshakeMessage);
  }
}

/** The certificate whose text stands in `pem`. */
export function decodeCertificate(pem: Uint8Array | null): SimCertificate | null {
  return pem === null ? null : JSON.parse(new TextDecoder().decode(pem)) as SimCertificate;
}

function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}
