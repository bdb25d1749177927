/** Signalling through the server: the way of a session, and everything that is refused. */
import { assert, assertEquals } from "@std/assert";
import type { Candidate, SignalMessage } from "../wire/mod.ts";
import {
  SESSION_TABLE,
  type SessionEvent,
  type SessionState,
  SIGNAL_LIMITS,
  type SignalLimits,
  type SignalOutcome,
  SignalSessions,
} from "./mod.ts";

const AGENT = 1;
const AGENT_2 = 2;
const CONNECTOR = 11;
const CONNECTOR_2 = 12;
const ID = 12345n;

function candidates(...ips: string[]): Candidate[] {
  return ips.map((ip) => ({ type: "host", address: { ip, port: 5000 }, priority: 1, foundation: "", relatedAddress: null }));
}

const OURS = candidates("192.0.2.1");
const THEIRS = candidates("198.51.100.1", "2001:db8::1");

class Rig {
  connector = CONNECTOR;
  readonly sessions: SignalSessions;

  constructor(limits: Partial<SignalLimits> = {}) {
    this.sessions = new SignalSessions({
      isAgentForService: (peer, service) => (peer === AGENT || peer === AGENT_2) && service === "web",
      connectorFor: () => this.connector,
      agentShare: () => "the same",
    }, { allowLoopback: false, limits: { ...SIGNAL_LIMITS, ...limits } });
  }

  offer(peer = AGENT, sessionId = ID, service = "web", list = OURS, nowMs = 0): SignalOutcome {
    return this.sessions.handle(peer, { kind: "candidate-offer", sessionId, service, candidates: list }, nowMs);
  }

  answer(peer = CONNECTOR, sessionId = ID, list = THEIRS): SignalOutcome {
    return this.sessions.handle(peer, { kind: "candidate-answer", sessionId, candidates: list }, 1);
  }

  result(peer: number, sessionId = ID): SignalOutcome {
    return this.sessions.handle(peer, { kind: "punching-result", sessionId, success: true, workingAddress: null }, 2);
  }

  error(peer: number, sessionId: bigint | null = ID, message = "no"): SignalOutcome {
    return this.sessions.handle(peer, { kind: "error", sessionId, code: "peer-rejected", message }, 2);
  }
}

/** Receivers and kinds of what is sent. */
function sent(sends: SignalOutcome["sends"]): string[] {
  return sends.map(({ to, message }) => `${to} ${message.kind === "error" ? message.code : message.kind}`);
}

function refusal(outcome: SignalOutcome): [string | null, string[]] {
  return [outcome.refused, sent(outcome.sends)];
}

Deno.test("offer, answer, start and result reach whom they should, with the other's candidates", () => {
  const rig = new Rig();
  assertEquals(rig.offer(), {
    refused: null,
    sends: [{ to: CONNECTOR, message: { kind: "candidate-offer", sessionId: ID, service: "web", candidates: OURS } }],
  });
  const start = (peer: number, list: Candidate[]) => ({
    to: peer,
    message: { kind: "start-punching", sessionId: ID, startDelayMs: 100, candidates: list } as SignalMessage,
  });
  assertEquals(rig.answer(), { refused: null, sends: [start(AGENT, THEIRS), start(CONNECTOR, OURS)] });
  const result: SignalMessage = { kind: "punching-result", sessionId: ID, success: true, workingAddress: null };
  assertEquals(rig.result(AGENT), { refused: null, sends: [{ to: CONNECTOR, message: result }] });
  assertEquals(rig.result(CONNECTOR), { refused: null, sends: [{ to: AGENT, message: result }] });
  assertEquals(rig.sessions.size, 0);
});

