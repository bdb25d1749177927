/**
 * What time does to a session: retransmission (RFC 6298 §5), probes of a closed window (RFC 9293 §3.8.6.1), delayed
 * acknowledgements, keepalives, and every limit on waiting. One timer serves all: it is armed for the earliest deadline and
 * never moved later while armed, so that a busy session costs the heap nothing.
 */
import { acknowledgeNow } from "./tcp_deliver.ts";
import { endSession, resetSession } from "./tcp_end.ts";
import { onProbeTimer } from "./loss_probe.ts";
import { shutdownSession } from "./tcp_owner.ts";
import type { TcpSession } from "./tcp_session.ts";
import { isSynchronized } from "./tcp_state.ts";

/** Arms the session's timer when something is due before it. */
export function scheduleSession(session: TcpSession): void {
  if (session.state === "closed" && !session.isLingering) return;
  const deadline = Math.min(
    session.retransmitAtMs,
    session.probeAtMs,
    session.delayedAckAtMs,
    session.stateEndsAtMs,
    quietEndsAtMs(session),
  );
  if (deadline < session.timer.deadlineMs) session.environment.timers.set(session.timer, deadline);
}

/** The timer fired: does what is due. */
export function onSessionTimer(session: TcpSession): void {
  const { environment } = session;
  const { nowMs } = environment;
  if (session.stateEndsAtMs <= nowMs) onStateEnd(session);
  if (session.retransmitAtMs <= nowMs) onRetransmit(session);
  if (session.probeAtMs <= nowMs) onProbeTimer(session);
  if (session.delayedAckAtMs <= nowMs) {
    session.delayedAckAtMs = Infinity;
    acknowledgeNow(session);
    environment.markReady(session);
  }
  if (quietEndsAtMs(session) <= nowMs) onQuiet(session);
  scheduleSession(session);
}

/** The state lasted as long as it may. */
function onStateEnd(session: TcpSession): void {
  const { environment, state } = session;
  session.stateEndsAtMs = Infinity;
  if (session.isLingering) {
    const endsAtMs = session.progressMs + environment.limits.idleMs;
    if (endsAtMs <= environment.nowMs) endSession(session, "idle");
    else session.stateEndsAtMs = endsAtMs;
  } else if (state === "timeWait") endSession(session, "finished");
  else if (state === "pending") resetSession(session, "backend-timeout");
  else {
    environment.counters.handshakeTimeouts++;
    resetSession(session, "timeout");
  }
}

function onRetransmit(session: TcpSession): void {
  const { environment, send, rtt, congestion, state } = session;
  const { nowMs } = environment;
  if (state === "synSent" || state === "synReceived") {
    send.isSynDue = true;
  } else if (send.una !== send.next) {
    // A peer that answers but keeps its window closed is alive: RFC 9293 §3.8.6.1.
    const sinceMs = send.windowBytes === 0 ? Math.max(session.heardMs, session.unansweredSinceMs) : session.unansweredSinceMs;
    if (nowMs - sinceMs >= environment.limits.userTimeoutMs) return resetSession(session, "timeout");
    environment.counters.retransmitTimeouts++;
    congestion.onTimeout(send.una, send.next, session.segmentMaxBytes, rtt.backoff > 0);
    session.probe.clear();
    session.probeAtMs = Infinity;
  } else {
    if (send.ring.used === 0 && (!send.isFinQueued || send.isFinSent)) {
      session.retransmitAtMs = Infinity;
      return;
    }
    session.unansweredSinceMs = Math.min(session.unansweredSinceMs, nowMs);
    if (nowMs - session.unansweredSinceMs >= environment.limits.userTimeoutMs) return resetSession(session, "timeout");
    environment.counters.windowProbes++;
    if (send.windowBytes > 0) send.isSmallAllowed = true;
    else send.isProbeDue = true;
  }
  send.timedAtMs = Infinity;
  rtt.backoff++;
  session.armRetransmit();
  environment.markReady(session);
}

/** When silence has to be answered: Infinity in a state that has its own end. */
function quietEndsAtMs(session: TcpSession): number {
  const { environment, state } = session;
  if (!isSynchronized(state) || state === "timeWait") return Infinity;
  const { limits } = environment;
  const idleAtMs = session.progressMs + limits.idleMs;
  const keepaliveAtMs = session.heardMs + limits.keepaliveMs + session.keepalivesSent * limits.keepaliveIntervalMs;
  const drainAtMs = isDraining(session) ? session.progressMs + limits.drainMs : Infinity;
  return Math.min(idleAtMs, keepaliveAtMs, drainAtMs);
}

/** The peer has ended its direction, everything of both is where it belongs, and the owner says nothing. */
function isDraining(session: TcpSession): boolean {
  return session.state === "closeWait" && session.receive.isFinDelivered && session.send.ring.used === 0;
}

function onQuiet(session: TcpSession): void {
  const { environment, send } = session;
  const { limits, nowMs, counters } = environment;
  if (isDraining(session) && session.progressMs + limits.drainMs <= nowMs) {
    // A FIN would make half an answer look whole.
    if (send.dataEnd !== session.receive.answerFrom) return resetSession(session, "unfinished");
    counters.sessionsDrained++;
    shutdownSession(session);
    session.progressMs = nowMs;
  } else if (session.progressMs + limits.idleMs <= nowMs) resetSession(session, "idle");
  else if (session.keepalivesSent >= limits.keepaliveProbesMax) resetSession(session, "timeout");
  else {
    counters.keepalives++;
    session.keepalivesSent++;
    send.isProbeDue = true;
    environment.markReady(session);
  }
}
