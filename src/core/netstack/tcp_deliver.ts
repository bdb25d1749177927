/**
 * Data on its way from a segment to the owner: in order and once. What comes in order goes from the packet's own bytes to
 * the owner; what the owner does not take, and what lies beyond a gap, waits in the receive ring.
 */
import { type PacketMemory, TcpFlag } from "../wire/mod.ts";
import { HELD_BYTES_MAX, SEGMENTS_PER_ACK } from "./limits.ts";
import { distance, isBefore } from "./sequence.ts";
import { moveSession, settle } from "./tcp_end.ts";
import type { TcpSession } from "./tcp_session.ts";
import { growWindow } from "./tcp_window.ts";
import { mayReceive } from "./tcp_state.ts";

/** More duplicate acknowledgements than this in one go tell the peer nothing. */
const DUPLICATES_DUE_MAX = 16;

/** Takes in the payload and the FIN of the segment at hand, whose sequence numbers are acceptable. */
export function receivePayload(session: TcpSession, memory: PacketMemory): void {
  const { receive, environment } = session;
  const { inTcp: tcp, counters } = environment;
  let hasFin = (tcp.flags & TcpFlag.fin) !== 0;
  if (tcp.payloadBytes === 0 && !hasFin) return;
  if (!mayReceive(session.state)) {
    counters.segmentsUnexpected++;
    acknowledgeNow(session);
    return;
  }
  let { sequence, payloadOffset: offset, payloadBytes: length } = tcp;
  if (isBefore(sequence, receive.next)) {
    const known = Math.min(length, distance(sequence, receive.next));
    counters.segmentsDuplicate++;
    acknowledgeNow(session);
    sequence = (sequence + known) | 0;
    offset += known;
    length -= known;
    if (sequence !== receive.next) return;
  }
  const over = distance(receive.edge, (sequence + length) | 0);
  if (over > 0) {
    length -= over;
    hasFin = false;
  }
  if (sequence === receive.next) {
    receiveInOrder(session, memory, offset, length, hasFin, (sequence + length) | 0);
  } else {
    receiveBeyond(session, memory, sequence, offset, length, hasFin);
  }
}

function receiveInOrder(
  session: TcpSession,
  memory: PacketMemory,
  offset: number,
  length: number,
  hasFin: boolean,
  finSequence: number,
): void {
  const { receive, environment } = session;
  session.progressMs = environment.nowMs;
  // Duplicate acknowledgements that are still owed would say what is no longer so.
  receive.acksDue = Math.min(1, receive.acksDue);
  const hadGap = receive.beyond.count > 0;
  if (length > 0) takeInOrder(session, memory, offset, length);
  if (session.isReported) return;
  if (hadGap) fillGaps(session);
  if (session.isReported) return;
  // What is held says nothing about an owner that takes nothing.
  if (!session.isHeld) growWindow(session);
  const isFinHere = (hasFin && receive.next === finSequence) || (receive.hasEarlyFin && receive.next === receive.finSequence);
  if (isFinHere) return receiveFin(session);
  if (hadGap || ++receive.segmentsUnacknowledged >= SEGMENTS_PER_ACK) return acknowledgeNow(session);
  session.delayedAckAtMs = Math.min(session.delayedAckAtMs, environment.nowMs + environment.limits.delayedAckMs);
}

/** The owner first, unless it shall be offered much at once; what it leaves goes into the ring. */
function takeInOrder(session: TcpSession, memory: PacketMemory, offset: number, length: number): void {
  const { receive, environment } = session;
  let taken = 0;
  if (environment.holdsData && hold(session, length)) {
    receive.ring.put(receive.ring.used, memory, offset, length);
    receive.ring.used += length;
    receive.next = (receive.next + length) | 0;
    return;
  }
  if (session.isReported) return;
  if (receive.ring.used === 0 && !session.isDelivering) {
    session.isDelivering = true;
    taken = Math.max(0, Math.min(length, session.handler?.onData(session, memory, offset, length) ?? 0));
    session.isDelivering = false;
    if (session.isReported) return;
    receive.ring.skip(taken);
  }
  const rest = length - taken;
  if (rest > 0) {
    if (receive.ring.reserve(receive.ring.used + rest)) {
      receive.ring.put(receive.ring.used, memory, offset + taken, rest);
      receive.ring.used += rest;
      taken += rest;
    } else {
      // Not acknowledged, so it will come again.
      environment.counters.receiveMemory++;
      acknowledgeNow(session);
    }
  }
  receive.next = (receive.next + taken) | 0;
}

