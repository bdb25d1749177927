/**
 * When the last segments of a flight, or what was sent again, are lost, no acknowledgement comes that would say so, and only
 * the retransmission time-out would help, a hundred round trips later. So after two round trips of silence one segment is sent
 * as a probe (RFC 8985 §7): new data, or the last that the peer has not. When the peer then has the probe but not what was
 * sent long before it, that is lost. Only with SACK, for only that tells the two apart; one probe at a time.
 */
import { LOSS_PROBE_MIN_MS } from "./limits.ts";
import { distance, isAfter, isBefore } from "./sequence.ts";
import type { TcpSession } from "./tcp_session.ts";

/** The probe that is on the way. */
export class LossProbe {
  isDue = false;
  isSent = false;
  left = 0;
  right = 0;
  /** It was a segment sent again: when it arrives there is no telling it from the first one, but by what is said besides. */
  isRepeat = false;

  clear(): void {
    this.isDue = this.isSent = false;
  }
}

/** Begins the wait for an acknowledgement anew: something was sent, or the peer got something. */
export function armLossProbe(session: TcpSession): void {
  const { send, rtt, congestion, probe, environment } = session;
  session.probeAtMs = Infinity;
  if (!congestion.hasSack || send.una === send.next || probe.isSent || rtt.backoff > 0 || !rtt.hasSample) return;
  // A peer may hold back the acknowledgement of a single segment.
  const heldMs = distance(send.una, send.next) <= session.segmentMaxBytes ? environment.limits.delayedAckMs : 0;
  const atMs = environment.nowMs + Math.max(2 * rtt.smoothedMs, LOSS_PROBE_MIN_MS) + heldMs;
  if (atMs < session.retransmitAtMs) session.probeAtMs = atMs;
}

/** The wait was in vain. */
export function onProbeTimer(session: TcpSession): void {
  const { send, probe, environment } = session;
  session.probeAtMs = Infinity;
  if (send.una === send.next) return;
  probe.isDue = true;
  environment.counters.lossProbes++;
  environment.markReady(session);
}

/** Chooses the last bytes that the peer does not have, at most a segment of them, as a probe to send again. */
export function chooseRepeat(session: TcpSession, segmentBytes: number): void {
  const { send, congestion, probe } = session;
  const { sacked } = congestion;
  let index = sacked.count - 1;
  probe.right = send.next;
  if (index >= 0 && sacked.right(index) === send.next) {
    probe.right = sacked.left(index);
    index--;
  }
  const least = index >= 0 ? sacked.right(index) : send.una;
  probe.left = distance(least, probe.right) > segmentBytes ? (probe.right - segmentBytes) | 0 : least;
}

/** What the acknowledgement at hand says about the probe: RFC 8985 §7.4. `isRepeated`: it says the same as the one before. */
export function receiveProbeAck(session: TcpSession, isRepeated: boolean): void {
  const { send, congestion, probe, environment } = session;
  if (!probe.isSent) return;
  const tcp = environment.inTcp;
  const isDoubled = tcp.sackCount > 0 && !isAfter(tcp.sackEdges[1] as number, tcp.acknowledgement);
  if (isBefore(send.una, probe.right)) {
    if (congestion.sacked.bytesWithin(probe.left, probe.right) < distance(probe.left, probe.right)) return;
    probe.clear();
    if (!isAfter(probe.left, send.una)) return;
    congestion.onProbeArrived(send.una, send.next, probe.left, session.segmentMaxBytes);
    environment.counters.fastRetransmits++;
    send.timedAtMs = Infinity;
  } else if (!probe.isRepeat || isDoubled || (isRepeated && send.una === probe.right)) {
    probe.clear();
  } else if (isAfter(send.una, probe.right)) {
    // The first one was lost and the probe repaired it, so nobody else will take notice.
    probe.clear();
    congestion.onProbeRepaired(session.segmentMaxBytes);
  }
}
