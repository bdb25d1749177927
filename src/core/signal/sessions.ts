/**
 * Signalling sessions at the server: who may say what to whom about a direct path (WIRE 6.6).
 *
 *   agent ──offer──► [agent of the service? id free?] ──offer──► one connector of the service
 *   connector ──answer──► [the one that was asked?] ──start-punching──► both, each with the other's candidates
 *   either ──result, error──► the other
 *
 * Every message has an outcome: what to send to whom, and why it was refused if it was. Messages come decoded
 * (core/wire), the rate of offers is limited before (core/ratelimit), sending is the caller's affair.
 */

import { assert, sanitizeForLog } from "../../base/mod.ts";
import type { Candidate, SignalError, SignalMessage } from "../wire/mod.ts";
import { type CandidateOptions, filterCandidates } from "./candidate_filter.ts";
import { SIGNAL_LIMITS, type SignalLimits } from "./limits.ts";
import { SESSION_TABLE, type SessionEvent, type SessionState } from "./session_table.ts";

/** What signalling asks about connections; the registry is one. */
export interface SignalDirectory {
  isAgentForService(peer: number, service: string): boolean;
  /** A connector of the service, -1 when there is none. */
  connectorFor(service: string): number;
  /** Whose share of the sessions an agent takes: its identity's, or its source's. */
  agentShare(peer: number): string;
}

export interface SignalSend {
  readonly to: number;
  readonly message: SignalMessage;
}

export type SignalRefusal =
  | "not-an-agent"
  | "no-connector"
  | "session-in-use"
  | "agent-sessions"
  | "identity-sessions"
  | "connector-sessions"
  | "sessions-in-all"
  | "unknown-session"
  | "not-yours"
  | "out-of-turn"
  | "servers-message";

export interface SignalOutcome {
  /** Null when the message was passed on. */
  readonly refused: SignalRefusal | null;
  readonly sends: readonly SignalSend[];
}

export interface SignalOptions extends CandidateOptions {
  readonly limits?: SignalLimits;
}

interface Session {
  readonly id: bigint;
  readonly service: string;
  readonly agent: number;
  readonly connector: number;
  readonly share: string;
  readonly agentCandidates: readonly Candidate[];
  readonly expiresAtMs: number;
  state: SessionState;
}

const NOTHING: readonly SignalSend[] = [];

export class SignalSessions {
  readonly #directory: SignalDirectory;
  readonly #options: SignalOptions;
  #limits: SignalLimits;
  /** In the order of creation, which is that of expiry. */
  readonly #sessions = new Set<Session>();
  /** The sessions of each connection, agent or connector, by their ids: an id means one thing on one connection. */
  readonly #byPeer = new Map<number, Map<bigint, Session>>();
  /** How many sessions agents of each share began. */
  readonly #byShare = new Map<string, number>();

  constructor(directory: SignalDirectory, options: SignalOptions) {
    this.#directory = directory;
    this.#options = options;
    this.#limits = options.limits ?? SIGNAL_LIMITS;
  }

