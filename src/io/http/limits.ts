/** What one connection may ask for. All of it is our choice; RFC 9112 sets no bounds. */

export interface HttpLimits {
  /** Request line and header fields with their line ends. */
  readonly headBytesMax: number;
  readonly headerCountMax: number;
  readonly bodyBytesMax: number;
  /** Requests that were sent before an earlier one was answered. */
  readonly pipelineMax: number;
  /** From the first byte of a head to the end of its body. */
  readonly requestMs: number;
  /** Between an answer and the next request. */
  readonly idleMs: number;
  /** For the peer to take an answer, or one piece of a streamed answer. */
  readonly writeMs: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  headBytesMax: 8_192,
  headerCountMax: 64,
  bodyBytesMax: 65_536,
  pipelineMax: 8,
  requestMs: 30_000,
  idleMs: 60_000,
  writeMs: 30_000,
};

/** After a refusal: how much unread input is thrown away, and for how long, so that the refusal reaches a client that still sends. */
export const LINGER_BYTES_MAX = 262_144;
export const LINGER_MS = 1_000;