Deno.test("every state x event", () => {
  const reach: Record<SessionState, (rig: Rig) => void> = {
    "offered": (rig) => rig.offer(),
    "punching": (rig) => (rig.offer(), rig.answer()),
    "agent-reported": (rig) => (rig.offer(), rig.answer(), rig.result(AGENT)),
    "connector-reported": (rig) => (rig.offer(), rig.answer(), rig.result(CONNECTOR)),
    "closed": (rig) => (rig.offer(), rig.error(AGENT)),
  };
  const apply: Record<SessionEvent, (rig: Rig) => string> = {
    "answer": (rig) => refusal(rig.answer()).flat().join(", "),
    "agent-result": (rig) => refusal(rig.result(AGENT)).flat().join(", "),
    "connector-result": (rig) => refusal(rig.result(CONNECTOR)).flat().join(", "),
    "error": (rig) => refusal(rig.error(CONNECTOR)).flat().join(", "),
    "timeout": (rig) => ["", ...sent(rig.sessions.expire(5000))].join(", "),
    "gone": (rig) => ["", ...sent(rig.sessions.removePeer(AGENT))].join(", "),
  };
  const rows: string[] = [];
  for (const [state, events] of Object.entries(SESSION_TABLE) as [SessionState, Record<SessionEvent, SessionState | null>][]) {
    for (const [event, next] of Object.entries(events) as [SessionEvent, SessionState | null][]) {
      const rig = new Rig();
      reach[state](rig);
      const seen = apply[event](rig);
      assertEquals(rig.sessions.size, (next ?? state) === "closed" ? 0 : 1, `${state} + ${event}`);
      rows.push(`${state} + ${event} = ${next ?? "-"}:${seen}`);
    }
  }
  assertEquals(rows, [
    "offered + answer = punching:, 1 start-punching, 11 start-punching",
    "offered + agent-result = -:out-of-turn",
    "offered + connector-result = -:out-of-turn",
    "offered + error = closed:, 1 peer-rejected",
    "offered + timeout = closed:, 1 session-timeout",
    "offered + gone = closed:, 11 session-not-found",
    "punching + answer = -:out-of-turn, 11 invalid-message",
    "punching + agent-result = agent-reported:, 11 punching-result",
    "punching + connector-result = connector-reported:, 1 punching-result",
    "punching + error = closed:, 1 peer-rejected",
    "punching + timeout = closed:",
    "punching + gone = closed:, 11 session-not-found",
    "agent-reported + answer = -:out-of-turn, 11 invalid-message",
    "agent-reported + agent-result = -:out-of-turn",
    "agent-reported + connector-result = closed:, 1 punching-result",
    "agent-reported + error = closed:, 1 peer-rejected",
    "agent-reported + timeout = closed:",
    "agent-reported + gone = closed:, 11 session-not-found",
    "connector-reported + answer = -:out-of-turn, 11 invalid-message",
    "connector-reported + agent-result = closed:, 11 punching-result",
    "connector-reported + connector-result = -:out-of-turn",
    "connector-reported + error = closed:, 1 peer-rejected",
    "connector-reported + timeout = closed:",
    "connector-reported + gone = closed:, 11 session-not-found",
    "closed + answer = -:unknown-session, 11 session-not-found",
    "closed + agent-result = -:unknown-session",
    "closed + connector-result = -:unknown-session",
    "closed + error = -:unknown-session",
    "closed + timeout = -:",
    "closed + gone = -:",
  ]);
});

Deno.test("only a registered agent of the service may offer, and the answer does not tell whether the service exists", () => {
  const rig = new Rig();
  assertEquals(refusal(rig.offer(99)), ["not-an-agent", ["99 peer-rejected"]]);
  assertEquals(refusal(rig.offer(CONNECTOR)), ["not-an-agent", ["11 peer-rejected"]]);
  assertEquals(refusal(rig.offer(AGENT, ID, "db")), ["not-an-agent", ["1 peer-rejected"]]);
  assertEquals(rig.sessions.size, 0);
});

Deno.test("without a connector the agent is told, in the words that earlier agents know", () => {
  const rig = new Rig();
  rig.connector = -1;
  assertEquals(rig.offer(), {
    refused: "no-connector",
    sends: [{
      to: AGENT,
      message: {
        kind: "error",
        sessionId: ID,
        code: "no-connector-available",
        message: "No Connector available for service 'web'",
      },
    }],
  });
});

Deno.test("only the connector that was asked may answer", () => {
  const rig = new Rig();
  rig.offer();
  for (const peer of [CONNECTOR_2, AGENT_2, 99]) {
    assertEquals(refusal(rig.answer(peer)), ["unknown-session", [`${peer} session-not-found`]]);
  }
  assertEquals(refusal(rig.answer(AGENT)), ["not-yours", ["1 peer-rejected"]]);
  assertEquals(rig.answer().refused, null);
});

Deno.test("a session id in use is neither taken over nor shared", () => {
  const rig = new Rig();
  rig.offer();
  assertEquals(refusal(rig.offer()), ["session-in-use", ["1 invalid-message"]]);
  assertEquals(refusal(rig.offer(AGENT_2)), ["session-in-use", ["2 invalid-message"]]);
  // On another connector the same id means something else.
  rig.connector = CONNECTOR_2;
  assertEquals(rig.offer(AGENT_2).refused, null);
  assertEquals(sent(rig.answer(CONNECTOR_2).sends), ["2 start-punching", "12 start-punching"]);
  assertEquals(sent(rig.answer(CONNECTOR).sends), ["1 start-punching", "11 start-punching"]);
});

