/** The parts that sessions are made of: ranges, rings, the round-trip estimate, the keyed hash, flow tables, queues. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { IpHeader, packetMemory, packetMemoryOf, parseEnds } from "../wire/mod.ts";
import { BufferPool, ByteRing } from "./buffers.ts";
import { COUNTER_NAMES, counterPublisher, NETSTACK_METRICS, newCounters } from "./counters.ts";
import { FlowTable } from "./flow_table.ts";
import { keyedHash } from "./keyed_hash.ts";
import { BUFFER_MIN_BYTES, NETSTACK_LIMITS } from "./limits.ts";
import { ControlQueue, PacketPath } from "./path.ts";
import { RttEstimator } from "./rtt.ts";
import { SequenceRanges } from "./sequence.ts";
import { metricCells } from "../../base/mod.ts";
import type { FlowNode } from "./tcp_session.ts";

Deno.test("sequence ranges are the set of numbers that were put in, wherever the space wraps", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("insert" as const), from: fc.nat(60), length: fc.integer({ min: 1, max: 20 }) }),
    fc.record({ kind: fc.constant("drop" as const), from: fc.nat(60), length: fc.constant(0) }),
  );
  fc.assert(fc.property(fc.integer({ min: -0x80000000, max: 0x7fffffff }), fc.array(step, { maxLength: 40 }), (base, steps) => {
    const ranges = new SequenceRanges(100);
    const model = new Set<number>();
    for (const { kind, from, length } of steps) {
      if (kind === "insert") {
        const before = model.size;
        for (let i = from; i < from + length; i++) model.add(i);
        assertEquals(ranges.insert((base + from) | 0, (base + from + length) | 0), model.size - before);
      } else {
        for (const i of [...model]) if (i < from) model.delete(i);
        ranges.dropBelow((base + from) | 0);
      }
      assertEquals(ranges.bytes, model.size);
      const inside = [...model].filter((i) => i >= 10 && i < 50).length;
      assertEquals(ranges.bytesWithin((base + 10) | 0, (base + 50) | 0), inside);
      for (let i = 0; i < ranges.count; i++) {
        const left = (ranges.left(i) - base) | 0, right = (ranges.right(i) - base) | 0;
        assert(left < right && (i === 0 || ((ranges.right(i - 1) - base) | 0) < left), "ascending, apart");
        for (let j = left; j < right; j++) assert(model.has(j));
      }
    }
  }));
});

Deno.test("a range too many is refused, one that joins others is not", () => {
  const ranges = new SequenceRanges(2);
  assertEquals([ranges.insert(0, 10), ranges.insert(20, 30), ranges.insert(40, 50)], [10, 10, -1]);
  assertEquals(ranges.insert(10, 20), 10);
  assertEquals([ranges.count, ranges.bytes], [1, 30]);
  assertEquals([ranges.insert(40, 50), ranges.recent], [10, 1]);
});

Deno.test("a ring keeps its run and what lies behind it, through growth and wrapping", () => {
  const step = fc.record({ write: fc.nat(3000), drop: fc.nat(3000), skip: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const pool = new BufferPool(1 << 20);
      const ring = new ByteRing(pool, 16_384);
      let expected: number[] = [];
      let next = 0;
      for (const { write, drop } of steps) {
        const length = Math.min(write, 16_384 - ring.used);
        const bytes = packetMemoryOf(Uint8Array.from({ length }, (_, i) => (next + i) & 0xff));
        assert(ring.reserve(ring.used + length));
        ring.put(ring.used, bytes, 0, length);
        ring.used += length;
        next += length;
        expected = [...expected, ...bytes.bytes];
        const gone = Math.min(drop, ring.used);
        ring.drop(gone);
        expected = expected.slice(gone);
        const out = packetMemory(ring.used + 1);
        ring.copyOut(0, out, 0, ring.used);
        assertEquals([...out.bytes.subarray(0, ring.used)], expected);
      }
      ring.release();
      assertEquals(pool.heldBytes, 0);
    }),
    { numRuns: 50 },
  );
});

Deno.test("a ring does not grow over its bound, nor the pool over its own, but the smallest is always granted", () => {
  const pool = new BufferPool(32_768);
  const ring = new ByteRing(pool, 16_384), other = new ByteRing(pool, 65_536), third = new ByteRing(pool, 65_536);
  assert(ring.reserve(16_384));
  assert(!ring.reserve(16_385), "over its bound");
  assert(other.reserve(16_384));
  assertEquals(other.reachableBytes, 16_384);
  assert(!other.reserve(16_385), "over the pool's bound");
  assert(!third.reserve(BUFFER_MIN_BYTES + 1));
  assert(third.reserve(BUFFER_MIN_BYTES), "the smallest");
  ring.release();
  assertEquals(pool.heldBytes, 16_384 + BUFFER_MIN_BYTES);
});

Deno.test("the retransmission time-out follows RFC 6298", () => {
  const rtt = new RttEstimator(NETSTACK_LIMITS);
  assertEquals(rtt.timeoutMs, 1_000);
  rtt.backoff = 2;
  assertEquals(rtt.timeoutMs, 4_000);
  rtt.backoff = 40;
  assertEquals(rtt.timeoutMs, 60_000);
  rtt.backoff = 0;
  rtt.sample(500);
  assertEquals([rtt.smoothedMs, rtt.variationMs, rtt.timeoutMs], [500, 250, 1_500]);
  rtt.sample(500);
  assertEquals([rtt.smoothedMs, rtt.variationMs, rtt.timeoutMs], [500, 187.5, 1_250]);
  for (let i = 0; i < 100; i++) rtt.sample(20);
  assert(rtt.timeoutMs > 220 && rtt.timeoutMs < 222, "never less than the least over the round trip");
});

Deno.test("a handshake that timed out begins with three seconds", () => {
  const rtt = new RttEstimator(NETSTACK_LIMITS);
  rtt.handshakeTimedOut();
  assertEquals(rtt.timeoutMs, 3_000);
});

Deno.test("the keyed hash is HalfSipHash-2-4: the authors' vectors", () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
  const words = new Int32Array(bytes.buffer);
  const hash = (count: number) => (keyedHash({ low: 0x03020100, high: 0x07060504 }, words, count) >>> 0).toString(16);
  // As little-endian words: a9359f5b, 2a6e4689, d0b8848f, 57f0872f.
  assertEquals([0, 1, 2, 3].map(hash), ["5b9f35a9", "89466e2a", "8f84b8d0", "2f87f057"]);
});

Deno.test("a flow is found by its packet, and by nothing that differs in one place", () => {
  const path = new PacketPath(1, { agentKey: null, maxBytes: 1280 }, 4),
    other = new PacketPath(2, { agentKey: null, maxBytes: 1280 }, 4);
  const flow = (source: string, destination: string, localPort: number, remotePort: number): FlowNode => {
    const ends = parseEnds(source, destination) ?? new IpHeader();
    return { path, ends, localPort, remotePort, hash: 0, nextInBucket: null };
  };
  const table = new FlowTable<FlowNode>(16, 12345);
  const flows = [
    flow("10.0.0.2", "10.0.0.1", 80, 1000),
    flow("10.0.0.2", "10.0.0.1", 80, 1001),
    flow("10.0.0.3", "10.0.0.1", 80, 1000),
    flow("fd00::2", "fd00::1", 80, 1000),
    flow("::a00:2", "::a00:1", 80, 1000),
    ...Array.from({ length: 200 }, (_, i) => flow("10.0.0.2", "10.9.0.1", 80, 2000 + i)),
  ];
  for (const each of flows) table.add(each);
  const packetOf = (node: FlowNode) => {
    const packet = new IpHeader();
    const { ends } = node;
    Object.assign(packet, {
      isIpv4: ends.isIpv4,
      source0: ends.destination0,
      source1: ends.destination1,
      source2: ends.destination2,
      source3: ends.destination3,
      destination0: ends.source0,
      destination1: ends.source1,
      destination2: ends.source2,
      destination3: ends.source3,
    });
    return packet;
  };
  for (const each of flows) {
    assert(table.find(path, packetOf(each), each.localPort, each.remotePort) === each);
    assertEquals(table.find(other, packetOf(each), each.localPort, each.remotePort), null);
    assertEquals(table.find(path, packetOf(each), each.localPort + 1, each.remotePort), null);
  }
  assertEquals(table.all().length, flows.length);
  for (const each of flows) {
    table.remove(each);
    table.remove(each);
    assertEquals(table.find(path, packetOf(each), each.localPort, each.remotePort), null);
  }
  assertEquals(table.size, 0);
});

Deno.test("answers without a session wait in order, at most so many, and too large ones are dropped", () => {
  const queue = new ControlQueue(2);
  const out = packetMemory(600);
  for (const length of [300, 10]) {
    const memory = queue.reserve(length);
    assert(memory !== null);
    memory.bytes.fill(length & 0xff, 0, length);
    queue.commit(length);
  }
  assertEquals(queue.reserve(10), null);
  assertEquals([queue.take(out, 5, 600), out.bytes[5], queue.take(out, 0, 9), queue.count], [300, 300 & 0xff, 0, 0]);
});

Deno.test("every counter has a metric of its own, and is copied to its cell", () => {
  const counters = newCounters();
  COUNTER_NAMES.forEach((name, i) => counters[name] = i + 1);
  const metrics = metricCells(NETSTACK_METRICS);
  counterPublisher(counters, metrics)();
  assertEquals([...metrics.cells], COUNTER_NAMES.map((_, i) => i + 1));
  assertEquals(NETSTACK_METRICS.synRefusedRate.name, "postern_netstack_syn_refused_rate_total");
  assertEquals(new Set(Object.values(NETSTACK_METRICS).map(({ name }) => name)).size, COUNTER_NAMES.length);
});
