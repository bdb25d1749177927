/** What goes to the peer: segments and windows, losses of every kind, probes, limits of waiting, ICMP errors. */
import { assert, assertEquals } from "@std/assert";
import { encodeTooBig, encodeUnreachable, packetMemory, packetMemoryOf, parseEnds } from "../wire/mod.ts";
import { type Received, TestPeer } from "./peer_fixture.ts";

const lengths = (segments: readonly Received[]) => segments.map(({ data }) => data.length);
const numbers = (segments: readonly Received[]) => segments.map(({ seq }) => seq);

Deno.test("segments are as large as the peer's MSS and the path allow, ten to begin with", () => {
  const peer = new TestPeer({ maxBytes: 1280 }).establish({ mss: 1000 });
  assertEquals(peer.write(20_000), 20_000);
  const first = peer.poll();
  assertEquals([lengths(first), numbers(first).at(-1)], [Array(10).fill(1000), 9001]);
  const wide = new TestPeer({ maxBytes: 700 }).establish({ mss: 1460 });
  wide.write(10_000);
  assertEquals(wide.poll().every(({ bytes }) => bytes <= 700), true);
});

Deno.test("a peer without MSS gets 536 bytes a segment, one with a ridiculous MSS 48", () => {
  const sizes = (mss: number) => {
    const peer = new TestPeer().establish({ mss });
    peer.write(1_000);
    return lengths(peer.poll());
  };
  assertEquals(sizes(0), [536, 464]);
  assertEquals(sizes(1)[0], 48);
});

Deno.test("a path that shrinks is obeyed at once, also by what is sent again", () => {
  const peer = new TestPeer({ maxBytes: 1280 }).establish({ mss: 1460 });
  peer.write(6_000);
  assertEquals(lengths(peer.poll()).at(0), 1240);
  peer.path.maxBytes = 500;
  peer.pass(1_500);
  const again = peer.poll();
  assert(again.length > 0 && again.every(({ bytes }) => bytes <= 500));
  assertEquals(again[0]?.seq, 1);
});

Deno.test("acknowledgements let the window grow: slow start doubles it", () => {
  const peer = new TestPeer().establish({ mss: 1000, window: 65_000 });
  peer.write(30_000);
  peer.poll();
  peer.send({ flags: "A", ack: 2001 });
  peer.send({ flags: "A", ack: 4001 });
  peer.send({ flags: "A", ack: 6001 });
  peer.send({ flags: "A", ack: 8001 });
  peer.send({ flags: "A", ack: 10_001 });
  assertEquals(peer.poll().length, 20);
});

Deno.test("what is not acknowledged is sent again, ever more slowly, and the first segment first", () => {
  const peer = new TestPeer().establish();
  peer.write("lost");
  assertEquals(peer.told(), ['PA seq=1 ack=1 "lost"']);
  const waits: number[] = [];
  let lastMs = peer.nowMs;
  for (let i = 0; i < 40_000; i += 10) {
    peer.pass(10);
    if (peer.told().length > 0) {
      waits.push(peer.nowMs - lastMs);
      lastMs = peer.nowMs;
    }
  }
  assertEquals(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800]);
  peer.send({ flags: "A", ack: 5 });
  peer.write("again");
  peer.poll();
  peer.pass(199);
  assertEquals(peer.told(), []);
  peer.pass(1);
  assertEquals(peer.told().length, 1, "patience begins anew with every acknowledgement");
});

Deno.test("data that nobody acknowledges for the user time-out resets the session", () => {
  const peer = new TestPeer({ limits: { userTimeoutMs: 10_000 } }).establish();
  peer.write("hello?");
  peer.poll();
  peer.pass(9_000);
  assertEquals(peer.closed, null);
  peer.poll();
  peer.pass(1_000);
  assertEquals([peer.closed, peer.told(), peer.stack.sessionCount, peer.stack.bufferedBytes], [
    "timeout",
    ["RA seq=7 ack=1 win=0"],
    0,
    0,
  ]);
});

Deno.test("three duplicate acknowledgements: the hole is sent at once, then new data as the pipe empties", () => {
  const peer = new TestPeer().establish({ mss: 1000 });
  peer.write(20_000);
  peer.poll();
  for (let i = 0; i < 2; i++) peer.send({ flags: "A", ack: 1 });
  assertEquals(numbers(peer.poll()), [10_001, 11_001], "limited transmit, RFC 3042");
  peer.send({ flags: "A", ack: 1 });
  assertEquals(numbers(peer.poll()), [1]);
  assertEquals(peer.stack.counters.fastRetransmits, 1);
  peer.send({ flags: "A", ack: 1 });
  assertEquals(numbers(peer.poll()), [], "three tenths of the window have to drain");
  for (let i = 0; i < 8; i++) peer.send({ flags: "A", ack: 1 });
  assert(numbers(peer.poll()).every((seq) => seq > 11_001));
  peer.send({ flags: "A", ack: 3001 });
  assertEquals(numbers(peer.poll())[0], 3001, "a partial acknowledgement names the next hole");
  peer.send({ flags: "A", ack: 12_001 });
  assertEquals(peer.session?.congestion.mode, "open");
});

