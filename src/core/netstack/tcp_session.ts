/**
 * One TCP session: what a transmission control block holds (RFC 9293 §3.3.1), grouped by direction. Plain state; what moves it
 * are `tcp_receive` (a segment came), `tcp_send` (a segment may leave), `tcp_timer` (time passed) and `tcp_owner` (the owner
 * said something). Outside this folder a session is a handle: read its id, ends and state, pass it to the stack.
 */
import { Timer } from "../../base/mod.ts";
import { copyEnds, type IpEnds, IpHeader, ipHeaderBytes, type PacketMemory, TCP_HEADER_BYTES } from "../wire/mod.ts";
import type { Account } from "./accounts.ts";
import { ByteRing } from "./buffers.ts";
import { Congestion } from "./congestion.ts";
import type { TcpEnvironment } from "./environment.ts";
import { LossProbe } from "./loss_probe.ts";
import { MSS_DEFAULT_IPV4_BYTES, MSS_DEFAULT_IPV6_BYTES, MSS_MIN_BYTES } from "./limits.ts";
import type { PacketPath } from "./path.ts";
import { RttEstimator } from "./rtt.ts";
import { SequenceRanges } from "./sequence.ts";
import { firstWindowBytes } from "./tcp_window.ts";
import type { CloseWhy, TcpState } from "./tcp_state.ts";

/** What the owner of a session is told. Calls may come from within any call to the stack; none may throw. */
export interface SessionHandler {
  /** Both SYNs are acknowledged: data may flow. */
  onOpen(session: TcpSession): void;
  /**
   * The next bytes from the peer, in order. Returns how many of them were taken; the rest stays with the stack, which closes
   * the peer's window by it and offers it again when the owner calls `windowOpened`. `memory` is that of the packet, or a
   * buffer of the stack's; it is only valid during the call.
   */
  onData(session: TcpSession, memory: PacketMemory, offset: number, length: number): number;
  /** The peer will send no more, and everything that it sent was taken. */
  onFin(session: TcpSession): void;
  /** There is room to write again, after a write that took less than offered or a `sendCapacity` of 0. */
  onWritable(session: TcpSession): void;
  /** The session is over, whatever the reason; said once and last. Except for "finished" the other side must be told harshly. */
  onClosed(session: TcpSession, why: CloseWhy): void;
}

/** The node of a flow table: the way back as ends (the source is ours), and both ports. */
export interface FlowNode {
  readonly path: PacketPath;
  readonly ends: IpEnds;
  readonly localPort: number;
  readonly remotePort: number;
  hash: number;
  nextInBucket: FlowNode | null;
}

export class TcpSession implements FlowNode {
  /** Never used twice. */
  readonly id: number;
  readonly path: PacketPath;
  /** From us to the peer: the source is the address that the peer dialled. */
  readonly ends: IpEnds = new IpHeader();
  readonly localPort: number;
  readonly remotePort: number;
  readonly startedMs: number;
  state: TcpState = "closed";

  hash = 0;
  nextInBucket: FlowNode | null = null;
  nextQueued: TcpSession | null = null;
  isQueued = false;
  handler: SessionHandler | null = null;
  readonly environment: TcpEnvironment;
  account: Account | null = null;
  readonly timer: Timer;

  readonly send: SendSide;
  readonly receive: ReceiveSide;
  readonly congestion = new Congestion();
  readonly probe = new LossProbe();
  readonly rtt: RttEstimator;

  /** Deadlines in milliseconds on the owner's clock. */
  retransmitAtMs = Infinity;
  probeAtMs = Infinity;
  delayedAckAtMs = Infinity;
  /** What the state allows at most: the owner's word, the handshake, TIME-WAIT. */
  stateEndsAtMs = Infinity;
  /** When data last moved, either way. */
  progressMs: number;
  /** When the peer last said anything. */
  heardMs: number;
  keepalivesSent = 0;
  /** When the oldest of what is unacknowledged was first sent, or Infinity: for the user time-out. */
  unansweredSinceMs = Infinity;
  challengeWindowMs = -Infinity;
  challengesInWindow = 0;
  /** From an ICMP error; Infinity when none came. */
  pathMtuBytes = Infinity;
  /** The peer's SYN had the option, or ours has it: it is (also) in our answer. */
  offersScale = false;
  offersSack = false;
  /** The MSS that the peer's SYN named, 0 when it named none. */
  offeredMssBytes = 0;
  /** The handler was told of the end. */
  isReported = false;
  /** The handler is being given data; a call from within it must not start again. */
  isDelivering = false;
  /** Data waits for {@linkcode TcpEnvironment.held} to be offered. */
  isHeld = false;
  /** Among the sessions that the limits count. */
  isCounted = false;
  /** Over for the peer, but with data that the owner has not taken yet. */
  isLingering = false;

