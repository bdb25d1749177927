/** What happens to flows when agents go, come back and take too much. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { type ConnectorDirectory, FLOW_LIMITS, flowDropName, FlowTable } from "./mod.ts";
import { addressesOf, answerTo, buildPacket, type Sample } from "./sample_packets_fixture.ts";

const SERVICE = 1;
const CONNECTOR = 9;
const TCP: Sample = { protocol: "tcp", source: 1, destination: 900, sourcePort: 5000, destinationPort: 53 };
const UDP: Sample = { ...TCP, protocol: "udp" };

class Rig implements ConnectorDirectory {
  readonly epoch = 1;
  readonly identities = new Map<number, string>();
  readonly sources = new Map<number, string>();
  readonly flows: FlowTable;
  nowMs = 0;

  constructor(limits = {}) {
    let state = 1;
    this.flows = new FlowTable(this, () => state = (Math.imul(state, 1664525) + 1013904223) >>> 0, { ...FLOW_LIMITS, ...limits });
  }

  connectorForFlow(): number {
    return CONNECTOR;
  }

  connectorServices(): readonly number[] {
    return [SERVICE];
  }

  agentIdentity(peer: number): string | null {
    return this.identities.get(peer) ?? null;
  }

  agentShare(peer: number): string {
    return this.identities.get(peer) ?? this.sources.get(peer) ?? "elsewhere";
  }

  /** Sends as the agent; returns whether the source was left as it is, or the drop. */
  up(agent: number, sample: Sample): "own" | "rewritten" | string | null {
    const packet = buildPacket(sample);
    const slot = this.flows.fromAgent(agent, SERVICE, packet, 0, packet.length, this.nowMs);
    if (slot < 0) return flowDropName(slot);
    return addressesOf(packet).source.join() === addressesOf(buildPacket(sample)).source.join() ? "own" : "rewritten";
  }

  /** Answers to the unchanged addresses; returns the agent reached, or the drop. */
  down(sample: Sample): number | string | null {
    const packet = buildPacket(answerTo(sample));
    const slot = this.flows.fromConnector(CONNECTOR, SERVICE, packet, 0, packet.length, this.nowMs);
    return slot < 0 ? flowDropName(slot) : this.flows.agentOf(slot);
  }
}

Deno.test("when an agent goes, its answers are dropped and reach no successor", () => {
  const rig = new Rig();
  rig.up(1, TCP);
  rig.flows.removeAgent(1);
  assertEquals(rig.down(TCP), "unknownFlow");
  assertEquals(rig.up(2, TCP), "rewritten");
  assertEquals(rig.down(TCP), "unknownFlow");
});

Deno.test("the number of an agent that went can be given to another at once", () => {
  const rig = new Rig();
  rig.up(1, TCP);
  rig.flows.removeAgent(1);
  assertEquals(rig.down(TCP), "unknownFlow");
  assertEquals(rig.up(1, TCP), "rewritten");
  assertEquals([rig.flows.flowsOf(1), rig.flows.size], [1, 2]);
});

Deno.test("addresses are free again when the connector has been silent for long enough", () => {
  const rig = new Rig();
  rig.up(1, TCP);
  rig.flows.removeAgent(1);
  rig.nowMs = 239_999;
  assertEquals(rig.down(TCP), "unknownFlow");
  // The connector still sends: its session lives, and what it sends must reach nobody.
  rig.nowMs += 119_999;
  assertEquals(rig.up(2, TCP), "rewritten");
  rig.nowMs += 1;
  assertEquals(rig.up(3, TCP), "own");
});

Deno.test("a flow that has expired lingers: others get other addresses, its agent gets it back", () => {
  const rig = new Rig();
  rig.up(1, UDP);
  rig.nowMs += 60_000;
  assertEquals(rig.down(UDP), "unknownFlow");
  assertEquals(rig.up(2, UDP), "rewritten");
  assertEquals(rig.up(1, UDP), "own");
  assertEquals(rig.down(UDP), 1);
});

Deno.test("a new connection of the same identity gets its flows back, also rewritten ones", () => {
  const rig = new Rig();
  for (const [peer, identity] of [[1, "a"], [2, "b"], [3, "a"], [4, "b"], [5, "c"]] as const) rig.identities.set(peer, identity);
  rig.up(1, TCP);
  const before = buildPacket(TCP);
  rig.flows.fromAgent(2, SERVICE, before, 0, before.length, 0);
  rig.flows.removeAgent(1);
  rig.flows.removeAgent(2);
  assertEquals(rig.up(5, TCP), "rewritten");
  assertEquals(rig.up(3, TCP), "own");
  assertEquals(rig.down(TCP), 3);
  const after = buildPacket(TCP);
  rig.flows.fromAgent(4, SERVICE, after, 0, after.length, 0);
  assertEquals(after, before);
  assertNotEquals(after, buildPacket(TCP));
});

Deno.test("an agent without identity gets nothing back", () => {
  const rig = new Rig();
  rig.up(1, TCP);
  rig.flows.removeAgent(1);
  rig.identities.set(2, "a");
  assertEquals([rig.up(2, TCP), rig.up(3, TCP)], ["rewritten", "rewritten"]);
});

