/** Losses that no later segment tells of: at the end of a flight, and of what was sent again. */
import { assert, assertEquals } from "@std/assert";
import { TestPeer } from "./peer_fixture.ts";

/** A session with SACK and a round trip of nearly nothing, three segments on the way. */
function inFlight(bytes = 3_000): TestPeer {
  const peer = new TestPeer().establish({ mss: 1000, sackPermitted: true });
  peer.write(bytes);
  peer.poll();
  return peer;
}

const sent = (peer: TestPeer) => peer.poll().map(({ seq, data }) => [seq, data.length]);

Deno.test("after a short silence the last segment is sent again, once", () => {
  const peer = inFlight(2_500);
  peer.pass(9);
  assertEquals(sent(peer), []);
  peer.pass(1);
  assertEquals(sent(peer), [[1501, 1000]], "the last bytes, a segment of them");
  peer.pass(150);
  assertEquals([sent(peer), peer.stack.counters.lossProbes], [[], 1]);
  peer.pass(50);
  assertEquals([sent(peer), peer.stack.counters.retransmitTimeouts], [[[1, 1000]], 1], "then the time-out");
});

Deno.test("when the probe arrived, what was sent before it and did not is lost", () => {
  const peer = inFlight();
  peer.pass(10);
  assertEquals(sent(peer), [[2001, 1000]]);
  peer.send({ flags: "A", ack: 1, sack: [[2001, 3001]] });
  assertEquals([sent(peer), peer.session?.congestion.mode], [[[1, 1000], [1001, 1000]], "fast"]);
  peer.send({ flags: "A", ack: 3001 });
  assertEquals([peer.session?.congestion.mode, peer.stack.counters.retransmitTimeouts, peer.stack.bufferedBytes], ["open", 0, 0]);
});

Deno.test("the end of everything is probed too", () => {
  const peer = new TestPeer().establish({ mss: 1000, sackPermitted: true });
  peer.write("bye");
  peer.shutdown();
  peer.poll();
  peer.pass(50);
  assertEquals(peer.told(), ['FA seq=1 ack=1 "bye"']);
});

Deno.test("what was sent again and lost again is found by a probe, not by the time-out", () => {
  const peer = inFlight(10_000);
  peer.send({ flags: "A", ack: 1, sack: [[1001, 8001]] });
  assertEquals(sent(peer), [[1, 1000]]);
  peer.send({ flags: "A", ack: 1, sack: [[1001, 10_001]] });
  assertEquals(sent(peer), []);
  peer.pass(50);
  assertEquals(sent(peer), [[1, 1000]], "the hole itself is all that is missing");
  peer.send({ flags: "A", ack: 10_001 });
  assertEquals([peer.session?.congestion.mode, peer.stack.counters.retransmitTimeouts], ["open", 0]);
});

Deno.test("several holes sent again and lost: the probe's arrival begins them anew", () => {
  const peer = inFlight(10_000);
  peer.send({ flags: "A", ack: 1, sack: [[2001, 10_001]] });
  assertEquals(sent(peer), [[1, 1000], [1001, 1000]]);
  peer.pass(50);
  assertEquals(sent(peer), [[1001, 1000]]);
  peer.send({ flags: "A", ack: 1, sack: [[1001, 10_001]] });
  assertEquals(sent(peer), [[1, 1000]]);
});

Deno.test("new data is a better probe than old", () => {
  const peer = inFlight(12_000);
  peer.pass(10);
  assertEquals(sent(peer), [[10_001, 1000]]);
  peer.send({ flags: "A", ack: 1, sack: [[10_001, 11_001]] });
  assertEquals(sent(peer)[0], [1, 1000]);
});

Deno.test("a single segment is given the time of a delayed acknowledgement, and a needless probe costs nothing", () => {
  const peer = inFlight(1_000);
  peer.pass(49);
  assertEquals(sent(peer), []);
  peer.pass(1);
  assertEquals(sent(peer), [[1, 1000]]);
  const before = peer.session?.congestion.windowBytes;
  peer.send({ flags: "A", ack: 1001 });
  peer.send({ flags: "A", ack: 1001 });
  peer.write(1_000);
  peer.poll();
  peer.send({ flags: "A", ack: 2001 });
  assertEquals([peer.session?.congestion.windowBytes, peer.session?.probe.isSent], [before, false]);
});

Deno.test("a duplicate that the peer reports (RFC 2883) costs nothing either", () => {
  const peer = inFlight(1_000);
  peer.pass(50);
  peer.poll();
  peer.send({ flags: "A", ack: 1001, sack: [[1, 1001]] });
  assertEquals(peer.session?.probe.isSent, false);
});

Deno.test("a loss that the probe itself repaired makes the window smaller", () => {
  const peer = inFlight(1_000);
  peer.pass(50);
  peer.poll();
  const before = peer.session?.congestion.windowBytes ?? 0;
  peer.send({ flags: "A", ack: 1001 });
  peer.write(1_000);
  peer.poll();
  peer.send({ flags: "A", ack: 2001 });
  assertEquals(peer.session?.congestion.windowBytes, 0.7 * before);
});

Deno.test("without SACK, and while the time-out has the word, there are no probes", () => {
  const plain = new TestPeer().establish({ mss: 1000 });
  plain.write(3_000);
  plain.poll();
  plain.pass(150);
  assertEquals([sent(plain), plain.stack.counters.lossProbes], [[], 0]);
  const peer = inFlight();
  peer.pass(1_000);
  peer.poll();
  peer.pass(30_000);
  assert(peer.stack.counters.lossProbes <= 1);
});
