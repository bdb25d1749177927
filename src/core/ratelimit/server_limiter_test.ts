/** Each limit is reached alone, is counted under its name, and leaves other clients alone. */
import { assert, assertEquals } from "@std/assert";
import {
  LIMIT_NAMES,
  type LimitName,
  METERED,
  type PeerLimiter,
  type Rate,
  RATE_LIMITS,
  type RateLimits,
  ServerLimiter,
} from "./mod.ts";

const NONE = { connection: null, source: null, all: null };
const UNLIMITED: RateLimits = {
  connections: { source: 1000, all: 1000 },
  services: { connection: 1000, source: 1000, identity: 1000 },
  flows: { connection: 1000, identity: 1000, anonymous: 1000 },
  sessions: { connection: 1000, identity: 1000 },
  handshakes: { source: null, all: null },
  registrations: NONE,
  datagrams: NONE,
  bytes: NONE,
  opens: NONE,
  signals: NONE,
  sourcesMax: 100,
};
const TWO: Rate = { perSecond: 1, burst: 2 };

function admitted(limiter: ServerLimiter, source: string, nowMs = 0): PeerLimiter {
  const admission = limiter.admit(source, nowMs);
  assert(admission.kind === "admitted");
  return admission.peer;
}

function counted(limiter: ServerLimiter): [LimitName, number][] {
  return LIMIT_NAMES.filter((name) => limiter.refused[name] > 0).map((name) => [name, limiter.refused[name]]);
}

Deno.test("connections are limited per source and in all, and released ones make room", () => {
  const limiter = new ServerLimiter({ ...UNLIMITED, connections: { source: 2, all: 3 } }, 0);
  const first = admitted(limiter, "a");
  admitted(limiter, "a");
  assertEquals(limiter.admit("a", 0), { kind: "refused", by: "connections-per-source" });
  admitted(limiter, "b");
  assertEquals(limiter.admit("b", 0), { kind: "refused", by: "connections-per-all" });
  limiter.release(first);
  limiter.release(first);
  assertEquals(limiter.connections, 2);
  admitted(limiter, "a");
  assertEquals(counted(limiter), [["connections-per-source", 1], ["connections-per-all", 1]]);
});

Deno.test("handshakes are limited per source and in all", () => {
  const limiter = new ServerLimiter({ ...UNLIMITED, handshakes: { source: TWO, all: { perSecond: 1, burst: 3 } } }, 0);
  assertEquals(["a", "a", "a", "b", "b"].map((source) => limiter.admit(source, 0).kind), [
    "admitted",
    "admitted",
    "refused",
    "admitted",
    "refused",
  ]);
  assertEquals(counted(limiter), [["handshakes-per-source", 1], ["handshakes-per-all", 1]]);
  assertEquals(limiter.admit("a", 1000).kind, "admitted");
});

Deno.test("a connection that was refused costs neither its source nor the server a handshake", () => {
  const limiter = new ServerLimiter(
    { ...UNLIMITED, connections: { source: 1, all: 9 }, handshakes: { source: null, all: TWO } },
    0,
  );
  admitted(limiter, "a");
  for (let i = 0; i < 5; i++) limiter.admit("a", 0);
  admitted(limiter, "b");
});

Deno.test("every meter is limited in every scope, and others are unaffected", () => {
  for (const metered of METERED) {
    for (const scope of ["connection", "source", "all"] as const) {
      const limiter = new ServerLimiter({ ...UNLIMITED, [metered]: { ...NONE, [scope]: TWO } }, 0);
      const one = admitted(limiter, "a");
      const sameSource = admitted(limiter, "a");
      const other = admitted(limiter, "b");
      const use = (peer: PeerLimiter, nowMs = 0) =>
        metered === "registrations"
          ? peer.allowRegistration(nowMs)
          : metered === "opens"
          ? peer.allowOpen(nowMs)
          : metered === "signals"
          ? peer.allowSignal(nowMs)
          : peer.allowDatagram(1, nowMs);
      const name = `${metered}-per-${scope}` as const;
      assertEquals([use(one), use(one), use(one), use(one)], [null, null, name, name]);
      assertEquals(use(sameSource), scope === "connection" ? null : name);
      assertEquals(use(other), scope === "all" ? name : null);
      assertEquals(use(one, 1000), null);
      assertEquals(counted(limiter), [[name, scope === "connection" ? 2 : scope === "source" ? 3 : 4]]);
    }
  }
});

