/**
 * The states of a TCP session (RFC 9293 §3.3.2) and what moves it from one to the next. LISTEN is implicit: the owner of the
 * stack decides about each SYN, and until its backend answers the session is `pending`, which the peer cannot tell from a SYN
 * that is still on its way.
 *
 *      SYN came        owner accepts         our SYN acknowledged
 *   ┌─► pending ──────► synReceived ────────► established ──── close ───► finWait1 ─ finAcked ─► finWait2
 *   │   connect ► synSent ── synAck ─────────►     │ fin                    │ fin                   │ fin
 *   │                └─ syn ► synReceived          ▼                        ▼                       ▼
 *   │                                          closeWait ─ close ► lastAck  closing ─ finAcked ► timeWait
 *   └── closed ◄── end (reset, refusal, time-out, abort) from everywhere; finAcked from lastAck
 */

export type TcpState =
  | "pending"
  | "synSent"
  | "synReceived"
  | "established"
  | "finWait1"
  | "finWait2"
  | "closing"
  | "closeWait"
  | "lastAck"
  | "timeWait"
  | "closed";

export type TcpEvent =
  /** The owner takes the session: its backend is connected. */
  | "accept"
  /** A SYN with an acknowledgement of ours. */
  | "synAck"
  /** A SYN without one, while ours is on its way: both opened. */
  | "syn"
  /** Our SYN is acknowledged. */
  | "synAcked"
  /** The peer's FIN, all data before it received. */
  | "fin"
  /** The owner will send no more. */
  | "close"
  /** Our FIN is acknowledged. */
  | "finAcked"
  /** Reset by either side, refused, timed out. */
  | "end";

export const TCP_TRANSITIONS: Readonly<Record<TcpState, Readonly<Partial<Record<TcpEvent, TcpState>>>>> = {
  pending: { accept: "synReceived", end: "closed" },
  synSent: { synAck: "established", syn: "synReceived", end: "closed" },
  synReceived: { synAcked: "established", end: "closed" },
  established: { fin: "closeWait", close: "finWait1", end: "closed" },
  finWait1: { fin: "closing", finAcked: "finWait2", end: "closed" },
  finWait2: { fin: "timeWait", end: "closed" },
  closing: { finAcked: "timeWait", end: "closed" },
  closeWait: { close: "lastAck", end: "closed" },
  lastAck: { finAcked: "closed", end: "closed" },
  timeWait: { end: "closed" },
  closed: {},
};

/** The state after `event`, or null when the event means nothing in `state`. */
export function nextTcpState(state: TcpState, event: TcpEvent): TcpState | null {
  return TCP_TRANSITIONS[state][event] ?? null;
}

/** Whether both SYNs are acknowledged: sequence numbers of both sides are known to both (RFC 9293 §3.3.2). */
export function isSynchronized(state: TcpState): boolean {
  return state !== "pending" && state !== "synSent" && state !== "synReceived" && state !== "closed";
}

/** Whether the peer may still send data. */
export function mayReceive(state: TcpState): boolean {
  return state === "established" || state === "finWait1" || state === "finWait2";
}

/** Whether the owner may still write. */
export function mayWrite(state: TcpState): boolean {
  return state === "established" || state === "closeWait";
}

/** Why a session ended, as its handler is told, once. */
export type CloseWhy =
  /** Both FINs were sent and acknowledged. */
  | "finished"
  /** The peer sent RST, also in answer to our SYN. */
  | "reset"
  /** The owner's abort, or its refusal. */
  | "aborted"
  /** The peer no longer acknowledged, or never answered. */
  | "timeout"
  /** The owner gave no word about a SYN in time. */
  | "backend-timeout"
  | "idle"
  /** The owner stopped in the middle of its answer to a peer that has ended its direction. */
  | "unfinished"
  /** An ICMP error said that nobody is there, before the session stood. */
  | "unreachable"
  /** The path went away. */
  | "path-closed";