/** Whether these bytes shall wait in the ring for the others of this turn; then there is room for them. */
function hold(session: TcpSession, length: number): boolean {
  const { receive, environment } = session;
  const { ring } = receive;
  if (session.isHeld && ring.used + length > HELD_BYTES_MAX) deliverHeld(session);
  // An owner that did not take all that it was offered says itself when it takes more.
  if (session.isDelivering || (ring.used > 0 && !session.isHeld) || length > HELD_BYTES_MAX) return false;
  if (!ring.reserve(HELD_BYTES_MAX)) return false;
  if (!session.isHeld) environment.held.push(session);
  session.isHeld = true;
  return true;
}

/** Offers what was held. */
export function deliverHeld(session: TcpSession): void {
  if (!session.isHeld) return;
  session.isHeld = false;
  if (session.isReported) return;
  deliver(session);
  if (!session.isReported) growWindow(session);
}

/** Data that waited beyond a gap joins the run when the gap is closed. */
function fillGaps(session: TcpSession): void {
  const { receive } = session;
  const { beyond, ring } = receive;
  beyond.dropBelow(receive.next);
  if (beyond.count === 0 && ring.used === 0) ring.release();
  if (beyond.count === 0 || beyond.left(0) !== receive.next) return;
  const right = beyond.right(0);
  ring.used += distance(receive.next, right);
  receive.next = right;
  beyond.dropBelow(right);
  deliver(session);
}

function receiveBeyond(
  session: TcpSession,
  memory: PacketMemory,
  sequence: number,
  offset: number,
  length: number,
  hasFin: boolean,
): void {
  const { receive, environment } = session;
  const { counters } = environment;
  // Each of these is a duplicate acknowledgement that a sender without SACK counts (RFC 5681 §4.2).
  receive.acksDue = session.congestion.hasSack ? Math.max(1, receive.acksDue) : Math.min(DUPLICATES_DUE_MAX, receive.acksDue + 1);
  if (hasFin) {
    receive.hasEarlyFin = true;
    receive.finSequence = (sequence + length) | 0;
  }
  if (length <= 0) return;
  const place = receive.ring.used + distance(receive.next, sequence);
  if (!receive.ring.reserve(place + length)) {
    counters.receiveMemory++;
    return;
  }
  const added = receive.beyond.insert(sequence, (sequence + length) | 0);
  if (added < 0) {
    counters.reassemblyFull++;
    return;
  }
  if (added === 0) counters.segmentsDuplicate++;
  else counters.segmentsOutOfOrder++;
  receive.ring.put(place, memory, offset, length);
}

function receiveFin(session: TcpSession): void {
  const { receive } = session;
  receive.next = (receive.next + 1) | 0;
  receive.isFinReceived = true;
  receive.hasEarlyFin = false;
  acknowledgeNow(session);
  moveSession(session, "fin");
  deliver(session);
}

/** Offers the owner what waits, as long as it takes everything, and the end when nothing is left in front of it. */
export function deliver(session: TcpSession): void {
  const { receive, environment } = session;
  if (session.isDelivering || session.handler === null) return;
  session.isDelivering = true;
  while (receive.ring.used > 0) {
    const length = receive.ring.headBytes;
    const taken = session.handler.onData(session, receive.ring.memory, receive.ring.headOffset, length);
    if (session.isReported) return;
    if (taken <= 0) break;
    session.progressMs = environment.nowMs;
    receive.ring.drop(Math.min(taken, length));
    if (taken < length) break;
  }
  session.isDelivering = false;
  if (receive.ring.used > 0) return;
  if (receive.beyond.count === 0) receive.ring.release();
  if (receive.isFinReceived && !receive.isFinDelivered) {
    receive.isFinDelivered = true;
    receive.answerFrom = session.send.dataEnd;
    session.handler.onFin(session);
  }
  if (session.isLingering) settle(session);
}

/** The next poll of the path yields an acknowledgement. */
export function acknowledgeNow(session: TcpSession): void {
  session.receive.acksDue = Math.max(1, session.receive.acksDue);
}