  constructor(id: number, path: PacketPath, ends: IpEnds, localPort: number, remotePort: number, environment: TcpEnvironment) {
    this.id = id;
    this.path = path;
    copyEnds(ends, this.ends, false);
    this.localPort = localPort;
    this.remotePort = remotePort;
    this.environment = environment;
    this.startedMs = this.progressMs = this.heardMs = environment.nowMs;
    this.timer = new Timer((nowMs) => environment.onTimer(this, nowMs));
    this.send = new SendSide(environment);
    this.receive = new ReceiveSide(environment);
    this.rtt = new RttEstimator(environment.limits);
    this.send.peerMssBytes = this.ends.isIpv4 ? MSS_DEFAULT_IPV4_BYTES : MSS_DEFAULT_IPV6_BYTES;
  }

  /** Begins the wait for an acknowledgement anew; not beyond the moment when the user time-out ends the session. */
  armRetransmit(): void {
    const { nowMs, limits } = this.environment;
    const lastMs = this.unansweredSinceMs + limits.userTimeoutMs;
    const dueMs = nowMs + this.rtt.timeoutMs;
    this.retransmitAtMs = lastMs > nowMs ? Math.min(dueMs, lastMs) : dueMs;
  }

  /** The largest payload of a segment without options: RFC 9293 §3.7.1. */
  get segmentMaxBytes(): number {
    const headers = ipHeaderBytes(this.ends.isIpv4) + TCP_HEADER_BYTES;
    const path = Math.min(this.path.maxBytes, this.pathMtuBytes) - headers;
    return Math.max(MSS_MIN_BYTES, Math.min(this.send.peerMssBytes, path));
  }
}

/** Towards the peer. */
export class SendSide {
  initial = 0;
  /** The oldest unacknowledged number, and the next to be sent: SND.UNA, SND.NXT. */
  una = 0;
  next = 0;
  /** The number of the first byte in the ring. */
  base = 0;
  readonly ring: ByteRing;
  /** SND.WND in bytes, the largest ever seen, and what last changed it (SND.WL1, SND.WL2). */
  windowBytes = 0;
  windowMaxBytes = 0;
  windowSequence = 0;
  windowAck = 0;
  scale = 0;
  peerMssBytes = 0;
  /** The peer understands selective acknowledgements. */
  peerTakesSack = false;
  /** The owner will write no more; the FIN follows the last byte. */
  isFinQueued = false;
  isFinSent = false;
  /** A SYN or SYN-ACK shall be sent, anew or again. */
  isSynDue = false;
  isProbeDue = false;
  /** Send what the window takes, however little (RFC 9293 §3.8.6.2.1, the override time-out). */
  isSmallAllowed = false;
  /** The owner shall be told when there is room. */
  isOwnerWaiting = false;
  /** The number whose acknowledgement is timed, and since when; Infinity when none is. */
  timedSequence = 0;
  timedAtMs = Infinity;
  lastSentMs = -Infinity;

  constructor(environment: TcpEnvironment) {
    this.ring = new ByteRing(environment.pool, environment.limits.sendBufferMaxBytes);
  }

  /** The number behind the last byte that the owner wrote: that of the FIN. */
  get dataEnd(): number {
    return (this.base + this.ring.used) | 0;
  }
}

/** From the peer. */
export class ReceiveSide {
  initial = 0;
  /** RCV.NXT. */
  next = 0;
  /** The end of the window that the peer was told. */
  edge = 0;
  /** RCV.NXT when an acknowledgement was last sent. */
  acknowledged = 0;
  /** The largest window that the peer may be told now, and since when how much of it was used (tcp_window). */
  allowedBytes: number;
  measuredFrom = 0;
  measuredSinceMs = -Infinity;
  /** In order but not taken by the owner yet; behind the run what lies beyond gaps. */
  readonly ring: ByteRing;
  readonly beyond: SequenceRanges;
  scale = 0;
  /** A FIN that came before the data in front of it. */
  finSequence = 0;
  hasEarlyFin = false;
  isFinReceived = false;
  isFinDelivered = false;
  /** The number behind what the owner had written when it heard of the peer's FIN: what lies beyond is its answer. */
  answerFrom = 0;
  /** Acknowledgements to be sent at once. More than one only where each is a duplicate that the peer must count. */
  acksDue = 0;
  segmentsUnacknowledged = 0;

  constructor(environment: TcpEnvironment) {
    this.ring = new ByteRing(environment.pool, environment.limits.receiveBufferMaxBytes);
    this.allowedBytes = firstWindowBytes(this.ring.maxBytes);
    this.beyond = new SequenceRanges(environment.limits.reassemblyRangesMax);
  }
}
