/**
 * What we tell the peer that it may send: room in the session's receive ring, which fills when the owner takes nothing. The
 * end of the window never moves back, and moves on only in steps worth a segment (RFC 9293 §3.8.6.2.2).
 */
import type { TcpSession } from "./tcp_session.ts";
import { BUFFER_MIN_BYTES, RECEIVE_WINDOW_FIRST_BYTES } from "./limits.ts";
import { distance, laterOf } from "./sequence.ts";

/** The shift that lets a 16-bit field name a window of `bytes` (RFC 7323 §2.2). */
export function scaleFor(bytes: number): number {
  let scale = 0;
  while (scale < 14 && 0xffff * 2 ** scale < bytes) scale++;
  return scale;
}

/** Half a window within so much of a round trip says that the peer waits for the window: a third of it is not needed otherwise. */
const GROWTH_ROUND_TRIPS = 0.75;
/** The first window is enough for 200 Mbit/s on a shorter path; more would only wait in queues there. */
const GROWTH_ROUND_TRIP_MIN_MS = 20;

/** What a new session may be told: all that its ring can hold comes only when it is used. */
export function firstWindowBytes(ringMaxBytes: number): number {
  return Math.min(ringMaxBytes, RECEIVE_WINDOW_FIRST_BYTES);
}

/**
 * Data came in order: a peer that fills half the window in about a round trip gets a larger one, provided that the owner takes
 * what comes. So a long path is filled, and who only asks for much memory does not get it.
 */
export function growWindow(session: TcpSession): void {
  const { receive, rtt, environment } = session;
  const { ring, allowedBytes } = receive;
  if (allowedBytes >= ring.maxBytes || 2 * distance(receive.measuredFrom, receive.next) < allowedBytes) return;
  const tookMs = environment.nowMs - receive.measuredSinceMs;
  const isLong = rtt.hasSample && rtt.smoothedMs >= GROWTH_ROUND_TRIP_MIN_MS;
  receive.measuredFrom = receive.next;
  receive.measuredSinceMs = environment.nowMs;
  if (isLong && tookMs <= GROWTH_ROUND_TRIPS * rtt.smoothedMs && 4 * ring.used < allowedBytes) {
    receive.allowedBytes = Math.min(ring.maxBytes, 2 * allowedBytes);
  }
}

/** How much the ring may hold: what the session is allowed, less when all rings together near their bound. */
function receiveLimitBytes(session: TcpSession): number {
  const { ring, allowedBytes } = session.receive;
  const fair = Math.max(ring.capacity, BUFFER_MIN_BYTES + Math.floor(session.environment.pool.freeBytes / 4));
  return Math.min(allowedBytes, fair);
}

/** How far the window's end could move on now, in bytes; below zero when it was told further than there is room now. */
function windowGainBytes(session: TcpSession): number {
  const { receive } = session;
  const freeBytes = Math.max(0, receiveLimitBytes(session) - receive.ring.used);
  return distance(receive.edge, (receive.next + freeBytes) | 0);
}

/** The window field of a segment that is sent now; what it says is remembered as told. */
export function windowField(session: TcpSession, isSyn: boolean): number {
  const { receive } = session;
  const limitBytes = receiveLimitBytes(session);
  const freeBytes = Math.max(0, limitBytes - receive.ring.used);
  const scale = isSyn ? 0 : receive.scale;
  let field: number;
  if (windowGainBytes(session) >= Math.min(limitBytes / 2, session.segmentMaxBytes)) {
    field = freeBytes >> scale;
  } else {
    const openBytes = Math.max(0, distance(receive.next, receive.edge));
    // Rounded up, for the end must not move back; down only where the buffer would not hold the difference.
    field = (openBytes + (1 << scale) - 1) >> scale;
    if (field << scale > freeBytes) field = openBytes >> scale;
  }
  field = Math.min(0xffff, field);
  receive.edge = laterOf(receive.edge, (receive.next + (field << scale)) | 0);
  return field;
}

/** Whether the owner has taken so much that the peer should hear of it at once. */
export function isWindowUpdateDue(session: TcpSession): boolean {
  const { receive } = session;
  const limitBytes = receiveLimitBytes(session);
  const openBytes = Math.max(0, distance(receive.next, receive.edge));
  return openBytes < limitBytes / 2 && windowGainBytes(session) >= Math.min(limitBytes / 2, 2 * session.segmentMaxBytes);
}
