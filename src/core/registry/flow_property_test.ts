/** Random traffic of several agents that all use the same few addresses: no packet ever reaches another agent. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { bytesEqual } from "../../base/mod.ts";
import { FLOW_LIMITS, FlowTable, Registry } from "./mod.ts";
import { addressesOf, answerTo, assertChecksums, buildPacket, type Sample } from "./sample_packets_fixture.ts";

const AGENTS = 6;
const CONNECTORS = 4;
const SERVICES = ["a", "b"];

type Step =
  | { readonly kind: "send"; readonly agent: number; readonly service: number; readonly sample: Sample }
  | { readonly kind: "answer"; readonly which: number; readonly isNamed: boolean; readonly other: number }
  | { readonly kind: "reconnect"; readonly agent: number }
  | { readonly kind: "lose"; readonly connector: number }
  | { readonly kind: "join"; readonly connector: number }
  | { readonly kind: "wait"; readonly ms: number };

const sample: fc.Arbitrary<Sample> = fc.record({
  family: fc.constantFrom(4 as const, 6 as const),
  protocol: fc.constantFrom("tcp" as const, "udp" as const, "icmp" as const),
  source: fc.constantFrom(1, 2),
  destination: fc.constantFrom(900, 901),
  sourcePort: fc.constantFrom(7, 8),
  destinationPort: fc.constant(53),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("send" as const), agent: fc.nat(AGENTS - 1), service: fc.nat(1), sample }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("answer" as const),
      which: fc.nat(),
      isNamed: fc.boolean(),
      other: fc.nat(CONNECTORS),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reconnect" as const), agent: fc.nat(AGENTS - 1) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("lose" as const, "join" as const), connector: fc.nat(CONNECTORS - 1) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 40_000 }) }) },
);

/** A packet as a connector saw it, and who had sent it. */
interface Seen {
  readonly agent: number;
  readonly service: number;
  readonly connector: number;
  readonly sample: Sample;
  readonly packet: Uint8Array;
  readonly atMs: number;
}

/** After this long without a packet an ICMP flow's addresses are free: what was seen before may then be anybody's. */
const RESERVED_MS = FLOW_LIMITS.icmpIdleMs + FLOW_LIMITS.otherLingerMs;

class World {
  readonly registry = new Registry();
  readonly flows: FlowTable;
  readonly seen: Seen[] = [];
  /** The peer number of each agent's present connection. */
  readonly peers = Array.from({ length: AGENTS }, (_, agent) => 100 + agent);
  nowMs = 0;
  delivered = 0;

  constructor(seed: number) {
    let state = seed;
    this.flows = new FlowTable(this.registry, () => state = (Math.imul(state, 1664525) + 1013904223) >>> 0, {
      ...FLOW_LIMITS,
      flowsMax: 64,
      flowsPerAgentMax: 16,
    });
    for (let agent = 0; agent < AGENTS; agent++) this.#register(agent);
    for (let connector = 0; connector < CONNECTORS; connector++) this.join(connector);
  }

  join(connector: number): void {
    // Connectors 0 and 1 serve both services, the others one each.
    for (const [at, service] of SERVICES.entries()) {
      if (connector >= 2 && connector % 2 !== at) continue;
      this.registry.registerConnector(connector, service, { identity: `${connector}`, label: "", takesStreams: false }, this.nowMs);
    }
  }

  #register(agent: number): void {
    for (const service of SERVICES) this.registry.registerAgent(this.peers[agent] ?? -1, service, `agent ${agent}`);
  }

  reconnect(agent: number): void {
    const peer = this.peers[agent] ?? -1;
    this.registry.unregister(peer);
    this.flows.removeAgent(peer);
    this.#register(agent);
  }

  send(agent: number, serviceAt: number, packetOf: Sample): void {
    const service = this.registry.serviceNumber(SERVICES[serviceAt] ?? "");
    const packet = buildPacket(packetOf);
    const slot = this.flows.fromAgent(this.peers[agent] ?? -1, service, packet, 0, packet.length, this.nowMs);
    if (slot < 0) return;
    assertChecksums(packet);
    const connector = this.flows.connectorOf(slot);
    assert(this.registry.connectorServices(connector).includes(service));
    this.seen.push({ agent, service, connector, sample: packetOf, packet, atMs: this.nowMs });
  }

  /** A connector answers something that it saw, perhaps long ago, perhaps something that only another one saw. */
  answer(which: number, isNamed: boolean, other: number): void {
    const seen = this.seen[which % Math.max(1, this.seen.length)];
    if (seen === undefined || this.nowMs - seen.atMs >= RESERVED_MS) return;
    const connector = other < CONNECTORS ? other : seen.connector;
    if (isNamed && !this.registry.connectorServices(connector).includes(seen.service)) return;
    const packet = buildPacket(answerTo(seen.sample));
    packet.set(addressesOf(seen.packet).source, packet[0] === 0x45 ? 16 : 24);
    const service = isNamed ? seen.service : -1;
    const slot = this.flows.fromConnector(connector, service, packet, 0, packet.length, this.nowMs);
    if (slot < 0) return;
    this.delivered++;
    const agent = this.peers.indexOf(this.flows.agentOf(slot));
    // Whatever else is delivered, this connector had seen the same from that agent.
    const own = connector === seen.connector
      ? [seen]
      : this.seen.filter((one) => one.connector === connector && bytesEqual(one.packet, seen.packet));
    const asked = own.find((one) => one.agent === agent);
    assert(asked !== undefined, `connector ${connector} reached agent ${agent}`);
    assertEquals(addressesOf(packet).destination, addressesOf(buildPacket(asked.sample)).source);
  }
}

Deno.test("no packet ever reaches another agent", () => {
  let delivered = 0;
  fc.assert(
    fc.property(fc.integer(), fc.array(step, { minLength: 20, maxLength: 150 }), (seed, steps) => {
      const world = new World(seed);
      for (const each of steps) {
        if (each.kind === "send") world.send(each.agent, each.service, each.sample);
        else if (each.kind === "answer") world.answer(each.which, each.isNamed, each.other);
        else if (each.kind === "reconnect") world.reconnect(each.agent);
        else if (each.kind === "lose") world.registry.unregister(each.connector);
        else if (each.kind === "join") world.join(each.connector);
        else if (each.kind === "wait") {
          world.nowMs += each.ms;
          world.flows.sweep(world.nowMs, 64);
        }
      }
      delivered += world.delivered;
    }),
    { numRuns: 300 },
  );
  assert(delivered > 1000, `only ${delivered} answers were delivered: the test tests nothing`);
});