Deno.test("duplicates with another window or with data do not count", () => {
  const peer = new TestPeer().establish({ mss: 1000 });
  peer.write(20_000);
  peer.poll();
  for (let i = 0; i < 5; i++) peer.send({ flags: "A", ack: 1, window: 60_000 + i });
  for (let i = 0; i < 5; i++) peer.send({ flags: "A", ack: 1, seq: 1 + i, data: 1 });
  assertEquals(peer.stack.counters.fastRetransmits, 0);
});

Deno.test("with SACK exactly the holes are sent again", () => {
  const peer = new TestPeer().establish({ mss: 1000, sackPermitted: true });
  peer.write(10_000);
  assertEquals(peer.poll().length, 10);
  peer.send({ flags: "A", ack: 1, sack: [[1001, 3001]] });
  assertEquals(peer.told(), []);
  peer.send({ flags: "A", ack: 1, sack: [[4001, 6001], [1001, 3001]] });
  peer.send({ flags: "A", ack: 1, sack: [[4001, 10_001], [1001, 3001]] });
  const again = peer.poll();
  assertEquals(again.map(({ seq, data }) => [seq, data.length]), [[1, 1000], [3001, 1000]]);
  peer.send({ flags: "A", ack: 10_001 });
  assertEquals([peer.told(), peer.session?.congestion.mode, peer.stack.bufferedBytes], [[], "open", 0]);
  assertEquals(peer.session?.congestion.sacked.bytes, 0);
});

Deno.test("after a time-out, acknowledgements of what was sent twice are not taken for another loss", () => {
  const peer = new TestPeer().establish({ mss: 1000 });
  peer.write(10_000);
  peer.poll();
  peer.pass(1_100);
  peer.poll();
  for (let i = 0; i < 6; i++) peer.send({ flags: "A", ack: 1 });
  assertEquals([peer.stack.counters.fastRetransmits, peer.session?.congestion.windowBytes], [0, 1000]);
});

Deno.test("the FIN needs a place in the peer's window too", () => {
  const peer = new TestPeer().establish({ window: 5 });
  peer.write("hello");
  peer.shutdown();
  assertEquals(peer.told(), ['PA seq=1 ack=1 "hello"']);
  peer.send({ flags: "A", ack: 6, window: 0 });
  assertEquals(peer.told(), []);
  peer.send({ flags: "A", ack: 6, window: 1 });
  assertEquals(peer.told(), ["FA seq=6 ack=1"]);
});

Deno.test("a segment that was overtaken does not bring back its older window", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "A", seq: 11, data: 5, window: 60_000 });
  peer.send({ flags: "A", seq: 1, data: 10, window: 10 });
  assertEquals(peer.session?.send.windowBytes, 60_000);
});

Deno.test("after a time-out what was selectively acknowledged is not sent again; after a second one it is", () => {
  const peer = new TestPeer().establish({ mss: 1000, sackPermitted: true });
  peer.write(4_000);
  peer.poll();
  peer.send({ flags: "A", ack: 1, sack: [[1001, 2001]] });
  peer.pass(1_100);
  assertEquals(numbers(peer.poll()), [1]);
  peer.send({ flags: "A", ack: 2001 });
  assertEquals(numbers(peer.poll()), [2001, 3001]);
  const other = new TestPeer().establish({ mss: 1000, sackPermitted: true });
  other.write(3_000);
  other.poll();
  other.send({ flags: "A", ack: 1, sack: [[1001, 2001]] });
  other.pass(1_100);
  other.poll();
  other.pass(2_100);
  other.poll();
  other.send({ flags: "A", ack: 1001 });
  assertEquals(numbers(other.poll()), [1001, 2001], "a peer may take it back");
});

Deno.test("SACK blocks that cannot be are not believed", () => {
  const peer = new TestPeer().establish({ mss: 1000, sackPermitted: true });
  peer.write(5_000);
  peer.poll();
  peer.send({ flags: "A", ack: 1, sack: [[90_000, 91_000], [3000, 2000], [-500, 1]] });
  assertEquals(peer.session?.congestion.sacked.bytes, 0);
});

