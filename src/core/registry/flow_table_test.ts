/** Answers find their way: learning, expiry, pools, and every reason to drop. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { A, answerAsSeen, B, C1, C2, KINDS, PING, Rig, TCP, UDP } from "./flow_rig_fixture.ts";
import { FlowDrop, flowDropName } from "./mod.ts";
import { answerTo, buildError, buildPacket } from "./sample_packets_fixture.ts";

Deno.test("an answer reaches the agent that asked, unchanged, for every protocol and family", () => {
  for (const sample of KINDS) {
    const rig = new Rig();
    const packet = buildPacket(sample);
    const slot = rig.up(A, packet);
    assertEquals([rig.flows.connectorOf(slot), rig.flows.serviceOf(slot)], [C1, rig.service]);
    assertEquals(packet, buildPacket(sample));
    const answer = buildPacket(answerTo(sample));
    assertEquals(rig.answer(C1, answer), A);
    assertEquals(answer, buildPacket(answerTo(sample)));
  }
});

Deno.test("what nobody asked for is dropped", () => {
  for (const sample of KINDS) {
    const rig = new Rig();
    rig.up(A, buildPacket(sample));
    for (const change of [{ source: 2 }, { destination: 901 }, { sourcePort: 5001 }]) {
      assertEquals(rig.answer(C1, buildPacket(answerTo({ ...sample, ...change }))), "unknownFlow");
    }
    const other = sample.protocol === "udp" ? "tcp" : "udp";
    assertEquals(rig.answer(C1, buildPacket(answerTo({ ...sample, protocol: other }))), "unknownFlow");
  }
});

Deno.test("an answer in another service's name is dropped", () => {
  const rig = new Rig();
  const db = rig.connect(C1, "db");
  rig.up(A, buildPacket(UDP));
  assertEquals(rig.answer(C1, buildPacket(answerTo(UDP)), db), "unknownFlow");
  assertEquals(rig.answer(C1, buildPacket(answerTo(UDP)), -1), A);
});

Deno.test("an answer from another connector of the pool is dropped", () => {
  const rig = new Rig();
  rig.connect(C2, "web");
  const slot = rig.up(A, buildPacket(UDP));
  const other = rig.flows.connectorOf(slot) === C1 ? C2 : C1;
  assertEquals(rig.answer(other, buildPacket(answerTo(UDP))), "otherConnector");
  assertEquals(rig.answer(other, buildPacket(answerTo(UDP)), -1), "otherConnector");
});

Deno.test("a flow keeps its connector, new flows are spread, and a lost connector's flows move", () => {
  const rig = new Rig();
  rig.connect(C2, "web");
  const connectors = [0, 1, 2, 3].map((i) => rig.flows.connectorOf(rig.up(A, buildPacket({ ...UDP, sourcePort: i }))));
  assertEquals([...connectors].sort(), [C1, C1, C2, C2]);
  const again = [0, 1, 2, 3].map((i) => rig.flows.connectorOf(rig.up(A, buildPacket({ ...UDP, sourcePort: i }))));
  assertEquals(again, connectors);
  rig.registry.unregister(C1);
  for (let i = 0; i < 4; i++) assertEquals(rig.flows.connectorOf(rig.up(A, buildPacket({ ...UDP, sourcePort: i }))), C2);
  assertEquals(rig.answer(C2, buildPacket(answerTo({ ...UDP, sourcePort: 0 }))), A);
  rig.registry.unregister(C2);
  assertEquals(rig.up(A, buildPacket(UDP)), FlowDrop.noConnector);
  assertEquals(rig.up(A, buildPacket({ ...UDP, sourcePort: 9 })), FlowDrop.noConnector);
});

Deno.test("flows end after 120, 60 and 30 seconds without a packet, and packets of either end renew them", () => {
  for (const [sample, idleMs] of [[TCP, 120_000], [UDP, 60_000], [PING, 30_000]] as const) {
    const rig = new Rig();
    rig.up(A, buildPacket(sample));
    rig.nowMs += idleMs - 1;
    assertEquals(rig.answer(C1, buildPacket(answerTo(sample))), A);
    rig.nowMs += idleMs - 1;
    assertEquals(rig.answer(C1, buildPacket(answerTo(sample))), A);
    rig.nowMs += idleMs;
    assertEquals(rig.answer(C1, buildPacket(answerTo(sample))), "unknownFlow");
    rig.up(A, buildPacket(sample));
    assertEquals(rig.answer(C1, buildPacket(answerTo(sample))), A);
  }
});

Deno.test("an agent cannot answer pings and a connector cannot send them", () => {
  const rig = new Rig();
  assertEquals(flowDropName(rig.up(A, buildPacket({ ...PING, isReply: true }))), "icmpType");
  rig.up(A, buildPacket(PING));
  assertEquals(rig.answer(C1, buildPacket({ ...answerTo(PING), isReply: false })), "icmpType");
});

Deno.test("non-IP, wrong lengths, fragments, extension headers and other protocols are dropped with their reason", () => {
  const rig = new Rig();
  const change = (packet: Uint8Array, at: number, ...values: number[]): Uint8Array => {
    packet.set(values, at);
    return packet;
  };
  const v6 = { ...UDP, family: 6 as const };
  const cases: [string, Uint8Array][] = [
    ["notIp", new Uint8Array()],
    ["notIp", Uint8Array.of(0xff)],
    ["badLength", new TextEncoder().encode("Hello")],
    ["notIp", change(buildPacket(UDP), 0, 0x55)],
    ["badLength", buildPacket(UDP).subarray(0, 19)],
    ["badLength", buildPacket(UDP).subarray(0, 30)],
    ["badLength", new Uint8Array([...buildPacket(UDP), 0])],
    ["badLength", change(buildPacket(UDP), 0, 0x44)],
    ["badLength", change(buildPacket(UDP), 0, 0x4f)],
    ["badLength", change(buildPacket(TCP).subarray(0, 39), 2, 0, 39)],
    ["badLength", buildPacket(v6).subarray(0, 39)],
    ["badLength", buildPacket(v6).subarray(0, 45)],
    ["fragment", change(buildPacket(UDP), 6, 0x20)],
    ["fragment", change(buildPacket(UDP), 6, 0, 1)],
    ["fragment", change(buildPacket(v6), 6, 44)],
    ["protocol", change(buildPacket(v6), 6, 0)],
    ["protocol", change(buildPacket(UDP), 9, 47)],
    ["protocol", change(buildPacket(UDP), 9, 58)],
    ["icmpType", change(buildPacket(PING), 20, 5)],
    ["icmpType", change(buildPacket(PING), 20, 13)],
  ];
  for (const [expected, packet] of cases) {
    assertEquals(flowDropName(rig.up(A, packet)), expected);
    assertEquals(rig.answer(C1, packet), expected);
  }
  assertEquals(rig.flows.size, 0);
  const dontFragment = change(buildPacket(UDP), 6, 0x40);
  assert(rig.up(A, dontFragment) >= 0);
});

Deno.test("flows of two services on one connector that names none never look the same", () => {
  const rig = new Rig();
  const db = rig.connect(C1, "db");
  rig.registry.registerAgent(B, "db");
  rig.up(A, buildPacket(UDP));
  const seen = buildPacket(UDP);
  rig.up(B, seen, db);
  assertNotEquals(seen, buildPacket(UDP));
  assertEquals(rig.answer(C1, answerAsSeen(seen, UDP), -1), B);
  assertEquals(rig.answer(C1, buildPacket(answerTo(UDP)), -1), A);
});

Deno.test("an answer that could belong to flows of two services is dropped", () => {
  const rig = new Rig();
  const db = rig.connect(C2, "db");
  rig.registry.registerAgent(B, "db");
  rig.up(A, buildPacket(UDP));
  rig.up(B, buildPacket(UDP), db);
  // Both flows move to one connector, which has only now begun to serve both services.
  const both = 13;
  rig.connect(both, "web");
  rig.connect(both, "db");
  rig.registry.unregister(C1);
  rig.registry.unregister(C2);
  rig.up(A, buildPacket(UDP));
  rig.up(B, buildPacket(UDP), db);
  assertEquals(rig.answer(both, buildPacket(answerTo(UDP)), -1), "ambiguous");
  assertEquals(rig.answer(both, buildPacket(answerTo(UDP)), db), B);
});

Deno.test("arbitrary and damaged packets never throw, and what is dropped is not touched", () => {
  const good = KINDS.flatMap((sample) => [sample, answerTo(sample)]).map((sample) => buildPacket(sample));
  const errors = good.map((packet) => buildError(packet));
  const damage = fc.array(fc.tuple(fc.nat(99), fc.nat(255)), { maxLength: 4 });
  const damaged = fc.tuple(fc.constantFrom(...good, ...errors), damage, fc.nat(120)).map(([packet, changes, length]) => {
    const copy = packet.slice(0, length);
    for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
    return copy;
  });
  const rig = new Rig();
  for (const sample of KINDS) for (const agent of [A, B]) rig.up(agent, buildPacket(sample));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), damaged), fc.boolean(), (packet, isUp) => {
      // Something stands before and behind the packet, as in the arena.
      const arena = new Uint8Array(packet.length + 64).fill(0x45);
      arena.set(packet, 32);
      const before = arena.slice();
      const slot = isUp
        ? rig.flows.fromAgent(B, rig.service, arena, 32, packet.length, rig.nowMs)
        : rig.flows.fromConnector(C1, rig.service, arena, 32, packet.length, rig.nowMs);
      if (slot < 0) {
        assert(flowDropName(slot) !== null);
        assertEquals(arena, before);
      } else {
        if (isUp) assertEquals(rig.flows.agentOf(slot), B);
        assertEquals([arena.subarray(0, 32), arena.subarray(-32)], [before.subarray(0, 32), before.subarray(-32)]);
      }
    }),
    { numRuns: 5000 },
  );
});
