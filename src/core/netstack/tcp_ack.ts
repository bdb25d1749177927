/**
 * What an acknowledgement does: it frees what the peer has, measures the round trip, moves the congestion and the peer's
 * window, and may say that something was lost.
 */
import { armLossProbe, receiveProbeAck } from "./loss_probe.ts";
import { distance, isAfter, isAtOrBefore, isBefore } from "./sequence.ts";
import { moveSession } from "./tcp_end.ts";
import type { TcpSession } from "./tcp_session.ts";

/**
 * An acknowledgement that nobody answers in words but with "what do you mean": RFC 5961 §3 to §5, at most so many a second.
 */
export function challenge(session: TcpSession): void {
  const { environment } = session;
  if (environment.nowMs - session.challengeWindowMs >= 1_000) {
    session.challengeWindowMs = environment.nowMs;
    session.challengesInWindow = 0;
  }
  if (session.challengesInWindow >= environment.limits.challengeAcksPerSecondMax) {
    environment.counters.challengeAcksSuppressed++;
    return;
  }
  session.challengesInWindow++;
  environment.counters.challengeAcks++;
  session.receive.acksDue = Math.max(1, session.receive.acksDue);
}

/** Takes the acknowledgement, window and SACK blocks of the segment at hand. False when the segment is to be dropped. */
export function receiveAck(session: TcpSession): boolean {
  const { send, congestion, environment } = session;
  const tcp = environment.inTcp;
  const ack = tcp.acknowledgement;
  // RFC 5961 §5.2: neither beyond what was sent, nor older than anything the peer's window ever allowed.
  if (isAfter(ack, send.next) || distance(ack, send.una) > Math.max(send.windowMaxBytes, 0xffff)) {
    challenge(session);
    return false;
  }
  const newlySacked = congestion.hasSack && tcp.sackCount > 0 ? takeSackBlocks(session) : 0;
  const isSameWindow = tcp.window << send.scale === send.windowBytes;
  if (!isBefore(ack, send.una)) takeWindow(session);
  const isAdvance = isAfter(ack, send.una);
  const flightBytes = distance(send.una, send.next);
  if (isAdvance) takeAdvance(session, ack);
  else if (flightBytes === 0) session.unansweredSinceMs = Infinity;
  const isDuplicate = ack === send.una && !isAdvance && flightBytes > 0 && tcp.payloadBytes === 0 && isSameWindow;
  if (newlySacked > 0 || (isDuplicate && !congestion.hasSack && (tcp.flags & 0x03) === 0)) {
    if (send.una !== send.next && congestion.onDuplicate(send.una, send.next, session.segmentMaxBytes)) {
      environment.counters.fastRetransmits++;
      send.timedAtMs = Infinity;
    }
  }
  receiveProbeAck(session, !isAdvance && ack === send.una && tcp.payloadBytes === 0);
  if (isAdvance || newlySacked > 0) armLossProbe(session);
  return true;
}

/** RFC 9293 §3.10.7.4: an older segment may not bring back an older window. */
function takeWindow(session: TcpSession): void {
  const { send, environment } = session;
  const tcp = environment.inTcp;
  const isNewer = isBefore(send.windowSequence, tcp.sequence) ||
    (send.windowSequence === tcp.sequence && isAtOrBefore(send.windowAck, tcp.acknowledgement));
  if (!isNewer) return;
  const bytes = tcp.window << send.scale;
  send.windowSequence = tcp.sequence;
  send.windowAck = tcp.acknowledgement;
  if (bytes > send.windowBytes && send.una === send.next) {
    // The peer opens its window: the time of the probes is over.
    session.rtt.backoff = 0;
    session.retransmitAtMs = Infinity;
    send.isProbeDue = false;
  }
  send.windowBytes = bytes;
  if (bytes > send.windowMaxBytes) send.windowMaxBytes = bytes;
}

function takeAdvance(session: TcpSession, ack: number): void {
  const { send, congestion, rtt, environment } = session;
  const { nowMs } = environment;
  const ackedBytes = distance(send.una, ack);
  send.una = ack;
  const freed = Math.min(send.ring.used, Math.max(0, distance(send.base, ack)));
  if (freed > 0) {
    send.ring.drop(freed);
    send.base = (send.base + freed) | 0;
    if (send.ring.used === 0) send.ring.release();
  }
  if (send.timedAtMs !== Infinity && !isBefore(ack, send.timedSequence)) {
    rtt.sample(nowMs - send.timedAtMs);
    send.timedAtMs = Infinity;
  }
  rtt.backoff = 0;
  congestion.onAcked(ackedBytes, ack, send.next, session.segmentMaxBytes, rtt.smoothedMs, nowMs);
  const isAllAcked = ack === send.next;
  session.unansweredSinceMs = isAllAcked ? Infinity : nowMs;
  if (isAllAcked) session.retransmitAtMs = Infinity;
  else session.armRetransmit();
  session.progressMs = nowMs;
  if (isAllAcked && send.isFinSent) moveSession(session, "finAcked");
}

/** RFC 2018 §4, RFC 6675 §4: blocks that name something outside what is on the way, or nothing, are not believed. */
function takeSackBlocks(session: TcpSession): number {
  const { send, congestion, environment } = session;
  const tcp = environment.inTcp;
  const una = isAfter(tcp.acknowledgement, send.una) ? tcp.acknowledgement : send.una;
  let added = 0;
  for (let i = 0; i < tcp.sackCount; i++) {
    const left = tcp.sackEdges[2 * i] as number, right = tcp.sackEdges[2 * i + 1] as number;
    if (!isAfter(left, una) || !isBefore(left, right) || isAfter(right, send.next)) continue;
    const bytes = congestion.sacked.insert(left, right);
    if (bytes > 0) added += bytes;
  }
  return added;
}
