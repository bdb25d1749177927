/** Every limit by its name: exceeded by one client, counted under that name, not felt by a client from elsewhere. */
import { assert, assertEquals } from "@std/assert";
import { COUNTED, LIMIT_NAMES, type LimitName, RATE_LIMITS, type RateLimits } from "../../src/core/ratelimit/mod.ts";
import { ALPN_V2, encodeOpen, OPEN_MAX_BYTES, type SignalMessage } from "../../src/core/wire/mod.ts";
import { udpPacket } from "./inner_packets_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const ELSEWHERE = "127.0.0.9";
const BURST = 4;
const LITTLE = { perSecond: 1, burst: BURST };
/** A burst of bytes is above the largest datagram. */
const FEW_BYTES = { perSecond: 1, burst: 65_536 };

/** The limits with nothing but this one in force. */
function only(name: LimitName): RateLimits {
  const [what, scope] = name.split("-per-") as [keyof RateLimits, string];
  const free = { connection: null, source: null, all: null };
  const open: RateLimits = {
    ...RATE_LIMITS,
    connections: { source: 1_000, all: 1_000 },
    services: { connection: 64, source: 1_000, identity: 1_000 },
    flows: { connection: 1_000, identity: 1_000, anonymous: 1_000 },
    sessions: { connection: 1_000, identity: 1_000 },
    handshakes: { source: null, all: null },
    registrations: free,
    datagrams: free,
    bytes: free,
    opens: free,
    signals: free,
  };
  const isCount = (COUNTED as readonly string[]).includes(name);
  const amount = isCount ? BURST : what === "bytes" ? FEW_BYTES : LITTLE;
  return { ...open, [what]: { ...open[what] as object, [scope]: amount } };
}

const packet = (text: string | Uint8Array, port = 4000) => udpPacket({ from: ["100.64.0.1", port], to: ["10.100.0.2", 53] }, text);
const offer = (sessionId: bigint): SignalMessage => ({ kind: "candidate-offer", sessionId, service: "web", candidates: [] });

/** Does more of it than the limit allows. */
const EXCESS: Readonly<Record<string, (rig: ServerRig, greedy: RawClient) => Promise<void> | void>> = {
  connections: async (rig) => {
    for (let n = 0; n < BURST + 2; n++) await rig.client(["agent.web.ztna"]);
  },
  handshakes: async (rig) => {
    for (let n = 0; n < BURST + 2; n++) await rig.client(["agent.web.ztna"]);
  },
  services: async (rig, greedy) => {
    const again = await rig.client(["agent.*.ztna"]);
    await rig.until(() => again.isUp);
    for (const client of [greedy, again]) for (let n = 0; n < 2 * BURST; n++) client.register("agent", `svc${n}`);
  },
  flows: (_rig, greedy) => {
    for (let n = 0; n < 2 * BURST; n++) greedy.send(packet("x", 5000 + n));
  },
  sessions: (_rig, greedy) => {
    for (let n = 1n; n <= 2n * BigInt(BURST); n++) greedy.signal(0, offer(n));
  },
  opens: async (rig) => {
    const opener = await rig.client(["agent.*.ztna"], { protocols: [ALPN_V2] });
    await rig.until(() => opener.isUp);
    const bytes = new Uint8Array(OPEN_MAX_BYTES);
    const open = bytes.subarray(0, encodeOpen(bytes, 0, { service: "web", agent: null }));
    for (let n = 0; n < 2 * BURST; n++) opener.write(4 * n, open);
  },
  registrations: (_rig, greedy) => {
    for (let n = 0; n < 2 * BURST; n++) greedy.register("agent", "web");
  },
  datagrams: (_rig, greedy) => {
    for (let n = 0; n < 2 * BURST; n++) greedy.send(packet("x"));
  },
  bytes: async (rig, greedy) => {
    for (let n = 0; n < 100; n++) {
      greedy.send(packet(new Uint8Array(1_000)));
      if (n % 10 === 0) await rig.pause(2);
    }
  },
  signals: (_rig, greedy) => {
    for (let n = 1n; n <= 2n * BigInt(BURST); n++) greedy.signal(0, offer(n));
  },
};

for (const name of LIMIT_NAMES) {
  const [what = "", scope] = name.split("-per-");
  Deno.test(`${name}: exceeded and counted${scope === "all" ? "" : ", and a client from elsewhere is not held up"}`, async () => {
    await using rig = await ServerRig.start({ requireClientCert: false, allowAnonymous: ["agent:web"] });
    const server = { address: "127.0.0.1", port: rig.port() };
    const other = { bind: ELSEWHERE, server };
    const connector = await rig.registered("connector", "web", other);
    const modest = await rig.registered("agent", "web", other);
    const greedy = scope === "anonymous" ? rig.dial(null) : await rig.client(["agent.*.ztna"]);
    await rig.until(() => greedy.isUp);
    assertEquals(await rig.register(greedy, "agent", "web"), "ack");
    assertEquals(rig.reload({ limits: only(name) }).error, null);
    await EXCESS[what]?.(rig, greedy);
    await rig.untilCount(`limit:${name}`, 1);
    for (const limit of LIMIT_NAMES) assertEquals(rig.count(`limit:${limit}`) > 0, limit === name, limit);
    assertEquals([greedy.ending, modest.ending, connector.ending], [null, null, null], "nobody is put out");
    // What is limited in all is limited for all; whoever is inside stays there.
    if (scope === "all") return;
    const before = connector.datagrams.length;
    modest.send(packet("modest"));
    modest.signal(0, offer(99n));
    await rig.until(() => connector.signals.some((signal) => signal.kind === "candidate-offer" && signal.sessionId === 99n));
    await rig.until(() => connector.datagrams.length > before);
    const late = await rig.registered("agent", "web", other);
    assert(late.isUp);
  });
}