Deno.test("results and errors of strangers change nothing, and errors are never answered", () => {
  const rig = new Rig();
  rig.offer();
  rig.answer();
  assertEquals(refusal(rig.result(AGENT_2)), ["unknown-session", []]);
  assertEquals(refusal(rig.error(AGENT_2)), ["unknown-session", []]);
  assertEquals(refusal(rig.error(AGENT, null)), ["unknown-session", []]);
  assertEquals(rig.result(AGENT).refused, null);
});

Deno.test("a client cannot say start", () => {
  const rig = new Rig();
  rig.offer();
  const start: SignalMessage = { kind: "start-punching", sessionId: ID, startDelayMs: 0, candidates: THEIRS };
  for (const peer of [AGENT, CONNECTOR]) {
    assertEquals(refusal(rig.sessions.handle(peer, start, 1)), ["servers-message", [`${peer} invalid-message`]]);
  }
});

Deno.test("candidates are filtered in both directions", () => {
  const rig = new Rig();
  const offered = rig.offer(AGENT, ID, "web", candidates("127.0.0.1", "224.0.0.1", "192.0.2.1")).sends[0]?.message;
  assert(offered?.kind === "candidate-offer");
  assertEquals(offered.candidates, OURS);
  const starts = rig.answer(CONNECTOR, ID, candidates("0.0.0.0", "198.51.100.1", "255.255.255.255")).sends;
  assertEquals(starts.map(({ message }) => message.kind === "start-punching" && message.candidates), [
    candidates("198.51.100.1"),
    OURS,
  ]);
});

Deno.test("a session lasts 5 s from the offer, whatever happens", () => {
  const rig = new Rig();
  assertEquals(rig.sessions.nextMs, Infinity);
  rig.offer(AGENT, 1n, "web", OURS, 1000);
  rig.offer(AGENT, 2n, "web", OURS, 2000);
  rig.answer(CONNECTOR, 1n);
  assertEquals([rig.sessions.nextMs, rig.sessions.expire(5999).length, rig.sessions.size], [6000, 0, 2]);
  assertEquals([rig.sessions.expire(6000).length, rig.sessions.size, rig.sessions.nextMs], [0, 1, 7000]);
  assertEquals(sent(rig.sessions.expire(7000)), ["1 session-timeout"]);
  assertEquals(rig.sessions.size, 0);
});

Deno.test("the end of a connection ends its sessions and is told to the other sides", () => {
  const rig = new Rig();
  rig.offer(AGENT, 1n);
  rig.offer(AGENT_2, 2n);
  assertEquals(sent(rig.sessions.removePeer(CONNECTOR)), ["1 session-not-found", "2 session-not-found"]);
  assertEquals([rig.sessions.size, rig.sessions.removePeer(AGENT)], [0, []]);
});

Deno.test("what a peer writes in an error is harmless when it arrives", () => {
  const rig = new Rig();
  rig.offer();
  const message = rig.error(CONNECTOR, ID, "no\x1b[2J\n" + "x".repeat(2000)).sends[0]?.message;
  assert(message?.kind === "error");
  assert(message.message.startsWith("no\\u001b[2J\\u000a") && message.message.length <= 256);
});

Deno.test("sessions are bounded per agent, per identity, per connector and in all", () => {
  const perAgent = new Rig({ sessionsPerAgentMax: 1 });
  perAgent.offer(AGENT, 1n);
  assertEquals(refusal(perAgent.offer(AGENT, 2n)), ["agent-sessions", ["1 peer-rejected"]]);
  assertEquals(perAgent.offer(AGENT_2, 2n).refused, null);
  const perIdentity = new Rig({ sessionsPerIdentityMax: 1 });
  perIdentity.offer(AGENT, 1n);
  assertEquals(refusal(perIdentity.offer(AGENT_2, 2n)), ["identity-sessions", ["2 peer-rejected"]]);
  perIdentity.sessions.configure({ ...SIGNAL_LIMITS, sessionsPerIdentityMax: 2 });
  assertEquals(perIdentity.offer(AGENT_2, 2n).refused, null);
  perIdentity.sessions.removePeer(AGENT);
  assertEquals(perIdentity.offer(AGENT_2, 3n).refused, null);
  const perConnector = new Rig({ sessionsPerConnectorMax: 1 });
  perConnector.offer(AGENT, 1n);
  assertEquals(refusal(perConnector.offer(AGENT_2, 2n)), ["connector-sessions", ["2 peer-rejected"]]);
  const inAll = new Rig({ sessionsMax: 1 });
  inAll.offer(AGENT, 1n);
  assertEquals(refusal(inAll.offer(AGENT_2, 2n)), ["sessions-in-all", ["2 peer-rejected"]]);
  inAll.sessions.expire(5000);
  assertEquals(inAll.offer(AGENT_2, 2n).refused, null);
});
