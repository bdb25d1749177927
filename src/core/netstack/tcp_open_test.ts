/** How sessions begin: the owner's decision, the handshake and its options, the limits, and everything that ends it early. */
import { assert, assertEquals } from "@std/assert";
import { fromHex, toHex } from "../../base/mod.ts";
import { TestPeer } from "./peer_fixture.ts";

const SYN = "45000028000040004006cc29644000010a6400029c400050000003e8000000005002ffffa0c30000";
const RST_ACK = "45000028000040004006cc290a6400026440000100509c4000000000000003e950140000a0b00000";

Deno.test("a refused SYN gets RST|ACK, byte for byte, and no session", () => {
  for (const decide of ["refuse", "wait"] as const) {
    const peer = new TestPeer({ decide });
    peer.packet(fromHex(SYN) ?? new Uint8Array());
    if (decide === "wait") {
      assertEquals(peer.pollBytes(), null);
      peer.abort();
    }
    assertEquals(toHex(peer.pollBytes() ?? new Uint8Array()), RST_ACK);
    assertEquals([peer.pollBytes(), peer.stack.sessionCount, peer.stack.sessions().length], [null, 0, 0]);
    assertEquals(peer.heard(), decide === "wait" ? ["closed aborted"] : []);
  }
});

Deno.test("the SYN-ACK leaves only when the owner accepts, and acknowledges the SYN", () => {
  const peer = new TestPeer({ decide: "wait" });
  peer.send({ flags: "S", seq: 0 });
  assertEquals([peer.told(), peer.session?.state], [[], "pending"]);
  peer.pass(1_000);
  assertEquals(peer.told(), []);
  assert(peer.session !== null && peer.stack.accept(peer.session, peer.nowMs));
  assertEquals(peer.told(), ["SA seq=0 ack=1"]);
  assert(!peer.stack.accept(peer.session, peer.nowMs), "once");
  peer.send({ flags: "A" });
  assertEquals([peer.told(), peer.heard(), peer.session.state], [[], ["open"], "established"]);
});

Deno.test("a SYN repeated while the backend is awaited is ignored; afterwards it is answered again with the same number", () => {
  const peer = new TestPeer({ decide: "wait" });
  for (let i = 0; i < 3; i++) peer.send({ flags: "S", seq: 0 });
  assertEquals([peer.told(), peer.stack.sessionCount, peer.stack.counters.synRepeated], [[], 1, 2]);
  if (peer.session !== null) peer.stack.accept(peer.session, peer.nowMs);
  assertEquals(peer.told(), ["SA seq=0 ack=1"]);
  peer.send({ flags: "S", seq: 0 });
  assertEquals(peer.told(), ["SA seq=0 ack=1"]);
});

Deno.test("options are answered only when they were offered", () => {
  const plain = new TestPeer();
  plain.send({ flags: "S", seq: 0 });
  const [answer] = plain.poll();
  assertEquals([answer?.scale, answer?.sackPermitted, answer?.mss, answer?.window], [-1, false, 1240, 65_535]);
  const rich = new TestPeer();
  rich.send({ flags: "S", seq: 0, scale: 7, sackPermitted: true, mss: 1460 });
  const [other] = rich.poll();
  assertEquals([other?.scale, other?.sackPermitted, other?.mss, other?.window], [6, true, 1240, 65_535]);
});

Deno.test("the MSS that we ask for fits both the peer and the way to us", () => {
  const asked = (mss: number, receiveMaxBytes: number, isIpv6 = false) => {
    const peer = new TestPeer({ maxBytes: 1306, receiveMaxBytes, isIpv6 });
    peer.send({ flags: "S", seq: 0, mss });
    return peer.poll()[0]?.mss;
  };
  assertEquals(asked(1460, 1150), 1110);
  assertEquals(asked(900, 1150), 900);
  assertEquals(asked(1460, 1306), 1266);
  assertEquals(asked(1460, 1306, true), 1246);
});

