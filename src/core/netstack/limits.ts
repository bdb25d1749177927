/**
 * Every bound of the network stack. The owner may pass others; nothing in this folder is unbounded. Times are milliseconds on
 * the owner's clock; `Infinity` turns a time-out off.
 */

export interface NetStackLimits {
  /** TCP sessions at one time, those in TIME-WAIT not counted. */
  readonly sessionsMax: number;
  /** Of these, sessions of one agent (or of one inner source, where the path names no agent). */
  readonly sessionsPerAgentMax: number;
  /** New TCP sessions of one (agent, source address) within one second. */
  readonly synPerSourcePerSecondMax: number;
  /** Closed sessions that still answer a repeated FIN; the oldest goes first. */
  readonly timeWaitMax: number;
  readonly timeWaitMs: number;
  /** Agents and sources that are counted at one time; a new one beyond that is refused. */
  readonly accountsMax: number;
  readonly udpFlowsMax: number;
  /** UDP flows of one agent; its longest idle one makes room. */
  readonly udpFlowsPerAgentMax: number;
  readonly udpFlowIdleMs: number;

  /** What a session may hold for the peer until it is acknowledged. Rounded up to a power of two. */
  readonly sendBufferMaxBytes: number;
  /** What a session may hold for an owner that takes nothing, and the largest window. Rounded up to a power of two. */
  readonly receiveBufferMaxBytes: number;
  /** All buffers of all sessions together. A smallest buffer is granted beyond that, so that every session moves. */
  readonly buffersTotalMaxBytes: number;
  /** Gaps in the received data of a session; a segment that would open one more is dropped. */
  readonly reassemblyRangesMax: number;
  /** Answers that belong to no session (RST, ICMP), waiting on one path. */
  readonly controlQueueMax: number;
  /** ICMP errors that we send in one second (RFC 4443 §2.4 f). */
  readonly icmpErrorsPerSecondMax: number;
  /** Challenge ACKs of one session in one second (RFC 5961 §7), also answers to segments outside the window. */
  readonly challengeAcksPerSecondMax: number;

  /** From a SYN to the owner's word about it. */
  readonly pendingMs: number;
  /** From our SYN or SYN-ACK to the peer's answer. */
  readonly handshakeMs: number;
  readonly delayedAckMs: number;
  readonly rtoInitialMs: number;
  readonly rtoMinMs: number;
  readonly rtoMaxMs: number;
  /** R2 of RFC 9293 §3.8.3: data that stays unacknowledged for so long ends the session. */
  readonly userTimeoutMs: number;
  /** Without any data in either direction a session is reset after this time. */
  readonly idleMs: number;
  /**
   * After the peer's FIN, with nothing left to send: how long the owner may be silent before we send ours, or RST when it had
   * begun to answer and has not ended.
   */
  readonly drainMs: number;
  /** Silence after which a keepalive is sent (RFC 9293 §3.8.4), and from one unanswered keepalive to the next. */
  readonly keepaliveMs: number;
  readonly keepaliveIntervalMs: number;
  readonly keepaliveProbesMax: number;
}

export const NETSTACK_LIMITS: NetStackLimits = {
  sessionsMax: 1024,
  sessionsPerAgentMax: 256,
  synPerSourcePerSecondMax: 10,
  timeWaitMax: 1024,
  timeWaitMs: 10_000,
  accountsMax: 4096,
  udpFlowsMax: 4096,
  udpFlowsPerAgentMax: 1024,
  udpFlowIdleMs: 60_000,
  sendBufferMaxBytes: 2 * 1024 * 1024,
  receiveBufferMaxBytes: 2 * 1024 * 1024,
  buffersTotalMaxBytes: 64 * 1024 * 1024,
  reassemblyRangesMax: 256,
  controlQueueMax: 64,
  icmpErrorsPerSecondMax: 100,
  challengeAcksPerSecondMax: 10,
  pendingMs: 5_000,
  handshakeMs: 30_000,
  delayedAckMs: 40,
  rtoInitialMs: 1_000,
  rtoMinMs: 200,
  rtoMaxMs: 60_000,
  userTimeoutMs: 100_000,
  idleMs: 3_600_000,
  drainMs: 5_000,
  // Well below what a relay in between remembers of a silent flow, so that nobody else can be given its addresses while we hold it.
  keepaliveMs: 60_000,
  keepaliveIntervalMs: 15_000,
  keepaliveProbesMax: 4,
};

/** The window of the first round trip: ten segments (RFC 6928 §2). */
export const INITIAL_WINDOW_SEGMENTS = 10;
/** The receive window to begin with; it grows towards the bound when the peer fills it within a round trip or so. */
export const RECEIVE_WINDOW_FIRST_BYTES = 512 * 1024;
/** Segments above a hole that say that it is lost (RFC 5681 §3.2, RFC 6675 §2). */
export const DUPLICATE_THRESHOLD = 3;
/** The least silence after which a loss probe is sent: RFC 8985 §7.2, and what an event loop may take. */
export const LOSS_PROBE_MIN_MS = 10;
/** Ranges of our data that the peer said it has beyond a hole. */
export const SACKED_RANGES_MAX = 256;
/** What a peer that names no MSS takes: RFC 9293 §3.7.1. */
export const MSS_DEFAULT_IPV4_BYTES = 536;
export const MSS_DEFAULT_IPV6_BYTES = 1220;
/** A smaller MSS of the peer is taken as this, for one-byte segments would cost us more than them. */
export const MSS_MIN_BYTES = 48;
/** A "too big" below these is a lie or a path that cannot carry IP: RFC 5927 §7.2, RFC 8200 §5. */
export const PATH_MTU_MIN_IPV4_BYTES = 552;
export const PATH_MTU_MIN_IPV6_BYTES = 1280;
/** The smallest buffer of a session, granted whatever the total is. */
export const BUFFER_MIN_BYTES = 4096;
/** Released buffers that are kept for the next session. */
export const BUFFERS_KEPT_MAX_BYTES = 4 * 1024 * 1024;
/** What is held back for an owner that shall be offered much at once: as much as one write to a socket takes. */
export const HELD_BYTES_MAX = 64 * 1024;
/** A segment is acknowledged at once when it is the second one unacknowledged (RFC 9293 §3.8.6.3). */
export const SEGMENTS_PER_ACK = 2;
/** Bounds of what a path may name as its largest packet: all headers and SACK blocks with some data; the IP length field. */
export const PATH_PACKET_MIN_BYTES = 128;
export const PATH_PACKET_MAX_BYTES = 65_535;
