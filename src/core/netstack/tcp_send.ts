/**
 * What of a session leaves next: the SYN, a segment that was lost, new data with or without the FIN, a probe, a bare
 * acknowledgement, in this order. Called when the owner polls a path, so that a segment always carries the newest
 * acknowledgement and nothing is built that the path would not take.
 */
import {
  clearTcpOptions,
  encodeTcp,
  ipHeaderBytes,
  type PacketMemory,
  SACK_BLOCKS_MAX,
  TCP_HEADER_BYTES,
  TcpFlag,
  tcpHeaderBytes,
} from "../wire/mod.ts";
import { armLossProbe, chooseRepeat } from "./loss_probe.ts";
import { distance, earlierOf, isAfter, isBefore } from "./sequence.ts";
import type { TcpSession } from "./tcp_session.ts";
import { windowField } from "./tcp_window.ts";

/** Writes the next segment at `offset` and returns its packet's length, at most `room`; 0 when there is nothing to send. */
export function buildSegment(session: TcpSession, memory: PacketMemory, offset: number, room: number): number {
  const { send, receive, state } = session;
  if (state === "closed" || state === "pending") return 0;
  if (send.isSynDue) return buildSyn(session, memory, offset);
  if (state === "synSent") return 0;
  const optionBytes = sackOptionBytes(session);
  const segmentBytes = Math.min(session.segmentMaxBytes, room - ipHeaderBytes(session.ends.isIpv4) - TCP_HEADER_BYTES) -
    optionBytes;
  if (state !== "synReceived" && state !== "finWait2" && state !== "timeWait") {
    const length = buildLossProbe(session, memory, offset, segmentBytes) || buildLost(session, memory, offset, segmentBytes) ||
      buildNew(session, memory, offset, segmentBytes);
    if (length > 0) {
      armLossProbe(session);
      return length;
    }
  }
  if (send.isProbeDue) {
    send.isProbeDue = false;
    // One number behind what the peer has acknowledged: it must answer with what it expects and its window.
    return emit(session, memory, offset, TcpFlag.ack, (send.una - 1) | 0, 0);
  }
  if (receive.acksDue > 0) {
    const more = receive.acksDue - 1;
    const length = emit(session, memory, offset, TcpFlag.ack, send.next, 0);
    receive.acksDue = more;
    return length;
  }
  return 0;
}

/** Whether a poll should come back to this session after a segment of it left. */
export function hasMoreToSend(session: TcpSession): boolean {
  const { send, receive, congestion } = session;
  if (receive.acksDue > 0 || send.isProbeDue || send.isSynDue || session.probe.isDue) return true;
  return congestion.mode !== "open" || isBefore(send.next, send.dataEnd) || (send.isFinQueued && !send.isFinSent);
}

/** SYN or SYN-ACK, the first time or again, always with the same number and options. */
function buildSyn(session: TcpSession, memory: PacketMemory, offset: number): number {
  const { send, environment } = session;
  const isAnswer = session.state === "synReceived";
  send.isSynDue = false;
  if (send.next === send.initial) {
    send.next = (send.initial + 1) | 0;
    startTiming(session);
  } else {
    send.timedAtMs = Infinity;
    environment.counters.segmentsRetransmitted++;
  }
  if (session.retransmitAtMs === Infinity) session.armRetransmit();
  return emit(session, memory, offset, isAnswer ? TcpFlag.syn | TcpFlag.ack : TcpFlag.syn, send.initial, 0);
}

/** One segment although the congestion window says no, to hear what of the others arrived. */
function buildLossProbe(session: TcpSession, memory: PacketMemory, offset: number, segmentBytes: number): number {
  const { send, probe, environment } = session;
  if (!probe.isDue) return 0;
  probe.isDue = false;
  if (send.una === send.next) return 0;
  probe.left = send.next;
  const length = buildNew(session, memory, offset, segmentBytes, true);
  probe.isSent = true;
  probe.isRepeat = length === 0;
  probe.right = send.next;
  session.armRetransmit();
  if (length > 0) return length;
  chooseRepeat(session, segmentBytes);
  send.timedAtMs = Infinity;
  environment.counters.segmentsRetransmitted++;
  return emitAgain(session, memory, offset, probe.left, probe.right);
}

/** The next hole of a recovery, when the pipe has room for it. */
function buildLost(session: TcpSession, memory: PacketMemory, offset: number, segmentBytes: number): number {
  const { send, congestion, environment } = session;
  if (congestion.mode === "open" || send.una === send.next) return 0;
  const hole = congestion.nextHole(send.una);
  if (!isBefore(hole, congestion.lostEdge)) return 0;
  const end = earlierOf(earlierOf(congestion.holeEnd(hole), (hole + segmentBytes) | 0), send.next);
  if (!isBefore(hole, end)) return 0;
  const pipe = congestion.pipe(send.una, send.next, session.segmentMaxBytes);
  if (!congestion.isResendDue && pipe > 0 && pipe + distance(hole, end) > congestion.windowBytes) return 0;
  congestion.isResendDue = false;
  congestion.resentEdge = end;
  environment.counters.segmentsRetransmitted++;
  if (hole === send.una) session.armRetransmit();
  return emitAgain(session, memory, offset, hole, end);
}

/** Sends [left, right) again, with the FIN if that is in it. */
function emitAgain(session: TcpSession, memory: PacketMemory, offset: number, left: number, right: number): number {
  const { send } = session;
  const hasFin = isAfter(right, send.dataEnd);
  const dataBytes = distance(left, hasFin ? send.dataEnd : right);
  return emit(session, memory, offset, TcpFlag.ack | (hasFin ? TcpFlag.fin : TcpFlag.psh), left, dataBytes);
}

