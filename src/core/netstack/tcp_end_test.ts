/** How sessions end: FINs in every order, TIME-WAIT, idleness, silent owners and peers; and that nothing stays behind. */
import { assertEquals } from "@std/assert";
import { TestPeer } from "./peer_fixture.ts";

Deno.test("the FIN goes with the last data, is sent again, and ends only our direction", () => {
  const peer = new TestPeer().establish();
  peer.write("bye");
  peer.shutdown();
  assertEquals([peer.told(), peer.session?.state], [['FPA seq=1 ack=1 "bye"'], "finWait1"]);
  assertEquals(peer.write("more"), 0);
  peer.pass(250);
  assertEquals(peer.told(), ['FA seq=1 ack=1 "bye"']);
  peer.send({ flags: "A", ack: 5 });
  assertEquals(peer.session?.state, "finWait2");
  peer.send({ flags: "PA", seq: 1, ack: 5, data: "still here" });
  peer.send({ flags: "FA", seq: 11, ack: 5 });
  assertEquals(peer.heard(), ["data still here", "fin", "closed finished"]);
  assertEquals([peer.told(), peer.session?.state], [["A seq=5 ack=12"], "timeWait"]);
});

Deno.test("the owner may end its direction before the handshake is done", () => {
  const peer = new TestPeer();
  peer.send({ flags: "S", seq: 0 });
  peer.shutdown();
  assertEquals(peer.told(), ["SA seq=0 ack=1"]);
  peer.send({ flags: "A" });
  assertEquals(peer.told(), ["FA seq=1 ack=1"]);
});

Deno.test("after the peer's FIN the owner still answers; then both are done", () => {
  const peer = new TestPeer().establish();
  peer.send({ flags: "FA", seq: 1, data: "request" });
  peer.poll();
  peer.write("response");
  assertEquals(peer.told(), ['PA seq=1 ack=9 "response"']);
  peer.shutdown();
  assertEquals([peer.told(), peer.session?.state], [["FA seq=9 ack=9"], "lastAck"]);
  peer.send({ flags: "A", seq: 9, ack: 10 });
  assertEquals([peer.closed, peer.stack.sessionCount, peer.stack.sessions().length], ["finished", 0, 0]);
});

Deno.test("both FINs at once", () => {
  const peer = new TestPeer().establish();
  peer.shutdown();
  peer.poll();
  peer.send({ flags: "FA", seq: 1, ack: 1 });
  assertEquals([peer.told(), peer.session?.state], [["A seq=2 ack=2"], "closing"]);
  peer.send({ flags: "A", seq: 2, ack: 2 });
  assertEquals([peer.session?.state, peer.closed], ["timeWait", "finished"]);
});

Deno.test("an owner that is slow to take the last data is not told that all is finished before it has", () => {
  const peer = new TestPeer({ take: () => 0 }).establish();
  peer.shutdown();
  peer.poll();
  peer.send({ flags: "FA", seq: 1, ack: 2, data: "tail" });
  assertEquals([peer.session?.state, peer.heard(), peer.stack.sessionCount], ["timeWait", [], 1]);
  peer.pass(60_000);
  peer.send({ flags: "R", seq: 6 });
  peer.take = (length) => length;
  if (peer.session !== null) peer.stack.windowOpened(peer.session, peer.nowMs);
  assertEquals([peer.heard(), peer.stack.sessionCount], [["data tail", "fin", "closed finished"], 0]);
});

Deno.test("TIME-WAIT answers a repeated FIN, ends in time, is bounded, and gives way to a new SYN", () => {
  const finish = (peer: TestPeer, sourcePort: number) => {
    peer.send({ flags: "S", seq: 0, sourcePort });
    peer.poll();
    peer.send({ flags: "A", sourcePort });
    peer.shutdown();
    peer.poll();
    peer.send({ flags: "FA", ack: 2, sourcePort });
    peer.poll();
  };
  const peer = new TestPeer({ limits: { timeWaitMax: 3 } });
  for (let port = 1000; port < 1005; port++) finish(peer, port);
  assertEquals([peer.stack.timeWaitCount, peer.stack.sessionCount], [3, 0]);
  peer.send({ flags: "FA", ack: 2, sourcePort: 1004 });
  assertEquals(peer.told(), ["A seq=2 ack=2"]);
  peer.send({ flags: "S", seq: 50_000, sourcePort: 1004 });
  assertEquals([peer.told(), peer.stack.timeWaitCount, peer.stack.sessionCount], [["SA seq=0 ack=50001"], 2, 1]);
  peer.pass(10_001);
  assertEquals(peer.stack.timeWaitCount, 0);
});

