/** Answers find their way: learning, expiry, lingering, pools, rewriting, ICMP errors and every reason to drop. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { FLOW_LIMITS, FlowDrop, flowDropName, FlowTable, Registry } from "./mod.ts";
import { addressesOf, answerTo, assertChecksums, buildError, buildPacket, type Sample } from "./sample_packets.ts";

const A = 1;
const B = 2;
const C1 = 11;
const C2 = 12;
const UDP: Sample = { protocol: "udp", source: 1, destination: 900, sourcePort: 5000, destinationPort: 53 };
const TCP: Sample = { ...UDP, protocol: "tcp" };
const PING: Sample = { ...UDP, protocol: "icmp" };
const KINDS = [UDP, TCP, PING].flatMap((sample) => [sample, { ...sample, family: 6 as const }]);

class Rig {
  readonly registry = new Registry();
  readonly service: number;
  readonly flows: FlowTable;
  nowMs = 1_000_000;

  constructor(limits = {}) {
    let state = 12345;
    const random32 = () => state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    this.flows = new FlowTable(this.registry, random32, { ...FLOW_LIMITS, ...limits });
    this.registry.registerAgent(A, "web", "id-a");
    this.registry.registerAgent(B, "web", "id-b");
    this.service = this.connect(C1, "web");
  }

  connect(peer: number, service: string): number {
    const outcome = this.registry.registerConnector(
      peer,
      service,
      { identity: `${peer}`, label: "", takesStreams: true },
      this.nowMs,
    );
    assert(outcome.kind === "registered");
    return outcome.service;
  }

  up(agent: number, packet: Uint8Array, service = this.service): number {
    return this.flows.fromAgent(agent, service, packet, 0, packet.length, this.nowMs);
  }

  down(connector: number, packet: Uint8Array, service = this.service): number {
    return this.flows.fromConnector(connector, service, packet, 0, packet.length, this.nowMs);
  }

  /** The agent that an answer reaches, or the name of the drop. */
  answer(connector: number, packet: Uint8Array, service = this.service): number | string | null {
    const slot = this.down(connector, packet, service);
    return slot < 0 ? flowDropName(slot) : this.flows.agentOf(slot);
  }
}

/** The connector's answer to a packet as it saw it. */
function answerAsSeen(seen: Uint8Array, sample: Sample): Uint8Array {
  const packet = buildPacket(answerTo(sample));
  const { source, destination } = addressesOf(seen);
  packet.set(destination, seen[0] === 0x45 ? 12 : 8);
  packet.set(source, seen[0] === 0x45 ? 16 : 24);
  return rebuilt(packet);
}

/** The packet with its checksums computed anew. */
function rebuilt(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  const at = copy[0] === 0x45 ? 20 : 40;
  const protocol = copy[at === 20 ? 9 : 6];
  const field = at + (protocol === 6 ? 16 : protocol === 17 ? 6 : 2);
  const view = new DataView(copy.buffer);
  const ones = (from: number, to: number): number => {
    let total = 0;
    for (let i = from; i < to; i++) total += (copy[i] ?? 0) * ((i - from) % 2 === 0 ? 256 : 1);
    return total;
  };
  const fold = (total: number): number => total > 0xffff ? fold((total & 0xffff) + (total >>> 16)) : total;
  if (at === 20) {
    view.setUint16(10, 0);
    view.setUint16(10, 0xffff ^ fold(ones(0, 20)));
  }
  view.setUint16(field, 0);
  const pseudo = protocol === 1 ? 0 : ones(at === 20 ? 12 : 8, at) + (protocol ?? 0) + copy.length - at;
  const checksum = 0xffff ^ fold(pseudo + ones(at, copy.length));
  view.setUint16(field, protocol === 17 && checksum === 0 ? 0xffff : checksum);
  return copy;
}

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

Deno.test("two agents with the same inner addresses and ports both work, and neither end notices", () => {
  for (const sample of KINDS) {
    const rig = new Rig();
    rig.up(A, buildPacket(sample));
    for (let round = 0; round < 2; round++) {
      const seen = buildPacket(sample);
      assert(rig.up(B, seen) >= 0);
      assertNotEquals(addressesOf(seen).source, addressesOf(buildPacket(sample)).source);
      assertChecksums(seen);
      const answer = answerAsSeen(seen, sample);
      assertChecksums(answer);
      assertEquals(rig.answer(C1, answer), B);
      assertEquals(answer, buildPacket(answerTo(sample)));
    }
    assertEquals(rig.answer(C1, buildPacket(answerTo(sample))), A);
    assertEquals(rig.flows.counters.rewritten, 1);
  }
});