  /** Other bounds from now on; what stands stays. */
  configure(limits: SignalLimits): void {
    this.#limits = limits;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** When {@linkcode expire} has something to do; Infinity when never. */
  get nextMs(): number {
    for (const session of this.#sessions) return session.expiresAtMs;
    return Infinity;
  }

  /** Takes in one message of a connection. */
  handle(peer: number, message: SignalMessage, nowMs: number): SignalOutcome {
    switch (message.kind) {
      case "candidate-offer":
        return this.#offer(peer, message.sessionId, message.service, message.candidates, nowMs);
      case "candidate-answer":
        return this.#answer(peer, message.sessionId, message.candidates);
      case "punching-result":
        return this.#result(peer, message);
      case "error":
        return this.#error(peer, message.sessionId, message.code, message.message);
      case "start-punching":
        return refuse("servers-message", peer, message.sessionId);
    }
  }

  /** Ends the sessions whose time is over. Agents that were never answered are told. */
  expire(nowMs: number): SignalSend[] {
    const sends: SignalSend[] = [];
    for (const session of this.#sessions) {
      if (session.expiresAtMs > nowMs) break;
      if (session.state === "offered") {
        sends.push(errorTo(session.agent, session.id, "session-timeout", "The connector did not answer in time"));
      }
      this.#advance(session, "timeout");
    }
    return sends;
  }

  /** Ends the sessions of a connection that ended. The other sides are told. */
  removePeer(peer: number): SignalSend[] {
    const sends: SignalSend[] = [];
    for (const session of [...this.#byPeer.get(peer)?.values() ?? []]) {
      const other = otherSide(session, peer);
      sends.push(errorTo(other, session.id, "session-not-found", "The other side of the session is gone"));
      this.#advance(session, "gone");
    }
    return sends;
  }

  #offer(agent: number, id: bigint, service: string, candidates: readonly Candidate[], nowMs: number): SignalOutcome {
    if (!this.#directory.isAgentForService(agent, service)) return refuse("not-an-agent", agent, id);
    if (this.#find(agent, id) !== undefined) return refuse("session-in-use", agent, id);
    if (this.#sessions.size >= this.#limits.sessionsMax) return refuse("sessions-in-all", agent, id);
    if (this.#countOf(agent) >= this.#limits.sessionsPerAgentMax) return refuse("agent-sessions", agent, id);
    const share = this.#directory.agentShare(agent);
    if ((this.#byShare.get(share) ?? 0) >= this.#limits.sessionsPerIdentityMax) return refuse("identity-sessions", agent, id);
    const connector = this.#directory.connectorFor(service);
    if (connector < 0) {
      const text = `No Connector available for service '${sanitizeForLog(service)}'`;
      return { refused: "no-connector", sends: [errorTo(agent, id, "no-connector-available", text)] };
    }
    // Two agents chose one id: the connector could not tell them apart.
    if (this.#find(connector, id) !== undefined) return refuse("session-in-use", agent, id);
    if (this.#countOf(connector) >= this.#limits.sessionsPerConnectorMax) return refuse("connector-sessions", agent, id);
    const agentCandidates = filterCandidates(candidates, this.#options);
    const expiresAtMs = nowMs + this.#limits.lifetimeMs;
    this.#add({ id, service, agent, connector, share, agentCandidates, expiresAtMs, state: "offered" });
    const message: SignalMessage = { kind: "candidate-offer", sessionId: id, service, candidates: agentCandidates };
    return { refused: null, sends: [{ to: connector, message }] };
  }

  #answer(peer: number, id: bigint, candidates: readonly Candidate[]): SignalOutcome {
    const session = this.#find(peer, id);
    if (session === undefined) return refuse("unknown-session", peer, id);
    if (session.connector !== peer) return refuse("not-yours", peer, id);
    if (!this.#advance(session, "answer")) return refuse("out-of-turn", peer, id);
    const start = (to: number, theirs: readonly Candidate[]): SignalSend => ({
      to,
      message: { kind: "start-punching", sessionId: id, startDelayMs: this.#limits.startDelayMs, candidates: theirs },
    });
    const connectorCandidates = filterCandidates(candidates, this.#options);
    return { refused: null, sends: [start(session.agent, connectorCandidates), start(session.connector, session.agentCandidates)] };
  }

  // Results often come after a session's time; nobody is told that they were late.
  #result(peer: number, message: SignalMessage & { readonly kind: "punching-result" }): SignalOutcome {
    const session = this.#find(peer, message.sessionId);
    if (session === undefined) return { refused: "unknown-session", sends: NOTHING };
    const event = session.agent === peer ? "agent-result" : "connector-result";
    if (!this.#advance(session, event)) return { refused: "out-of-turn", sends: NOTHING };
    return { refused: null, sends: [{ to: otherSide(session, peer), message }] };
  }

  // An error is never answered with an error.
  #error(peer: number, id: bigint | null, code: SignalError, text: string): SignalOutcome {
    const session = id === null ? undefined : this.#find(peer, id);
    if (session === undefined) return { refused: "unknown-session", sends: NOTHING };
    this.#advance(session, "error");
    return { refused: null, sends: [errorTo(otherSide(session, peer), session.id, code, sanitizeForLog(text))] };
  }

  #find(peer: number, id: bigint): Session | undefined {
    return this.#byPeer.get(peer)?.get(id);
  }

  #countOf(peer: number): number {
    return this.#byPeer.get(peer)?.size ?? 0;
  }

  #add(session: Session): void {
    this.#sessions.add(session);
    this.#byShare.set(session.share, (this.#byShare.get(session.share) ?? 0) + 1);
    for (const peer of [session.agent, session.connector]) {
      const own = this.#byPeer.get(peer) ?? new Map<bigint, Session>();
      own.set(session.id, session);
      this.#byPeer.set(peer, own);
    }
  }

  /** Moves the session on; forgets it when it is closed. False when the event is out of turn. */
  #advance(session: Session, event: SessionEvent): boolean {
    const next = SESSION_TABLE[session.state][event];
    if (next === null) return false;
    session.state = next;
    if (next !== "closed") return true;
    this.#sessions.delete(session);
    const left = (this.#byShare.get(session.share) ?? 0) - 1;
    if (left > 0) this.#byShare.set(session.share, left);
    else this.#byShare.delete(session.share);
    for (const peer of [session.agent, session.connector]) {
      const own = this.#byPeer.get(peer);
      assert(own !== undefined, "a session's peer has no sessions");
      own.delete(session.id);
      if (own.size === 0) this.#byPeer.delete(peer);
    }
    return true;
  }
}

function otherSide(session: Session, peer: number): number {
  return session.agent === peer ? session.connector : session.agent;
}

const REFUSALS: Readonly<Record<SignalRefusal, readonly [SignalError, string]>> = {
  "not-an-agent": ["peer-rejected", "Not registered as an agent of this service"],
  "no-connector": ["no-connector-available", "No Connector available"],
  "session-in-use": ["invalid-message", "The session id is in use"],
  "agent-sessions": ["peer-rejected", "Too many sessions on this connection"],
  "identity-sessions": ["peer-rejected", "Too many sessions of this identity"],
  "connector-sessions": ["peer-rejected", "The connector has too many sessions"],
  "sessions-in-all": ["peer-rejected", "The server has too many sessions"],
  "unknown-session": ["session-not-found", "No such session"],
  "not-yours": ["peer-rejected", "Only the connector that was asked may answer"],
  "out-of-turn": ["invalid-message", "The message is out of turn"],
  "servers-message": ["invalid-message", "Only the server sends this message"],
};

function refuse(why: SignalRefusal, to: number, id: bigint): SignalOutcome {
  const [code, text] = REFUSALS[why];
  return { refused: why, sends: [errorTo(to, id, code, text)] };
}

function errorTo(to: number, sessionId: bigint, code: SignalError, text: string): SignalSend {
  return { to, message: { kind: "error", sessionId, code, message: text } };
}