/** New data, as the peer's window, ours and the owner's words allow. */
function buildNew(session: TcpSession, memory: PacketMemory, offset: number, segmentBytes: number, isProbe = false): number {
  const { send, congestion, environment } = session;
  if (send.isFinSent) return 0;
  const available = distance(send.next, send.dataEnd);
  if (available === 0 && !send.isFinQueued) return 0;
  const windowRoom = distance(send.next, (send.una + send.windowBytes) | 0);
  const length = Math.max(0, Math.min(available, segmentBytes, windowRoom));
  const hasFin = send.isFinQueued && length === available && windowRoom > length;
  if (length === 0 && !hasFin) return waitForWindow(session);
  // Silly windows, RFC 9293 §3.8.6.2.1: not less than a segment, all there is, or half of what the peer ever took.
  const isCut = length < segmentBytes && length < available;
  if (isCut && 2 * length < send.windowMaxBytes && !send.isSmallAllowed) return waitForWindow(session);
  if (send.una === send.next && environment.nowMs - send.lastSentMs > session.rtt.timeoutMs) {
    congestion.restart(session.segmentMaxBytes);
  }
  const pipe = congestion.pipe(send.una, send.next, session.segmentMaxBytes);
  if (pipe > 0 && pipe + length > congestion.windowBytes && !isProbe) {
    congestion.limitedEdge = send.next;
    return 0;
  }
  const sequence = send.next;
  send.next = (sequence + length + (hasFin ? 1 : 0)) | 0;
  send.isSmallAllowed = false;
  if (hasFin) send.isFinSent = true;
  if (send.una === sequence) session.unansweredSinceMs = environment.nowMs;
  if (send.una === sequence || session.retransmitAtMs === Infinity) session.armRetransmit();
  startTiming(session);
  congestion.onSent(send.next, environment.nowMs);
  const flags = TcpFlag.ack | (hasFin ? TcpFlag.fin : 0) | (length > 0 && length === available ? TcpFlag.psh : 0);
  return emit(session, memory, offset, flags, sequence, length);
}

/** Nothing is on the way that would bring an acknowledgement, and the window is closed: ask from time to time. */
function waitForWindow(session: TcpSession): number {
  const { send } = session;
  if (send.una === send.next && session.retransmitAtMs === Infinity) session.armRetransmit();
  return 0;
}

function startTiming(session: TcpSession): void {
  const { send, environment } = session;
  if (send.timedAtMs !== Infinity || session.congestion.mode !== "open") return;
  send.timedSequence = send.next;
  send.timedAtMs = environment.nowMs;
}

function sackOptionBytes(session: TcpSession): number {
  const { beyond } = session.receive;
  return session.congestion.hasSack && beyond.count > 0 ? 4 + 8 * Math.min(beyond.count, SACK_BLOCKS_MAX) : 0;
}

/** Writes one segment with everything that each of them carries: acknowledgement, window, SACK blocks. */
function emit(
  session: TcpSession,
  memory: PacketMemory,
  offset: number,
  flags: number,
  sequence: number,
  dataBytes: number,
): number {
  const { send, receive, environment, ends } = session;
  const header = environment.outTcp;
  const isSyn = (flags & TcpFlag.syn) !== 0;
  clearTcpOptions(header);
  header.sourcePort = session.localPort;
  header.destinationPort = session.remotePort;
  header.sequence = sequence;
  header.acknowledgement = (flags & TcpFlag.ack) !== 0 ? receive.next : 0;
  header.flags = flags;
  header.window = windowField(session, isSyn);
  header.payloadBytes = dataBytes;
  if (isSyn) writeSynOptions(session);
  else writeSackBlocks(session);
  if (dataBytes > 0) {
    const at = offset + ipHeaderBytes(ends.isIpv4) + tcpHeaderBytes(header);
    send.ring.copyOut(distance(send.base, sequence), memory, at, dataBytes);
    send.lastSentMs = environment.nowMs;
  }
  if ((flags & TcpFlag.ack) !== 0) {
    receive.acknowledged = receive.next;
    receive.acksDue = 0;
    receive.segmentsUnacknowledged = 0;
    session.delayedAckAtMs = Infinity;
  }
  return encodeTcp(memory, offset, ends, header);
}

function writeSynOptions(session: TcpSession): void {
  const header = session.environment.outTcp;
  const ownMss = session.path.receiveMaxBytes - ipHeaderBytes(session.ends.isIpv4) - TCP_HEADER_BYTES;
  header.mssBytes = session.offeredMssBytes > 0 ? Math.min(session.offeredMssBytes, ownMss) : ownMss;
  header.windowScale = session.offersScale ? session.receive.scale : -1;
  header.sackPermitted = session.offersSack;
}

/** RFC 2018 §4: the range of the newest segment first, then its neighbours. */
function writeSackBlocks(session: TcpSession): void {
  const { beyond } = session.receive;
  if (!session.congestion.hasSack || beyond.count === 0) return;
  const header = session.environment.outTcp;
  header.sackCount = Math.min(beyond.count, SACK_BLOCKS_MAX);
  for (let i = 0; i < header.sackCount; i++) {
    const range = (beyond.recent + i) % beyond.count;
    header.sackEdges[2 * i] = beyond.left(range);
    header.sackEdges[2 * i + 1] = beyond.right(range);
  }
}