Deno.test("our own addresses come from 100.64.0.0/10 and fd70:6f73:7465:726e::/64", () => {
  const rig = new Rig();
  for (const sample of [UDP, { ...UDP, family: 6 as const }]) {
    rig.up(A, buildPacket(sample));
    const seen = buildPacket(sample);
    rig.up(B, seen);
    const { source } = addressesOf(seen);
    if (source.length === 4) assert(source[0] === 100 && ((source[1] ?? 0) & 0xc0) === 64);
    else assertEquals([...source.subarray(0, 8)], [0xfd, 0x70, 0x6f, 0x73, 0x74, 0x65, 0x72, 0x6e]);
  }
});

Deno.test("a UDP packet without checksum stays without one", () => {
  const rig = new Rig();
  const sample = { ...UDP, noChecksum: true };
  rig.up(A, buildPacket(sample));
  const seen = buildPacket(sample);
  rig.up(B, seen);
  assertEquals([...seen.subarray(26, 28)], [0, 0]);
  assertChecksums(seen);
});

Deno.test("rewriting keeps every checksum right, whatever the payload", () => {
  fc.assert(fc.property(
    fc.constantFrom(...KINDS),
    fc.uint8Array({ maxLength: 64 }),
    fc.integer({ min: 0, max: 0xffff }),
    (kind, payload, sourcePort) => {
      const sample = { ...kind, payload, sourcePort };
      const rig = new Rig();
      rig.up(A, buildPacket(sample));
      const seen = buildPacket(sample);
      const slot = rig.up(B, seen);
      assertChecksums(seen);
      const answer = answerAsSeen(seen, sample);
      assertEquals(rig.answer(C1, answer), B);
      assertChecksums(answer);
      rig.up(B, buildPacket(sample));
      rig.flows.restore(slot, "agent", seen, 0, seen.length);
      assertEquals(seen, buildPacket(sample));
    },
  ));
});

Deno.test("a packet is given its own addresses back for an answer to its sender", () => {
  const rig = new Rig();
  rig.up(A, buildPacket(TCP));
  const seen = buildPacket(TCP);
  const slot = rig.up(B, seen);
  const kept = seen.slice();
  rig.flows.restore(slot, "agent", seen, 0, seen.length);
  assertEquals(seen, buildPacket(TCP));
  const answer = answerAsSeen(kept, TCP);
  const asSent = answer.slice();
  assertEquals(rig.down(C1, answer), slot);
  assertNotEquals(answer, asSent);
  rig.flows.restore(slot, "connector", answer, 0, answer.length);
  assertEquals(answer, asSent);
});

Deno.test("ICMP errors about a flow reach its other end, quoting what that end sent", () => {
  for (const sample of KINDS) {
    for (const quotedBytes of [undefined, sample.family === 6 ? 48 : 28]) {
      const rig = new Rig();
      rig.up(A, buildPacket(sample));
      const sent = buildPacket(sample);
      const seen = sent.slice();
      const slot = rig.up(B, seen);

      const error = buildError(seen, quotedBytes);
      assertEquals(rig.down(C1, error), slot);
      assertChecksums(error);
      assertEquals(
        error.subarray(error.length - (quotedBytes ?? seen.length)),
        buildError(sent, quotedBytes).subarray(-(quotedBytes ?? seen.length)),
      );
      assertEquals(addressesOf(error).destination, addressesOf(sent).source);

      const answer = buildPacket(answerTo(sample));
      const back = buildError(answer, quotedBytes);
      assertEquals(rig.up(B, back), slot);
      assertChecksums(back);
      assertEquals(addressesOf(back).source, addressesOf(seen).source);
      const quoted = back.subarray(back.length - (quotedBytes ?? answer.length));
      assertEquals(addressesOf(quoted).destination, addressesOf(seen).source);
    }
  }
});

Deno.test("an ICMP error from a router on the connector's side reaches the agent", () => {
  const rig = new Rig();
  rig.up(A, buildPacket(UDP));
  assertEquals(rig.answer(C1, buildError(buildPacket(UDP), 28, Uint8Array.of(10, 9, 8, 7))), A);
});

Deno.test("ICMP errors about nothing, about others, or inside one another are dropped", () => {
  const rig = new Rig();
  const sent = buildPacket(UDP);
  rig.up(A, sent);
  assertEquals(rig.answer(C1, buildError(buildPacket({ ...UDP, sourcePort: 1 }))), "unknownFlow");
  assertEquals(flowDropName(rig.up(B, buildError(buildPacket(answerTo(UDP))))), "unknownFlow");
  assertEquals(rig.answer(C1, buildError(buildError(sent))), "icmpType");
  const misdirected = buildError(sent);
  misdirected[19] = 77;
  assertEquals(rig.answer(C1, misdirected), "icmpMismatch");
  const spoofed = buildError(buildPacket(answerTo(UDP)));
  spoofed[15] = 77;
  assertEquals(flowDropName(rig.up(A, spoofed)), "icmpMismatch");
  assertEquals(rig.answer(C1, buildError(sent, 27)), "badLength");
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
