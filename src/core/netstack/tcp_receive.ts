/**
 * A segment came for a session: RFC 9293 §3.10.7.3 and §3.10.7.4, with the answers of RFC 5961 to what is nearly right. The
 * stack has checked the segment's form and found its session; the header stands in the environment.
 */
import { type PacketMemory, TcpFlag, type TcpHeader } from "../wire/mod.ts";
import { distance, isAfter, isBefore } from "./sequence.ts";
import { challenge, receiveAck } from "./tcp_ack.ts";
import { acknowledgeNow, deliverHeld, receivePayload } from "./tcp_deliver.ts";
import { endSession, moveSession } from "./tcp_end.ts";
import { isWorthWriting } from "./tcp_owner.ts";
import type { TcpSession } from "./tcp_session.ts";
import { scaleFor } from "./tcp_window.ts";

/** What the stack shall answer for the session: nothing, or RST with the number that the segment acknowledged. */
export type SegmentAnswer = "none" | "reset";

/** Takes in one segment. The session may be over afterwards. */
export function receiveSegment(session: TcpSession, memory: PacketMemory): SegmentAnswer {
  const { environment } = session;
  switch (session.state) {
    case "pending":
      receivePending(session);
      return "none";
    case "synSent":
      return receiveSynSent(session);
    case "closed":
      return "none";
    default:
      session.heardMs = environment.nowMs;
      session.keepalivesSent = 0;
      return receiveSynchronized(session, memory);
  }
}

/** Takes the options of the peer's SYN, and its first numbers. */
export function takeSyn(session: TcpSession, tcp: TcpHeader): void {
  const { send, receive, environment } = session;
  receive.initial = tcp.sequence;
  receive.next =
    receive.edge =
    receive.acknowledged =
    receive.measuredFrom =
      (tcp.sequence + 1) | 0;
  send.windowBytes = send.windowMaxBytes = tcp.window;
  send.windowSequence = tcp.sequence;
  send.windowAck = tcp.acknowledgement;
  session.offeredMssBytes = tcp.mssBytes;
  if (tcp.mssBytes > 0) send.peerMssBytes = tcp.mssBytes;
  const isAnswer = session.state === "synSent";
  session.offersScale = (!isAnswer || session.offersScale) && tcp.windowScale >= 0;
  send.scale = session.offersScale ? tcp.windowScale : 0;
  receive.scale = session.offersScale ? scaleFor(receive.ring.maxBytes) : 0;
  session.offersSack = (!isAnswer || session.offersSack) && tcp.sackPermitted;
  session.congestion.hasSack = session.offersSack;
  session.heardMs = environment.nowMs;
}

/** The owner has not decided: nothing was promised, so a repeated SYN means nothing and a different one begins anew. */
function receivePending(session: TcpSession): void {
  const { environment, receive } = session;
  const tcp = environment.inTcp;
  const kind = tcp.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst | TcpFlag.fin);
  if ((kind & TcpFlag.rst) !== 0 && (tcp.sequence === receive.next || tcp.sequence === receive.initial)) {
    endSession(session, "reset");
  } else if (kind === TcpFlag.syn) {
    environment.counters.synRepeated++;
    if (tcp.sequence !== receive.initial) takeSyn(session, tcp);
  } else environment.counters.segmentsUnexpected++;
}

/** RFC 9293 §3.10.7.3. */
function receiveSynSent(session: TcpSession): SegmentAnswer {
  const { send, environment } = session;
  const tcp = environment.inTcp;
  const hasAck = (tcp.flags & TcpFlag.ack) !== 0, hasReset = (tcp.flags & TcpFlag.rst) !== 0;
  if (hasAck && (!isAfter(tcp.acknowledgement, send.initial) || isAfter(tcp.acknowledgement, send.next))) {
    environment.counters.segmentsUnexpected++;
    return hasReset ? "none" : "reset";
  }
  if (hasReset) {
    if (hasAck) endSession(session, "reset");
    else environment.counters.resetsIgnored++;
    return "none";
  }
  if ((tcp.flags & TcpFlag.syn) === 0) {
    environment.counters.segmentsUnexpected++;
    return "none";
  }
  takeSyn(session, tcp);
  if (hasAck) {
    moveSession(session, "synAck");
    openSession(session);
    acknowledgeNow(session);
  } else {
    // Both opened at once: our SYN goes again, now with the acknowledgement of theirs.
    moveSession(session, "syn");
    send.isSynDue = true;
  }
  return "none";
}

