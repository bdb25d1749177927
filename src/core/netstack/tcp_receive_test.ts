/** What comes from the peer: order, gaps, repetition, windows, acknowledgements, the end of its direction. */
import { assert, assertEquals } from "@std/assert";
import { TestPeer } from "./peer_fixture.ts";

Deno.test("data is delivered in order and once, whatever order it comes in", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "A", seq: 4, data: "def" });
  peer.send({ flags: "A", seq: 10, data: "jkl" });
  peer.send({ flags: "A", seq: 3, data: "cdefg" });
  assertEquals(peer.delivered, "");
  peer.send({ flags: "A", seq: 1, data: "abc" });
  assertEquals(peer.delivered, "abcdefg");
  peer.send({ flags: "A", seq: 1, data: "abcdefgh" });
  peer.send({ flags: "A", seq: 2, data: "bcd" });
  peer.send({ flags: "A", seq: 8, data: "hijkl" });
  assertEquals([peer.delivered, peer.told()], ["abcdefghijkl", ["A seq=1 ack=13"]]);
  assertEquals(peer.stack.bufferedBytes, 0);
});

Deno.test("a segment is acknowledged with the second one, or after 40 ms", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "A", seq: 1, data: 100 });
  assertEquals(peer.told(), []);
  peer.pass(39);
  assertEquals(peer.told(), []);
  peer.pass(1);
  assertEquals(peer.told(), ["A seq=1 ack=101"]);
  peer.send({ flags: "A", seq: 101, data: 100 });
  peer.send({ flags: "A", seq: 201, data: 100 });
  assertEquals(peer.told(), ["A seq=1 ack=301"]);
});

Deno.test("an acknowledgement rides on data that leaves anyway", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "PA", seq: 1, data: "question" });
  peer.write("answer");
  assertEquals(peer.told(), ['PA seq=1 ack=9 "answer"']);
  peer.pass(100);
  assertEquals(peer.told(), []);
});

Deno.test("what fills a gap, repeats or leaves one is acknowledged at once", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "A", seq: 11, data: 10 });
  assertEquals(peer.told(), ["A seq=1 ack=1"]);
  peer.send({ flags: "A", seq: 1, data: 10 });
  assertEquals(peer.told(), ["A seq=1 ack=21"]);
  peer.send({ flags: "A", seq: 11, data: 10 });
  assertEquals(peer.told(), ["A seq=1 ack=21"]);
});

Deno.test("without SACK each segment beyond a gap is one duplicate acknowledgement, though polled late", () => {
  const peer = new TestPeer().establish();
  for (let i = 0; i < 4; i++) peer.send({ flags: "A", seq: 101 + 10 * i, data: 10 });
  assertEquals(peer.told(), Array(4).fill("A seq=1 ack=1"));
});

Deno.test("with SACK the newest range is named first", () => {
  const peer = new TestPeer().establish({ sackPermitted: true });
  peer.send({ flags: "A", seq: 101, data: 10 });
  peer.send({ flags: "A", seq: 301, data: 10 });
  assertEquals(peer.told(), ["A seq=1 ack=1 sack=301-311 sack=101-111"]);
  peer.send({ flags: "A", seq: 111, data: 10 });
  assertEquals(peer.told(), ["A seq=1 ack=1 sack=101-121 sack=301-311"]);
  peer.send({ flags: "A", seq: 1, data: 100 });
  assertEquals(peer.told(), ["A seq=1 ack=121 sack=301-311"]);
});

Deno.test("no more gaps than the limit, and no data beyond the window", () => {
  const peer = new TestPeer({ limits: { reassemblyRangesMax: 2, receiveBufferMaxBytes: 4096 } }).establish();
  for (const seq of [101, 201, 301]) peer.send({ flags: "A", seq, data: 10 });
  assertEquals(peer.stack.counters.reassemblyFull, 1);
  peer.send({ flags: "A", seq: 4_090, data: 100 });
  peer.send({ flags: "A", seq: 5_000, data: 100 });
  assertEquals(peer.stack.counters.segmentsOutsideWindow, 1);
  peer.send({ flags: "A", seq: 1, data: 3000 });
  peer.send({ flags: "A", seq: 3001, data: 3000 });
  assertEquals([peer.delivered.length, peer.stack.bufferedBytes], [4096, 0], "cut at the window that was told");
});

Deno.test("an owner that takes nothing closes the window; when it takes, the peer hears of it", () => {
  const peer = new TestPeer({ limits: { receiveBufferMaxBytes: 8192 }, take: () => 0 }).establish();
  for (let i = 0; i < 8; i++) peer.send({ flags: "A", seq: 1 + 1024 * i, data: 1024 });
  const closed = peer.poll().at(-1);
  assertEquals([closed?.ack, closed?.window, peer.delivered.length], [8193, 0, 0]);
  peer.send({ flags: "A", seq: 8193, data: 1 });
  assertEquals(peer.poll().at(-1)?.ack, 8193, "a probe is answered, its byte is not taken");
  assert(peer.session !== null);
  peer.take = (length) => Math.min(length, 1000);
  peer.stack.windowOpened(peer.session, peer.nowMs);
  assertEquals([peer.delivered.length, peer.told()], [1000, []], "less than is worth telling");
  peer.take = (length) => length;
  peer.stack.windowOpened(peer.session, peer.nowMs);
  const [update] = peer.poll();
  assertEquals([peer.delivered.length, update?.ack, update?.window], [8192, 8193, 8192]);
  assertEquals(peer.stack.bufferedBytes, 0);
});