Deno.test("a backend that is not there in five seconds: RST|ACK, and the owner is told", () => {
  const peer = new TestPeer({ decide: "wait" });
  peer.send({ flags: "S", seq: 0 });
  peer.pass(4_999);
  assertEquals(peer.told(), []);
  peer.pass(2);
  assertEquals([peer.told(), peer.heard()], [["RA seq=0 ack=1 win=0"], ["closed backend-timeout"]]);
  assertEquals([peer.stack.sessionCount, peer.stack.nextTimeoutMs()], [0, Infinity]);
});

Deno.test("the eleventh SYN of a source within a second is refused, and one second later none is", () => {
  const peer = new TestPeer({ decide: "wait" });
  for (let i = 0; i < 15; i++) peer.send({ flags: "S", seq: 0, sourcePort: 1000 + i });
  assertEquals(peer.stack.sessionCount, 10);
  assertEquals(peer.told(), Array(5).fill("RA seq=0 ack=1 win=0"));
  assertEquals(peer.heard(), Array(5).fill("refused 100.64.0.1 80 rate"));
  peer.send({ flags: "S", seq: 0, sourcePort: 3000, source: "100.64.0.9" });
  assertEquals(peer.stack.sessionCount, 11, "another source has its own");
  peer.pass(1_000);
  peer.send({ flags: "S", seq: 0, sourcePort: 2000 });
  assertEquals([peer.stack.sessionCount, peer.stack.counters.synRefusedRate], [12, 5]);
});

Deno.test("sessions are limited in all, and for each agent or unnamed source", () => {
  const open = (agentKey: string | null, limits: { sessionsMax: number; sessionsPerAgentMax: number }) => {
    const peer = new TestPeer({ agentKey, limits: { ...limits, synPerSourcePerSecondMax: 100 } });
    for (let i = 0; i < 6; i++) {
      peer.send({ flags: "S", seq: 0, sourcePort: 1000 + i, source: i < 4 ? "100.64.0.1" : "100.64.0.2" });
    }
    return [peer.stack.sessionCount, peer.heard().map((event) => event.split(" ").at(-1)).join(" ")];
  };
  assertEquals(open("a", { sessionsMax: 5, sessionsPerAgentMax: 10 }), [5, "sessions"]);
  assertEquals(open("a", { sessionsMax: 10, sessionsPerAgentMax: 3 }), [3, "agent agent agent"]);
  assertEquals(open(null, { sessionsMax: 10, sessionsPerAgentMax: 3 }), [5, "agent"]);
});

Deno.test("sources that are counted are limited, and forgotten in time", () => {
  const peer = new TestPeer({ agentKey: null, decide: "refuse", limits: { accountsMax: 3 } });
  for (let i = 1; i <= 5; i++) peer.send({ flags: "S", seq: 0, source: `100.64.0.${i}` });
  assertEquals(peer.stack.counters.synRefusedAccounts, 2);
  peer.pass(2_001);
  peer.send({ flags: "S", seq: 0, source: "100.64.0.9" });
  assertEquals(peer.stack.counters.synRefusedAccounts, 2);
});

Deno.test("agents whose sessions ended make room for others", () => {
  const peer = new TestPeer({ agentKey: null, decide: "wait", limits: { accountsMax: 5 } });
  for (let i = 0; i < 20; i++) {
    peer.send({ flags: "S", seq: 0, source: `100.64.${i}.1` });
    peer.abort();
    peer.poll();
    peer.pass(2_001);
  }
  assertEquals([peer.stack.counters.synRefusedAccounts, peer.heard().length], [0, 20]);
});

