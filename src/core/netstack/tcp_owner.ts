/**
 * What the owner of a session may say: take it or refuse it, write, end its direction, abort, and that it can take data again.
 * Each is harmless on a session that is already over.
 */
import type { PacketMemory } from "../wire/mod.ts";
import { keyedHash } from "./keyed_hash.ts";
import { acknowledgeNow, deliver } from "./tcp_deliver.ts";
import { moveSession, resetSession } from "./tcp_end.ts";
import type { TcpSession } from "./tcp_session.ts";
import { mayWrite } from "./tcp_state.ts";
import { isWindowUpdateDue } from "./tcp_window.ts";

/** A session may hold this much to begin with, and twice its congestion window when that has grown. */
const SEND_ROOM_MIN_BYTES = 32 * 1024;
const WORTH_SEGMENTS = 8;

/** The backend is connected: the SYN is answered. False when the session no longer waits for that. */
export function acceptSession(session: TcpSession): boolean {
  if (session.state !== "pending") return false;
  const { environment } = session;
  moveSession(session, "accept");
  beginHandshake(session);
  session.stateEndsAtMs = environment.nowMs + environment.limits.handshakeMs;
  return true;
}

/** Chooses our first number and queues the SYN. */
export function beginHandshake(session: TcpSession): void {
  const { send, environment } = session;
  send.initial = initialSequence(session);
  send.una = send.next = send.initial;
  send.base = (send.initial + 1) | 0;
  send.isSynDue = true;
  environment.markReady(session);
}

const hashWords = new Int32Array(10);

/** RFC 6528 §3: a clock of 4 µs, plus a keyed function of the flow. */
function initialSequence(session: TcpSession): number {
  const { ends, environment, path } = session;
  hashWords[0] = path.id;
  hashWords[1] = ends.source0;
  hashWords[2] = ends.source1;
  hashWords[3] = ends.source2;
  hashWords[4] = ends.source3;
  hashWords[5] = ends.destination0;
  hashWords[6] = ends.destination1;
  hashWords[7] = ends.destination2;
  hashWords[8] = ends.destination3;
  hashWords[9] = session.localPort << 16 | session.remotePort;
  return (Math.floor(environment.nowMs * 250) + keyedHash(environment.key, hashWords, hashWords.length)) | 0;
}

/** How many bytes a write takes now. Also where the owner learns how much to read from its own side. */
export function sendRoomBytes(session: TcpSession): number {
  const { send, congestion } = session;
  if (send.isFinQueued || !mayWrite(session.state)) return 0;
  const wantedBytes = Math.max(SEND_ROOM_MIN_BYTES, 2 * congestion.windowBytes);
  return Math.max(0, Math.min(wantedBytes, send.ring.reachableBytes) - send.ring.used);
}

/** Whether there is so much room that waking the owner is worth it: a quarter of what it may fill, or some segments. */
export function isWorthWriting(session: TcpSession): boolean {
  const roomBytes = sendRoomBytes(session);
  return roomBytes > 0 && (3 * roomBytes >= session.send.ring.used || roomBytes >= WORTH_SEGMENTS * session.segmentMaxBytes);
}

/** Takes bytes for the peer and returns how many. */
export function writeSession(session: TcpSession, memory: PacketMemory, offset: number, length: number): number {
  const { send } = session;
  let taken = Math.min(length, sendRoomBytes(session));
  if (taken > 0 && !send.ring.reserve(send.ring.used + taken)) {
    taken = Math.max(0, Math.min(taken, send.ring.capacity - send.ring.used));
  }
  if (taken > 0) {
    send.ring.put(send.ring.used, memory, offset, taken);
    send.ring.used += taken;
    session.progressMs = session.environment.nowMs;
    session.environment.markReady(session);
  }
  if (taken < length && mayWrite(session.state)) send.isOwnerWaiting = true;
  return taken;
}

/** The owner will write no more: a FIN follows what was written. Before the handshake is done it waits for that. */
export function shutdownSession(session: TcpSession): void {
  const { send, state } = session;
  if (send.isFinQueued || state === "closed" || state === "timeWait") return;
  send.isFinQueued = true;
  moveSession(session, "close");
  session.environment.markReady(session);
}

/** Ends the session at once: RST to the peer. */
export function abortSession(session: TcpSession): void {
  if (!session.isReported) resetSession(session, "aborted");
}

/** The owner wants nothing of it: RST|ACK to the peer, and nobody is told. */
export function refuseSession(session: TcpSession): void {
  session.isReported = true;
  resetSession(session, "aborted");
}

/** The owner can take data again: it is offered what waits, and the peer hears of the larger window. */
export function resumeSession(session: TcpSession): void {
  if (session.isReported || session.state === "pending") return;
  deliver(session);
  // Behind the peer's FIN there is nothing that a larger window would let through.
  if (session.isReported || session.receive.isFinReceived || !isWindowUpdateDue(session)) return;
  acknowledgeNow(session);
  session.environment.markReady(session);
}