Deno.test("the peer's window is never exceeded; closed, it is probed with patience", () => {
  const peer = new TestPeer().establish({ mss: 1000, window: 2_500 });
  peer.write(6_000);
  assertEquals(lengths(peer.poll()), [1000, 1000], "the rest would be a silly segment");
  peer.send({ flags: "A", ack: 2001, window: 0 });
  assertEquals(peer.told(), []);
  const waits: number[] = [];
  let lastMs = peer.nowMs;
  for (let i = 0; i < 10_000; i += 10) {
    peer.pass(10);
    const probes = peer.poll();
    if (probes.length === 0) continue;
    assertEquals([probes.length, probes[0]?.seq, probes[0]?.data], [1, 2000, ""]);
    waits.push(peer.nowMs - lastMs);
    lastMs = peer.nowMs;
    peer.send({ flags: "A", ack: 2001, window: 0 });
  }
  assertEquals(waits, [200, 400, 800, 1_600, 3_200]);
  peer.pass(200_000);
  assertEquals([peer.closed, peer.stack.counters.windowProbes > 5], ["timeout", true], "probes that nobody answers end it");
});

Deno.test("a window that opens is used at once; a small one only after the override time-out", () => {
  const peer = new TestPeer().establish({ mss: 1000, window: 2_000 });
  peer.write(5_000);
  peer.poll();
  peer.send({ flags: "A", ack: 2001, window: 300 });
  assertEquals(peer.told(), []);
  peer.pass(250);
  assertEquals(lengths(peer.poll()), [300]);
  peer.send({ flags: "A", ack: 2301, window: 2_000 });
  assertEquals(lengths(peer.poll()), [1000, 1000]);
});

Deno.test("a window closed over what is on the way does not end the session while the peer answers", () => {
  const peer = new TestPeer({ limits: { userTimeoutMs: 20_000 } }).establish({ mss: 1000 });
  peer.write(3_000);
  peer.poll();
  for (let i = 0; i < 100; i++) {
    peer.send({ flags: "A", ack: 1, window: 0 });
    peer.pass(1_000);
    peer.poll();
  }
  assertEquals(peer.closed, null);
  peer.send({ flags: "A", ack: 3001 });
  assertEquals([peer.closed, peer.stack.bufferedBytes], [null, 0]);
});

Deno.test("the owner writes as much as there is room for, and hears when there is more", () => {
  const peer = new TestPeer({ limits: { sendBufferMaxBytes: 16_384 } }).establish({ mss: 1000 });
  assert(peer.session !== null);
  assertEquals([peer.stack.sendCapacity(peer.session), peer.write(20_000)], [16_384, 16_384]);
  assertEquals([peer.stack.sendCapacity(peer.session), peer.write(1)], [0, 0]);
  peer.poll();
  peer.send({ flags: "A", ack: 1001 });
  assertEquals(peer.heard(), [], "not for every crumb");
  peer.send({ flags: "A", ack: 8001 });
  assertEquals([peer.heard(), peer.stack.sendCapacity(peer.session)], [["writable"], 8000]);
  assertEquals(peer.stack.bufferedBytes, 16_384);
});

Deno.test("an ICMP error makes packets smaller only when it can be true", () => {
  const peer = new TestPeer({ maxBytes: 1400 }).establish({ mss: 1360 });
  peer.write(8_000);
  const original = peer.pollBytes();
  assert(original !== null);
  peer.poll();
  const tooBig = (mtuBytes: number, spoil: (bytes: Uint8Array<ArrayBuffer>) => void = () => {}) => {
    const quoted = Uint8Array.from(original), error = packetMemory(1500), ends = parseEnds("100.64.0.1", "10.100.0.2");
    assert(ends !== null);
    spoil(quoted);
    const length = encodeTooBig(error, 0, ends, mtuBytes, packetMemoryOf(quoted), 0, quoted.length);
    peer.packet(error.bytes.subarray(0, length));
  };
  tooBig(1000, (bytes) => bytes[24] = 0x77);
  tooBig(1000, (bytes) => bytes[21] = 81);
  tooBig(1400);
  assertEquals([peer.told(), peer.stack.counters.icmpIgnored], [[], 3], "another number, another port, not smaller");
  tooBig(1000);
  const again = peer.poll();
  assertEquals([again[0]?.seq, again[0]?.bytes], [1, 1000]);
  assert(again.every(({ bytes }) => bytes <= 1000));
  tooBig(68);
  assertEquals(peer.session?.pathMtuBytes, 552);
});

Deno.test("an unreachable port ends only a session that does not stand yet", () => {
  const unreachable = (peer: TestPeer) => {
    const original = peer.pollBytes(), error = packetMemory(600), ends = parseEnds("100.64.0.1", "10.100.0.2");
    assert(original !== null && ends !== null);
    const length = encodeUnreachable(error, 0, ends, "port", packetMemoryOf(Uint8Array.from(original)), 0, original.length);
    peer.packet(error.bytes.subarray(0, length));
    return peer.closed;
  };
  assertEquals(unreachable(new TestPeer().connect()), "unreachable");
  const standing = new TestPeer().establish();
  standing.write("x");
  assertEquals(unreachable(standing), null);
});