Deno.test("one agent cannot take more than its share", () => {
  const rig = new Rig({ flowsMax: 1024, flowsPerAgentMax: 100 });
  const results = Array.from({ length: 150 }, (_, i) => rig.up(1, { ...UDP, sourcePort: i }));
  assertEquals(results.filter((result) => result === "agentFull").length, 50);
  assertEquals(rig.up(2, UDP), "own");
  assertEquals(rig.up(1, { ...UDP, sourcePort: 0 }), "own");
  rig.nowMs += 70_000;
  rig.flows.sweep(rig.nowMs, 1024);
  assertEquals([rig.flows.size, rig.flows.counters.expired], [0, 101]);
  assertEquals(rig.up(1, { ...UDP, sourcePort: 149 }), "own");
});

Deno.test("one identity cannot take more than its share by many connections, also ones that ended", () => {
  const rig = new Rig({ flowsMax: 1024, flowsPerAgentMax: 100, flowsPerIdentityMax: 250 });
  for (let agent = 1; agent <= 4; agent++) rig.identities.set(agent, "greedy");
  rig.identities.set(9, "modest");
  const results: unknown[] = [];
  for (let agent = 1; agent <= 4; agent++) {
    for (let i = 0; i < 100; i++) results.push(rig.up(agent, { ...UDP, sourcePort: 100 * agent + i }));
    if (agent === 1) rig.flows.removeAgent(agent);
  }
  assertEquals(results.filter((result) => result === "identityFull").length, 150);
  assertEquals([rig.flows.size, rig.up(9, UDP), rig.up(10, { ...UDP, sourcePort: 7 })], [250, "own", "own"]);
  // What it has goes on, and so does what an ended connection of it left.
  assertEquals([rig.up(2, { ...UDP, sourcePort: 200 }), rig.up(4, { ...UDP, sourcePort: 100 })], ["own", "own"]);
  rig.nowMs += 70_000;
  rig.flows.sweep(rig.nowMs, 1024);
  assertEquals(rig.flows.size, 0);
  assertEquals(rig.up(4, { ...UDP, sourcePort: 499 }), "own");
});

Deno.test("agents without an identity share by their source, and have all together no more than their part", () => {
  const rig = new Rig({ flowsMax: 1024, flowsPerIdentityMax: 100, flowsAnonymousMax: 250 });
  rig.identities.set(9, "named");
  for (const agent of [1, 2]) rig.sources.set(agent, "greedy");
  for (const agent of [3, 4]) rig.sources.set(agent, `source ${agent}`);
  const ask = (agent: number, count: number) => {
    const results = Array.from({ length: count }, (_, i) => rig.up(agent, { ...UDP, sourcePort: 1000 * agent + i }));
    return ["own", "identityFull", "anonymousFull"].map((word) => results.filter((result) => result === word).length);
  };
  assertEquals([ask(1, 60), ask(2, 60)], [[60, 0, 0], [40, 20, 0]]);
  assertEquals([ask(3, 90), ask(4, 90), ask(9, 90)], [[90, 0, 0], [60, 0, 30], [90, 0, 0]]);
  // Other shares hold at once, and only for what comes.
  rig.flows.configure({ ...FLOW_LIMITS, flowsPerIdentityMax: 95, flowsAnonymousMax: 1024 });
  assertEquals([ask(4, 90), ask(9, 100)], [[90, 0, 0], [95, 5, 0]]);
  // Who goes makes room for others from the same source.
  rig.flows.removeAgent(1);
  assertEquals(ask(2, 60), [60, 0, 0]);
});

const FIN = 0x11, SYN = 0x02, SYN_ACK = 0x12, RST = 0x14, ACK = 0x10;

/** Ten thousand connections of one agent, one every 10 ms, each ended by `end`; how many of them found no room. */
function refusedOf(end: (rig: Rig, sample: Sample) => void): number {
  const rig = new Rig({ flowsPerAgentMax: 4_096 });
  let refused = 0;
  for (let i = 0; i < 10_000; i++) {
    const sample = { ...TCP, sourcePort: i };
    if (rig.up(1, { ...sample, flags: SYN }) !== "own") refused++;
    rig.down({ ...sample, flags: SYN_ACK });
    end(rig, sample);
    rig.nowMs += 10;
    rig.flows.sweep(rig.nowMs, 256);
  }
  return refused;
}

Deno.test("connections that are over make room: ten thousand one after the other are too many only while they stand", () => {
  const finished = refusedOf((rig, sample) => {
    rig.up(1, { ...sample, flags: FIN });
    rig.down({ ...sample, flags: FIN });
    rig.up(1, { ...sample, flags: ACK });
  });
  const reset = refusedOf((rig, sample) => rig.down({ ...sample, flags: RST }));
  const halfOpen = refusedOf((rig, sample) => rig.down({ ...sample, flags: FIN }));
  const resetByAgent = refusedOf((rig, sample) => rig.up(1, { ...sample, flags: RST }));
  assertEquals([finished, reset], [0, 0]);
  assert(halfOpen > 5_000 && resetByAgent > 5_000, `${halfOpen} and ${resetByAgent} refused`);
});

