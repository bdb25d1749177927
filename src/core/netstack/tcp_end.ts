/**
 * How a session moves between states and how it ends. A session may be over for the peer (`closed`, `timeWait`) while the
 * owner still takes its last bytes: then it lingers, and only when all is taken is the owner told that it finished.
 */
import { clearTcpOptions, encodeTcp, ipHeaderBytes, TCP_HEADER_BYTES, TcpFlag } from "../wire/mod.ts";
import type { CounterName } from "./counters.ts";
import type { TcpSession } from "./tcp_session.ts";
import { type CloseWhy, nextTcpState, type TcpEvent } from "./tcp_state.ts";

const CLOSE_COUNTERS: Readonly<Record<CloseWhy, CounterName | null>> = {
  "finished": "sessionsFinished",
  "reset": "sessionsReset",
  "aborted": "sessionsAborted",
  "timeout": "sessionsTimedOut",
  "backend-timeout": "backendTimeouts",
  "idle": "sessionsIdle",
  "unfinished": "sessionsUnfinished",
  "unreachable": "sessionsReset",
  "path-closed": "sessionsAborted",
};

/** Applies an event of the protocol. What it means for the owner is settled here too. */
export function moveSession(session: TcpSession, event: TcpEvent): void {
  const next = nextTcpState(session.state, event);
  if (next === null) return;
  session.state = next;
  if (next === "timeWait") {
    session.stateEndsAtMs = session.environment.nowMs + session.environment.limits.timeWaitMs;
    session.retransmitAtMs = session.probeAtMs = Infinity;
    session.send.ring.release();
    settle(session);
  } else if (next === "closed") {
    session.environment.hooks.onUnlist(session);
    settle(session);
  }
}

/** After both FINs: finished, as soon as the owner has taken everything. */
export function settle(session: TcpSession): void {
  if (session.isReported) return;
  const { receive, environment } = session;
  session.isLingering = receive.ring.used > 0 || (receive.isFinReceived && !receive.isFinDelivered);
  if (session.isLingering) {
    session.stateEndsAtMs = environment.nowMs + environment.limits.idleMs;
    return;
  }
  if (session.state !== "timeWait") return endSession(session, "finished");
  session.stateEndsAtMs = environment.nowMs + environment.limits.timeWaitMs;
  receive.ring.release();
  environment.hooks.onTimeWait(session);
  report(session, "finished");
}

/** Ends the session now, from any state: everything it holds is given back, its handler is told if it was not yet. */
export function endSession(session: TcpSession, why: CloseWhy): void {
  const { environment } = session;
  session.state = "closed";
  session.isLingering = false;
  session.retransmitAtMs =
    session.probeAtMs =
    session.delayedAckAtMs =
    session.stateEndsAtMs =
      Infinity;
  environment.timers.cancel(session.timer);
  session.send.ring.release();
  session.receive.ring.release();
  session.receive.beyond.clear();
  session.congestion.sacked.clear();
  environment.hooks.onUnlist(session);
  environment.hooks.onRelease(session);
  report(session, why);
}

function report(session: TcpSession, why: CloseWhy): void {
  if (session.isReported) return;
  session.isReported = true;
  const counter = CLOSE_COUNTERS[why];
  if (counter !== null) session.environment.counters[counter]++;
  session.handler?.onClosed(session, why);
}

/** Resets the session: RST to the peer as far as it knows of us (RFC 9293 §3.10.5), the end here. */
export function resetSession(session: TcpSession, why: CloseWhy): void {
  const { state, send, receive } = session;
  if (state === "pending") queueReset(session, 0, (receive.initial + 1) | 0);
  else if (state !== "synSent" && state !== "closed" && state !== "timeWait") queueReset(session, send.next, receive.next);
  endSession(session, why);
}

/** Queues RST|ACK for the session's peer. */
function queueReset(session: TcpSession, sequence: number, acknowledgement: number): void {
  const { environment, path } = session;
  const bytes = ipHeaderBytes(session.ends.isIpv4) + TCP_HEADER_BYTES;
  const memory = path.isClosed ? null : path.control.reserve(bytes);
  if (memory === null) {
    environment.counters.controlDropped++;
    return;
  }
  const header = environment.outTcp;
  clearTcpOptions(header);
  header.sourcePort = session.localPort;
  header.destinationPort = session.remotePort;
  header.sequence = sequence;
  header.acknowledgement = acknowledgement;
  header.flags = TcpFlag.rst | TcpFlag.ack;
  header.window = 0;
  header.payloadBytes = 0;
  const wasReady = path.isReady;
  path.control.commit(encodeTcp(memory, 0, session.ends, header));
  environment.counters.resetsSent++;
  if (!wasReady) environment.hooks.onPathReady(path);
}