Deno.test("at a closed window the peer's acknowledgement is still heard, or two full sides would wait for ever", () => {
  const peer = new TestPeer({ limits: { receiveBufferMaxBytes: 4096 }, take: () => 0 }).establish();
  for (let i = 0; i < 4; i++) peer.send({ flags: "A", seq: 1 + 1024 * i, data: 1024 });
  peer.write("ours");
  peer.poll();
  peer.send({ flags: "A", seq: 4097, data: 1, ack: 5 });
  assertEquals([peer.session?.send.ring.used, peer.session?.receive.next], [0, peer.session?.receive.edge]);
});

Deno.test("the window's end never moves back and not in silly steps", () => {
  const peer = new TestPeer({ limits: { receiveBufferMaxBytes: 8192 }, take: () => 0 }).establish();
  let edge = 1;
  const gains: number[] = [];
  for (let i = 0; i < 80; i++) {
    peer.send({ flags: "A", seq: 1 + 100 * i, data: 100 });
    peer.pass(50);
    for (const { ack, window } of peer.poll()) {
      if (ack + window !== edge) gains.push(ack + window - edge);
      edge = ack + window;
    }
    if (i % 10 === 9) {
      peer.take = (length) => Math.min(length, 300);
      if (peer.session !== null) peer.stack.windowOpened(peer.session, peer.nowMs);
      peer.take = () => 0;
    }
  }
  // The first is the whole window; a segment of this peer has 1000 bytes.
  assertEquals(gains, [8192, 1200]);
});

Deno.test("a scaled window lets more than 64 KiB come", () => {
  const peer = new TestPeer({ take: () => 0 }).establish({ scale: 2, mss: 1200 });
  let seq = 1;
  for (; seq < 60_000; seq += 1200) peer.send({ flags: "A", seq, data: 1200 });
  const last = peer.poll().at(-1);
  assert(last !== undefined);
  // Rounded up: the end of the window does not move back.
  assertEquals(last.window << 6, Math.floor((524_288 - (last.ack - 1)) / 64) * 64);
});

/** The window that the peer is told after it has sent so many quarters of a MiB, one in each of the given milliseconds. */
function windowAfter(quarters: number, msEach: number, roundTripMs = 20): number {
  const peer = new TestPeer();
  peer.send({ flags: "S", seq: 0, mss: 1200, scale: 2 });
  peer.poll();
  peer.pass(roundTripMs);
  peer.send({ flags: "A" });
  let window = 0;
  for (let seq = 1; seq < quarters * 262_144; seq += 1024) {
    if (seq % 262_144 === 1) peer.pass(msEach);
    peer.send({ flags: "A", seq, data: 1024 });
    window = (peer.poll().at(-1)?.window ?? window / 64) * 64;
  }
  return window;
}

Deno.test("the window grows to its bound for a peer that fills it within a long round trip, and for no other", () => {
  const MIB = 1024 * 1024;
  assertEquals([windowAfter(1, 10), windowAfter(40, 10), windowAfter(40, 3)], [MIB / 2, MIB, 2 * MIB]);
  assertEquals(windowAfter(40, 20), MIB / 2, "filled more slowly");
  assertEquals(windowAfter(40, 1, 10), MIB / 2, "a short path");
});

Deno.test("data with the FIN is delivered before the end, and both are acknowledged", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "FPA", seq: 1, data: "last words" });
  assertEquals([peer.heard(), peer.told(), peer.session?.state], [["data last words", "fin"], ["A seq=1 ack=12"], "closeWait"]);
});

Deno.test("a FIN beyond a gap waits for what is missing", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "FA", seq: 4, data: "def" });
  assertEquals(peer.heard(), []);
  peer.send({ flags: "A", seq: 1, data: "abc" });
  assertEquals([peer.heard(), peer.told().at(-1)], [["data abc", "data def", "fin"], "A seq=1 ack=8"]);
});

Deno.test("a FIN is told to the owner only when it has taken everything before it", () => {
  const peer = new TestPeer({ take: () => 0 }).establish();
  peer.send({ flags: "FA", seq: 1, data: "slow" });
  assertEquals([peer.heard(), peer.told()], [[], ["A seq=1 ack=6"]]);
  peer.take = (length) => length;
  if (peer.session !== null) peer.stack.windowOpened(peer.session, peer.nowMs);
  assertEquals(peer.heard(), ["data slow", "fin"]);
});

