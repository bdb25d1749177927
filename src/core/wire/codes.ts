/**
 * The names and numbers of the protocol that belong to no single message: ALPN, close and abort codes, times and sizes that
 * both ends must agree on (WIRE 2, 7, 9). What a role chooses for itself stands in that role's `limits.ts`.
 */

/** ALPN names, WIRE 2.2. */
export const ALPN_V2 = "ztna-v2";
export const ALPN_V1 = "ztna-v1";
/** What our clients offer, best first. */
export const CLIENT_PROTOCOLS: readonly string[] = [ALPN_V2, ALPN_V1];

/** Application codes of CONNECTION_CLOSE, WIRE 2.8. */
export const CloseCode = {
  shuttingDown: 0x00,
  certificateMissing: 0x101,
  certificateVoid: 0x102,
  replaced: 0x103,
  limits: 0x104,
  protocolError: 0x105,
} as const;
export type CloseCode = typeof CloseCode[keyof typeof CloseCode];

/** The transport code, with its reasons, by which ztna-v1 refuses a client without a usable certificate, WIRE 2.9. */
export const V1_REFUSAL_TRANSPORT_CODE = 0x01;
export const V1_REFUSAL_REASON = { missing: "client cert required", unusable: "invalid client cert" } as const;

/** Application codes of RESET_STREAM and STOP_SENDING, WIRE 7.7. */
export const AbortCode = {
  none: 0x00,
  aborted: 0x10,
  malformed: 0x11,
  shuttingDown: 0x12,
  idle: 0x13,
  peerLost: 0x14,
} as const;
export type AbortCode = typeof AbortCode[keyof typeof AbortCode];

/** A stream's header is complete within this time of the stream's opening, or the stream is aborted. WIRE 7.8. */
export const STREAM_HEADER_TIMEOUT_MS = 10_000;
/** A client without a certificate has proven a registration token within this time, or is closed. WIRE 8.4. */
export const PROOF_TIMEOUT_MS = 5_000;
/** Registration: this long for an answer, this many sends. WIRE 4.5. */
export const REGISTRATION_TIMEOUT_MS = 2_000;
export const REGISTRATION_SENDS_MAX = 3;
/** Clients send a PING this often, WIRE 2.6. */
export const KEEPALIVE_INTERVAL_MS = 10_000;
/** max_idle_timeout of every connection, WIRE 2.4. */
export const IDLE_TIMEOUT_MS = 30_000;