Deno.test("a datagram that is refused for its bytes is not counted as a datagram, nor the other way", () => {
  const limiter = new ServerLimiter({
    ...UNLIMITED,
    datagrams: { ...NONE, connection: TWO },
    bytes: { ...NONE, all: { perSecond: 1, burst: 100 } },
  }, 0);
  const peer = admitted(limiter, "a");
  assertEquals(peer.allowDatagram(101, 0), "bytes-per-all");
  assertEquals([peer.allowDatagram(50, 0), peer.allowDatagram(10, 0)], [null, null]);
  assertEquals(peer.allowDatagram(10, 0), "datagrams-per-connection");
  assertEquals(admitted(limiter, "a").allowDatagram(40, 0), null);
});

Deno.test("bytes of streams are what the scarcest of the scopes has left, and share it with datagrams", () => {
  const limiter = new ServerLimiter({
    ...UNLIMITED,
    bytes: { connection: { perSecond: 1_000, burst: 500 }, source: null, all: { perSecond: 100, burst: 800 } },
  }, 0);
  const one = admitted(limiter, "a"), other = admitted(limiter, "b");
  assertEquals([one.bytesAllowed(0), one.noteBytesWait(0)], [500, null]);
  one.spendBytes(400);
  assertEquals([one.bytesAllowed(0), one.allowDatagram(101, 0), one.allowDatagram(100, 0)], [100, "bytes-per-connection", null]);
  assertEquals([one.bytesAllowed(0), other.bytesAllowed(0)], [0, 300]);
  assertEquals([one.noteBytesWait(0), other.noteBytesWait(0)], ["bytes-per-connection", null]);
  other.spendBytes(300);
  assertEquals([other.noteBytesWait(0), one.bytesAllowed(1_000)], ["bytes-per-all", 100]);
  assertEquals(counted(limiter), [["bytes-per-connection", 2], ["bytes-per-all", 1]]);
  limiter.configure(UNLIMITED, 1_000);
  assertEquals(one.bytesAllowed(1_000) > 1e12, true);
});

Deno.test("new limits hold at once for live connections, and can be lifted and set again", () => {
  const limiter = new ServerLimiter(UNLIMITED, 0);
  const peer = admitted(limiter, "a");
  for (let i = 0; i < 100; i++) assertEquals(peer.allowSignal(0), null);
  const strict: RateLimits = {
    ...UNLIMITED,
    connections: { source: 1, all: 1 },
    signals: { connection: TWO, source: null, all: { perSecond: 1, burst: 1 } },
  };
  limiter.configure(strict, 0);
  assertEquals([peer.allowSignal(0), peer.allowSignal(0)], [null, "signals-per-all"]);
  assertEquals(limiter.admit("b", 0), { kind: "refused", by: "connections-per-all" });
  limiter.configure(UNLIMITED, 0);
  for (let i = 0; i < 100; i++) assertEquals(peer.allowSignal(0), null);
});

Deno.test("idle sources are forgotten, those with connections never", () => {
  const limiter = new ServerLimiter({ ...UNLIMITED, sourcesMax: 3, handshakes: { source: TWO, all: null } }, 0);
  const kept = admitted(limiter, "kept");
  for (let i = 0; i < 50; i++) limiter.release(admitted(limiter, `passing ${i}`, 10_000 * i));
  assert(limiter.sources <= 3);
  assertEquals(kept.source.connections, 1);
  assertEquals([1, 2].map(() => limiter.admit("kept", 500_000).kind), ["admitted", "admitted"]);
  assertEquals(limiter.admit("kept", 500_000), { kind: "refused", by: "handshakes-per-source" });
});

Deno.test("our own numbers let a client with 64 services register at once", () => {
  const limiter = new ServerLimiter(RATE_LIMITS, 0);
  const peer = admitted(limiter, "a");
  for (let i = 0; i < 64; i++) assertEquals(peer.allowRegistration(0), null);
  assertEquals(peer.allowRegistration(0), "registrations-per-connection");
  assertEquals(peer.allowDatagram(65_535, 0), null);
});