/** RFC 9293 §3.10.7.4, in its order. */
function receiveSynchronized(session: TcpSession, memory: PacketMemory): SegmentAnswer {
  const { receive, environment } = session;
  const { inTcp: tcp, counters } = environment;
  const { flags, sequence } = tcp;
  const hasSyn = (flags & TcpFlag.syn) !== 0, hasAck = (flags & TcpFlag.ack) !== 0;
  if (session.state === "synReceived" && hasSyn && !hasAck && sequence === receive.initial) {
    session.send.isSynDue = true;
    return "none";
  }
  const length = tcp.payloadBytes + (hasSyn ? 1 : 0) + ((flags & TcpFlag.fin) !== 0 ? 1 : 0);
  if (!isAcceptable(session, sequence, length)) {
    counters.segmentsOutsideWindow++;
    receiveOutside(session, length);
    return "none";
  }
  if ((flags & TcpFlag.rst) !== 0) {
    // RFC 5961 §3.2: only the exact number resets. Nothing resets TIME-WAIT, or the owner might lose its last bytes (RFC 1337).
    if (session.state === "timeWait") counters.resetsIgnored++;
    else if (sequence === receive.next) {
      // What came in front of it is still the owner's.
      deliverHeld(session);
      if (!session.isReported) endSession(session, "reset");
    } else challenge(session);
    return "none";
  }
  if (hasSyn) {
    challenge(session);
    return "none";
  }
  if (!hasAck) {
    counters.segmentsUnexpected++;
    return "none";
  }
  if (session.state === "synReceived") {
    const { una, next } = session.send;
    if (!isAfter(tcp.acknowledgement, una) || isAfter(tcp.acknowledgement, next)) return "reset";
    moveSession(session, "synAcked");
    openSession(session);
    if (session.isReported) return "none";
  }
  if (!receiveAck(session) || session.isReported) return "none";
  receivePayload(session, memory);
  if (session.send.isOwnerWaiting && isWorthWriting(session)) {
    session.send.isOwnerWaiting = false;
    session.handler?.onWritable(session);
  }
  return "none";
}

/** Our SYN is acknowledged: everything that the handshake negotiated holds, and the owner may write. */
function openSession(session: TcpSession): void {
  const { send, environment } = session;
  const tcp = environment.inTcp;
  environment.counters.sessionsOpened++;
  session.stateEndsAtMs = Infinity;
  session.progressMs = environment.nowMs;
  send.base = (send.initial + 1) | 0;
  // The window of a SYN is never scaled; that of the segment that opens a session which we answered is.
  const scale = (tcp.flags & TcpFlag.syn) !== 0 ? 0 : send.scale;
  send.windowBytes = send.windowMaxBytes = tcp.window << scale;
  send.windowSequence = tcp.sequence;
  send.windowAck = tcp.acknowledgement;
  const flightBytes = distance(send.una, tcp.acknowledgement);
  send.una = tcp.acknowledgement;
  if (flightBytes > 0 && send.timedAtMs !== Infinity) session.rtt.sample(environment.nowMs - send.timedAtMs);
  send.timedAtMs = Infinity;
  send.isSynDue = false;
  if (session.rtt.backoff > 0) session.rtt.handshakeTimedOut();
  session.rtt.backoff = 0;
  session.retransmitAtMs = session.unansweredSinceMs = Infinity;
  session.congestion.recoveryPoint = session.congestion.limitedEdge = send.una;
  session.congestion.restart(session.segmentMaxBytes);
  if (send.isFinQueued) moveSession(session, "close");
  session.handler?.onOpen(session);
}

/** RFC 9293 §3.10.7.4, table 6. A bare acknowledgement may be as old as the last one that we sent: they overtake each other. */
function isAcceptable(session: TcpSession, sequence: number, length: number): boolean {
  const { receive } = session;
  const isOpen = isBefore(receive.next, receive.edge);
  if (length === 0) {
    if (isBefore(sequence, receive.acknowledged)) return false;
    return isOpen ? isBefore(sequence, receive.edge) : !isAfter(sequence, receive.next);
  }
  return isOpen && isBefore(sequence, receive.edge) && isAfter((sequence + length) | 0, receive.next);
}

/** Old, repeated, or at a closed window: the peer is told where we are, and at a closed window it is still heard. */
function receiveOutside(session: TcpSession, length: number): void {
  const { receive, environment } = session;
  const tcp = environment.inTcp;
  if ((tcp.flags & TcpFlag.rst) !== 0) {
    environment.counters.resetsIgnored++;
    return;
  }
  const isAtClosedWindow = length > 0 && tcp.sequence === receive.next && !isBefore(receive.next, receive.edge);
  if (isAtClosedWindow && (tcp.flags & (TcpFlag.ack | TcpFlag.syn)) === TcpFlag.ack && session.state !== "synReceived") {
    if (!receiveAck(session) || session.isReported) return;
  }
  if (session.state === "timeWait" && (tcp.flags & TcpFlag.fin) !== 0 && session.isReported) {
    session.stateEndsAtMs = environment.nowMs + environment.limits.timeWaitMs;
  }
  if (length > 0) {
    // Data that we have: our acknowledgement was lost, so it is said again, each time.
    acknowledgeNow(session);
    if (tcp.payloadBytes > 0) environment.counters.segmentsDuplicate++;
  } else challenge(session);
}