Deno.test("an idle session is reset, a busy one is not", () => {
  const peer = new TestPeer({ limits: { idleMs: 60_000 } }).establish();
  for (let i = 0; i < 10; i++) {
    peer.pass(50_000);
    peer.send({ flags: "PA", seq: 1 + i, data: "x" });
  }
  peer.poll();
  peer.pass(59_000);
  assertEquals(peer.closed, null);
  peer.poll();
  peer.pass(1_001);
  assertEquals([peer.closed, peer.told()], ["idle", ["RA seq=1 ack=11 win=0"]]);
});

Deno.test("after the peer's FIN a silent owner is given five seconds, then we end too", () => {
  const peer = new TestPeer().establish();
  peer.write("greeting");
  peer.poll();
  peer.send({ flags: "FA", seq: 1, ack: 9 });
  peer.poll();
  peer.pass(4_999);
  assertEquals([peer.told(), peer.session?.state], [[], "closeWait"]);
  peer.pass(1);
  assertEquals([peer.told(), peer.session?.state, peer.stack.counters.sessionsDrained], [["FA seq=9 ack=2"], "lastAck", 1]);
  peer.send({ flags: "A", seq: 2, ack: 10 });
  assertEquals(peer.closed, "finished");
});

Deno.test("an owner that answers after the peer's FIN gets the time anew with every progress; half an answer ends with RST", () => {
  const answer = (peer: TestPeer) => {
    peer.send({ flags: "FA", seq: 1 });
    for (let i = 0; i < 4; i++) {
      peer.poll();
      peer.pass(4_000);
      peer.write("drip");
      peer.poll();
      peer.send({ flags: "A", seq: 2, ack: 5 + 4 * i });
    }
    assertEquals(peer.session?.state, "closeWait");
  };
  const whole = new TestPeer().establish();
  answer(whole);
  whole.shutdown();
  assertEquals([whole.told(), whole.session?.state], [["FA seq=17 ack=2"], "lastAck"]);

  const half = new TestPeer().establish();
  answer(half);
  half.pass(5_000);
  assertEquals([half.told(), half.closed, half.stack.counters.sessionsUnfinished], [["RA seq=17 ack=2 win=0"], "unfinished", 1]);

  const patient = new TestPeer({ limits: { drainMs: 60_000 } }).establish();
  answer(patient);
  patient.pass(59_000);
  assertEquals(patient.session?.state, "closeWait");
});

Deno.test("keepalives ask a silent peer, and end the session of a dead one", () => {
  const limits = { keepaliveMs: 60_000, keepaliveIntervalMs: 10_000, keepaliveProbesMax: 3 };
  const peer = new TestPeer({ limits }).establish();
  peer.pass(60_000);
  assertEquals(peer.told(), ["A seq=0 ack=1"]);
  peer.send({ flags: "A" });
  peer.pass(59_999);
  assertEquals(peer.told(), []);
  for (let i = 0; i < 3; i++) {
    peer.pass(10_000);
    assertEquals(peer.told(), ["A seq=0 ack=1"]);
  }
  peer.pass(10_000);
  assertEquals([peer.closed, peer.told()], ["timeout", ["RA seq=1 ack=1 win=0"]]);
});

Deno.test("ten thousand sessions of each kind of end leave nothing behind", () => {
  const peer = new TestPeer({ limits: { synPerSourcePerSecondMax: 1e9, timeWaitMs: 10 } });
  const ends: Readonly<Record<string, () => void>> = {
    reset: () => peer.send({ flags: "R" }),
    abort: () => peer.abort(),
    finish: () => {
      peer.shutdown();
      peer.poll();
      peer.send({ flags: "FA", ack: peer.session?.send.isFinSent === true ? 3 : 2 });
    },
    refuse: () => {
      peer.abort();
      peer.send({ flags: "A", data: 10 });
    },
    timeout: () => peer.pass(130_000),
    idle: () => peer.pass(3_700_000),
  };
  for (const [name, end] of Object.entries(ends)) {
    const rounds = name === "timeout" || name === "idle" ? 500 : 10_000;
    for (let i = 0; i < rounds; i++) {
      peer.establish();
      if (name !== "idle") peer.write("x");
      peer.poll();
      end();
      peer.poll();
      peer.pass(20);
    }
    assertEquals([peer.stack.sessionCount, peer.stack.timeWaitCount, peer.stack.sessions().length], [0, 0, 0], name);
    assertEquals([peer.stack.bufferedBytes, peer.stack.nextTimeoutMs()], [0, Infinity], name);
  }
});
