/** Random messages of many connections: nothing reaches anybody but the two ends of a session, and nothing is left over. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { SignalMessage } from "../wire/mod.ts";
import { SIGNAL_LIMITS, SignalSessions } from "./mod.ts";

const AGENTS = [1, 2, 3];
const CONNECTORS = [11, 12];

const sessionId = fc.constantFrom(1n, 2n, 3n);
const message: fc.Arbitrary<SignalMessage> = fc.oneof(
  fc.record({
    kind: fc.constant("candidate-offer" as const),
    sessionId,
    service: fc.constantFrom("web", "web", "web", "db"),
    candidates: fc.constant([]),
  }),
  fc.record({ kind: fc.constant("candidate-answer" as const), sessionId, candidates: fc.constant([]) }),
  fc.record({ kind: fc.constant("start-punching" as const), sessionId, startDelayMs: fc.constant(0), candidates: fc.constant([]) }),
  fc.record({
    kind: fc.constant("punching-result" as const),
    sessionId,
    success: fc.boolean(),
    workingAddress: fc.constant(null),
  }),
  fc.record({
    kind: fc.constant("error" as const),
    sessionId: fc.option(sessionId),
    code: fc.constant("unknown" as const),
    message: fc.string(),
  }),
);
const step = fc.oneof(
  { weight: 20, arbitrary: fc.record({ peer: fc.constantFrom(...AGENTS, ...CONNECTORS, 99), message, waitMs: fc.nat(700) }) },
  { weight: 1, arbitrary: fc.record({ gone: fc.constantFrom(...AGENTS, ...CONNECTORS) }) },
);

Deno.test("random messages never reach a third connection", () => {
  let passedOn = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 60, maxLength: 120 }), (steps) => {
      const limits = { ...SIGNAL_LIMITS, sessionsMax: 5, sessionsPerAgentMax: 2, sessionsPerConnectorMax: 3 };
      let turn = 0;
      const sessions = new SignalSessions({
        isAgentForService: (peer, service) => AGENTS.includes(peer) && service === "web",
        connectorFor: () => CONNECTORS[turn++ % 2] ?? -1,
        agentShare: (peer) => `agent ${peer}`,
      }, { allowLoopback: false, limits });
      /** The two ends of every session that was ever begun, by the message that began it. */
      const pairs = new Set<string>();
      let nowMs = 0;
      for (const each of steps) {
        if ("gone" in each) {
          for (const { to } of sessions.removePeer(each.gone)) {
            assert(pairs.has(`${Math.min(each.gone, to)} ${Math.max(each.gone, to)}`));
          }
          continue;
        }
        nowMs += each.waitMs;
        for (const { to, message } of sessions.expire(nowMs)) {
          assert(AGENTS.includes(to) && message.kind === "error" && message.code === "session-timeout");
        }
        const { refused, sends } = sessions.handle(each.peer, each.message, nowMs);
        if (refused !== null) {
          assert(sends.every(({ to, message }) => to === each.peer && message.kind === "error"));
          assert(each.message.kind !== "error" || sends.length === 0);
          continue;
        }
        passedOn++;
        assert(each.message.kind !== "start-punching");
        for (const { to } of sends) {
          if (each.message.kind === "candidate-offer") pairs.add(`${each.peer} ${to}`);
          else if (to !== each.peer) assert(pairs.has(`${Math.min(each.peer, to)} ${Math.max(each.peer, to)}`));
        }
        assert(sessions.size <= 5);
      }
      sessions.expire(nowMs + 5000);
      assertEquals([sessions.size, sessions.nextMs], [0, Infinity]);
    }),
    { numRuns: 500 },
  );
  assert(passedOn > 1000, `only ${passedOn} messages were passed on: the test tests nothing`);
});