Deno.test("a SYN-ACK without answer is sent again, ever more slowly, and the session ends", () => {
  const peer = new TestPeer();
  peer.send({ flags: "S", seq: 0 });
  const sentAt: number[] = [];
  const beginMs = peer.nowMs;
  for (let i = 0; i < 31_000; i += 100) {
    if (peer.poll().some(({ flags }) => flags === "SA")) sentAt.push(peer.nowMs - beginMs);
    peer.pass(100);
  }
  assertEquals(sentAt, [0, 1_000, 3_000, 7_000, 15_000]);
  assertEquals([peer.closed, peer.stack.sessionCount, peer.stack.counters.handshakeTimeouts], ["timeout", 0, 1]);
});

Deno.test("numbers differ from flow to flow, advance with the clock, and do not repeat for another key", () => {
  const isn = (port: number, waitMs: number) => {
    const peer = new TestPeer();
    peer.pass(waitMs);
    peer.send({ flags: "S", seq: 0, sourcePort: port });
    return peer.isn;
  };
  assert(isn(1000, 0) !== isn(1001, 0));
  assertEquals((isn(1000, 400) - isn(1000, 0)) | 0, 100_000);
});

Deno.test("connect: SYN with options, the answer's MSS, window and scale are obeyed", () => {
  const peer = new TestPeer({ maxBytes: 1400 }).connect();
  const [syn] = peer.poll();
  assertEquals([syn?.flags, syn?.mss, syn?.scale, syn?.sackPermitted], ["S", 1360, 6, true]);
  peer.send({ flags: "SA", seq: 0, ack: 1, mss: 500, scale: 2, sackPermitted: true, window: 1200 });
  assertEquals([peer.told(), peer.heard()], [["A seq=1 ack=1"], ["open"]]);
  peer.write(5_000);
  assertEquals(peer.told(), ["A seq=1 ack=1 len=500", "A seq=501 ack=1 len=500"], "the SYN's window is not scaled");
  peer.send({ flags: "A", ack: 1001, window: 1_000 });
  assertEquals(peer.poll().length, 8, "later ones are");
});

Deno.test("connect: refused by RST, and by an ICMP error only while nothing stands", () => {
  const peer = new TestPeer().connect();
  peer.poll();
  peer.send({ flags: "RA", seq: 0, ack: 7 });
  assertEquals(peer.closed, null, "a RST that does not acknowledge our SYN is ignored");
  peer.send({ flags: "RA", seq: 0, ack: 1 });
  assertEquals([peer.closed, peer.stack.sessionCount], ["reset", 0]);
});

Deno.test("both ends open at once and come together", () => {
  const peer = new TestPeer().connect();
  assertEquals(peer.told(), ["S seq=0"]);
  peer.send({ flags: "S", seq: 0, mss: 1000 });
  assertEquals(peer.told(), ["SA seq=0 ack=1"]);
  peer.send({ flags: "SA", seq: 0, ack: 1 });
  assertEquals(peer.told(), ["A seq=1 ack=1"]);
  peer.send({ flags: "A", ack: 1 });
  assertEquals([peer.session?.state, peer.heard()], ["established", ["open"]]);
});

Deno.test("a late event of a session does nothing to the next one with the same ends", () => {
  const peer = new TestPeer().establish();
  const first = peer.session;
  assert(first !== null);
  peer.send({ flags: "R", seq: 1 });
  peer.establish();
  const second = peer.session;
  assert(second !== null && second !== first && second.id !== first.id);
  peer.stack.abort(first, peer.nowMs);
  peer.stack.shutdownWrite(first, peer.nowMs);
  peer.stack.windowOpened(first, peer.nowMs);
  assertEquals([peer.stack.accept(first, peer.nowMs), peer.stack.sendCapacity(first)], [false, 0]);
  assertEquals([peer.told(), second.state, peer.stack.sessionCount], [[], "established", 1]);
});

Deno.test("a path that closes ends its sessions without a word", () => {
  const peer = new TestPeer().establish();
  peer.write("x");
  peer.stack.closePath(peer.path, peer.nowMs);
  assertEquals([peer.told(), peer.heard(), peer.stack.sessionCount, peer.stack.bufferedBytes], [[], ["closed path-closed"], 0, 0]);
});