Deno.test("a connection that is over is kept for its last words; one that goes on after all is kept as before", () => {
  const rig = new Rig();
  rig.up(1, { ...TCP, flags: SYN });
  rig.down({ ...TCP, flags: SYN_ACK });
  rig.down({ ...TCP, flags: RST });
  rig.nowMs += 9_000;
  assertEquals(rig.down({ ...TCP, flags: FIN }), 1);
  assertEquals(rig.down({ ...TCP, flags: ACK }), 1);
  rig.nowMs += 100_000;
  assertEquals(rig.down(TCP), 1);
  rig.up(1, { ...TCP, flags: FIN });
  rig.nowMs += 15_000;
  assertEquals(rig.down(TCP), "unknownFlow");
  // The same ends again: a new connection.
  assertEquals(rig.up(1, { ...TCP, flags: SYN }), "own");
  rig.nowMs += 100_000;
  assertEquals(rig.down(TCP), 1);
});

Deno.test("a TCP flow begins with SYN, and nothing but the answer to it passes before the answer", () => {
  const rig = new Rig();
  for (const flags of [ACK, FIN, RST, SYN_ACK, SYN | FIN]) assertEquals(rig.up(1, { ...TCP, flags }), "midstream");
  assertEquals(rig.flows.size, 0);
  assertEquals([rig.up(1, { ...TCP, flags: SYN }), rig.up(1, { ...TCP, flags: ACK })], ["own", "unanswered"]);
  // What a session says that the connector still holds for somebody else.
  assertEquals([rig.down({ ...TCP, flags: ACK }), rig.down({ ...TCP, flags: FIN })], ["unanswered", "unanswered"]);
  assertEquals([rig.up(1, { ...TCP, flags: SYN }), rig.down({ ...TCP, flags: RST })], ["own", 1]);
  assertEquals(rig.up(1, { ...TCP, flags: ACK }), "unanswered", "a refusal is no answer");
  assertEquals([rig.up(1, { ...TCP, flags: SYN }), rig.down({ ...TCP, flags: SYN_ACK })], ["own", 1]);
  assertEquals([rig.up(1, { ...TCP, flags: ACK }), rig.down({ ...TCP, flags: ACK })], ["own", 1]);
  // A repeated SYN that comes late changes nothing.
  assertEquals([rig.up(1, { ...TCP, flags: SYN }), rig.down({ ...TCP, flags: ACK })], ["own", 1]);
});

Deno.test("a connection that the table has forgotten is nobody's: neither its agent nor another goes on with it", () => {
  const rig = new Rig();
  rig.up(1, { ...TCP, flags: SYN });
  rig.down({ ...TCP, flags: SYN_ACK });
  rig.nowMs += 250_000;
  for (const agent of [1, 2]) assertEquals(rig.up(agent, { ...TCP, flags: ACK }), "midstream");
  assertEquals(rig.up(2, { ...TCP, flags: SYN }), "own");
  assertEquals([rig.down({ ...TCP, flags: ACK }), rig.up(2, { ...TCP, flags: ACK })], ["unanswered", "unanswered"]);
});

Deno.test("an agent that comes back with its identity goes on with what it had", () => {
  const rig = new Rig();
  for (const agent of [1, 2]) rig.identities.set(agent, "same");
  rig.up(1, { ...TCP, flags: SYN });
  rig.down({ ...TCP, flags: SYN_ACK });
  rig.flows.removeAgent(1);
  assertEquals([rig.up(2, { ...TCP, flags: ACK }), rig.down({ ...TCP, flags: ACK })], ["own", 2]);
});

Deno.test("a full table refuses new flows and serves the old ones, until some die", () => {
  const rig = new Rig({ flowsMax: 2048 });
  for (let i = 0; i < 2048; i++) assertEquals(rig.up(i, UDP), i === 0 ? "own" : "rewritten");
  assertEquals([rig.up(5000, UDP), rig.up(3, UDP), rig.flows.size], ["tableFull", "rewritten", 2048]);
  rig.nowMs += 69_999;
  assertEquals(rig.up(5000, UDP), "tableFull");
  rig.nowMs += 1;
  assertEquals(rig.up(5000, UDP), "own");
});

Deno.test("reconnecting again and again leaves a bounded number of flows behind", () => {
  const rig = new Rig({ flowsMax: 1024, flowsPerAgentMax: 10, orphansMax: 64 });
  for (let peer = 0; peer < 100; peer++) {
    rig.identities.set(peer, `identity ${peer % 3}`);
    for (let i = 0; i < 10; i++) assert(rig.up(peer, { ...UDP, sourcePort: 10 * peer + i }) !== "tableFull");
    rig.flows.removeAgent(peer);
    assert(rig.flows.size <= 30);
  }
  for (let peer = 100; peer < 200; peer++) {
    for (let i = 0; i < 10; i++) rig.up(peer, { ...UDP, sourcePort: 10 * peer + i });
    rig.flows.removeAgent(peer);
  }
  assertEquals(rig.flows.size, 64);
});