Deno.test("the owner may abort from within a delivery", () => {
  const peer = new TestPeer().establish();
  peer.take = (length) => {
    peer.abort();
    return length;
  };
  peer.send({ flags: "FA", seq: 1, data: "poison" });
  assertEquals([peer.heard(), peer.told()], [["closed aborted", "data poison"], ["RA seq=1 ack=1 win=0"]]);
  assertEquals([peer.stack.sessionCount, peer.stack.bufferedBytes, peer.stack.nextTimeoutMs()], [0, 0, Infinity]);
});

Deno.test("RST: exact ends the session, within the window is questioned, outside is nothing", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "R", seq: 70_000 });
  assertEquals(peer.told(), []);
  peer.send({ flags: "R", seq: 2 });
  assertEquals([peer.told(), peer.closed], [["A seq=1 ack=1"], null]);
  peer.send({ flags: "R", seq: 1 });
  assertEquals([peer.told(), peer.closed, peer.stack.sessionCount], [[], "reset", 0]);
});

Deno.test("challenge acknowledgements have a rate", () => {
  const peer = new TestPeer().establish();
  let answered = 0;
  for (let i = 0; i < 50; i++) {
    peer.send({ flags: "S", seq: 5_000 });
    answered += peer.told().length;
  }
  assertEquals([answered, peer.stack.counters.challengeAcksSuppressed], [10, 40]);
  peer.pass(1_000);
  peer.send({ flags: "S", seq: 5_000 });
  assertEquals(peer.told(), ["A seq=1 ack=1"]);
});

Deno.test("an acknowledgement that was overtaken is heard and not answered", () => {
  const peer = new TestPeer().establish();
  peer.write("abcdef");
  peer.poll();
  peer.send({ flags: "A", seq: 1, data: 10, ack: 1 });
  peer.send({ flags: "A", seq: 1, ack: 7 });
  assertEquals([peer.told(), peer.stack.bufferedBytes], [[], 0]);
});

Deno.test("memory that all sessions share runs out: nothing is lost, the peer sends again", () => {
  const peer = new TestPeer({ limits: { buffersTotalMaxBytes: 8192 }, take: () => 0 }).establish();
  for (let seq = 1; seq < 40_000; seq += 1000) peer.send({ flags: "A", seq, data: 1000 });
  assert(peer.stack.bufferedBytes <= 8192 + 4096);
  assert(peer.stack.counters.receiveMemory > 0);
  peer.take = (length) => length;
  if (peer.session !== null) peer.stack.windowOpened(peer.session, peer.nowMs);
  const acked = peer.poll().at(-1)?.ack ?? 0;
  assertEquals(acked, peer.delivered.length + 1, "acknowledged is what was kept");
});

Deno.test("data that is held is offered at once, in order, and before the end, a reset, or more of it than one offer takes", () => {
  const peer = new TestPeer({ holdsData: true }).establish({ scale: 7 });
  const deliver = () => {
    peer.stack.deliver(peer.nowMs);
    return peer.heard();
  };
  peer.send({ flags: "A", seq: 1, data: "ab" });
  peer.send({ flags: "A", seq: 3, data: "cd" });
  assertEquals(peer.heard(), []);
  assertEquals(deliver(), ["data abcd"]);
  assertEquals([peer.told(), deliver(), peer.stack.bufferedBytes], [["A seq=1 ack=5"], [], 0]);
  peer.send({ flags: "A", seq: 7, data: "gh" });
  peer.send({ flags: "A", seq: 5, data: "ef" });
  peer.send({ flags: "A", seq: 9, data: "i" });
  assertEquals([...peer.heard(), ...deliver()].join("").replaceAll("data ", ""), "efghi");
  for (let i = 0; i < 70; i++) peer.send({ flags: "A", seq: 10 + 1000 * i, data: 1000 });
  assert(peer.heard().length > 0, "not everything waits");
  assert(peer.stack.bufferedBytes <= 64 * 1024);
  peer.send({ flags: "A", seq: 70_010, data: "last" });
  peer.send({ flags: "R", seq: 70_014 });
  assertEquals([peer.delivered.endsWith("xlast"), peer.delivered.length, peer.closed], [true, 70_013, "reset"]);
  assertEquals(deliver().at(-1), "closed reset");
  assertEquals([deliver(), peer.stack.bufferedBytes], [[], 0]);

  const ending = new TestPeer({ holdsData: true }).establish();
  ending.send({ flags: "A", seq: 1, data: "so" });
  ending.send({ flags: "FA", seq: 3, data: "long" });
  assertEquals(ending.heard(), ["data solong", "fin"]);

  const slow = new TestPeer({ holdsData: true, take: (length) => Math.min(3, length) }).establish();
  slow.send({ flags: "A", seq: 1, data: "abcd" });
  slow.send({ flags: "A", seq: 5, data: "ef" });
  slow.stack.deliver(slow.nowMs);
  slow.send({ flags: "A", seq: 7, data: "gh" });
  slow.stack.deliver(slow.nowMs);
  assertEquals(slow.heard(), ["data abc"], "who did not take all is asked no more");
  slow.take = (length) => length;
  if (slow.session !== null) slow.stack.windowOpened(slow.session, slow.nowMs);
  assertEquals(slow.heard(), ["data defgh"]);
});
