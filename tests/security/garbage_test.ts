/**
 * Garbage at the live port: from strangers and in the name of a client that is inside. The server lives, serves on, keeps nothing, counts,
 * and says little.
 */
import { assert, assertEquals } from "@std/assert";
import { Gateway } from "../e2e/gateway_fixture.ts";
import { udpPacket } from "../e2e/inner_packets_fixture.ts";
import type { RawClient } from "../e2e/raw_client_fixture.ts";
import { ServerRig } from "../e2e/server_rig_fixture.ts";
import { Backend, MARK } from "../e2e/tcp_fixture.ts";
import { Garbage, Stranger, Wiretap } from "./garbage_fixture.ts";

const SEED = Number(Deno.env.get("POSTERN_FUZZ_SEED") ?? 1);
const BATCH = 200;
const LONG_MS = 30_000, AGAIN_MS = 500;
/** No client has more of the server's connection IDs: those that it may use, and those that it used before. */
const IDS_PER_CLIENT_MAX = 4;
const packet = (text: string) => udpPacket({ from: ["100.64.0.1", 1000], to: ["10.100.0.2", 53] }, text);

const COUNTED = [
  "ignoredMalformed",
  "ignoredUnknown",
  "ignoredShort",
  "retries",
  "retryTokenFailures",
  "versionNegotiations",
] as const;

/** Every payload that leads to no connection ends in one of these. What carries the ID of a connection is for the engine to drop. */
function accountedFor(rig: ServerRig): number {
  return [...COUNTED, "undecryptable" as const].reduce((sum, metric) => sum + rig.count(metric), 0);
}

/** A connector, and an agent behind a wiretap, with a packet between them. */
async function tapped(rig: ServerRig) {
  const connector = await rig.registered("connector", "web");
  const tap = await Wiretap.before(rig.port());
  const agent = await rig.registered("agent", "web", { server: { address: "127.0.0.1", port: tap.port } });
  for (let n = 0; n < 20; n++) {
    agent.send(packet(`before ${n}`));
    await rig.pause(3);
  }
  return { connector, agent, tap };
}

/**
 * The agent's packets reach the connector. The socket's queue keeps its order: what strangers sent before is dealt with when one is there.
 * Datagrams may be lost, so there are more of them until then; and no connection falls silent, however long the test takes.
 */
async function goesThrough(rig: ServerRig, agent: RawClient, connector: RawClient, text: string): Promise<void> {
  for (const before = connector.datagrams.length, lastMs = performance.now() + LONG_MS; connector.datagrams.length === before;) {
    assert(performance.now() < lastMs, `the agent's packet never arrives: ${text}`);
    const againMs = performance.now() + AGAIN_MS;
    agent.send(packet(text));
    await rig.until(() => connector.datagrams.length > before || performance.now() > againMs);
  }
}

async function assertServes(rig: ServerRig, agent: RawClient, connector: RawClient): Promise<void> {
  await goesThrough(rig, agent, connector, "still here");
  const late = await rig.registered("agent", "web");
  await goesThrough(rig, late, connector, "and a new one");
  late.close();
}

Deno.test(`garbage of strangers (seed ${SEED}): counted, hardly answered, nothing is kept, those inside notice nothing`, async () => {
  await using rig = await ServerRig.start();
  const { connector, agent, tap } = await tapped(rig);
  const garbage = new Garbage(SEED, tap.recorded);
  await using stranger = await Stranger.make();
  const logged = rig.logs.length, accounted = accountedFor(rig);
  const sent = 20_000;
  for (let n = 0; n < sent; n += BATCH) {
    await stranger.send(garbage.many(BATCH), rig.port());
    await goesThrough(rig, agent, connector, `among it ${n}`);
  }
  await assertServes(rig, agent, connector);
  // Counters are published a moment later.
  await rig.until(() => accountedFor(rig) - accounted > sent * 0.5 && COUNTED.every((metric) => rig.count(metric) > 0));
  assert(stranger.answeredBytes < stranger.sentBytes / 4, `${stranger.answeredBytes} bytes for ${stranger.sentBytes}`);
  await rig.until(() => rig.count("activeConnections") === 2 && rig.count("connectionIds") <= 2 * IDS_PER_CLIENT_MAX);
  assert(rig.logs.length - logged < 60, `${rig.logs.length - logged} log lines`);
  await tap[Symbol.asyncDispose]();
});

Deno.test(`garbage in a client's name (seed ${SEED}): its connection goes on`, async () => {
  await using rig = await ServerRig.start();
  const { connector, agent, tap } = await tapped(rig);
  // What its packets really were stands among it: repeated ones do no harm either.
  const garbage = new Garbage(SEED, tap.recorded.slice());
  const logged = rig.logs.length;
  for (let n = 0; n < 10_000; n += BATCH) {
    await tap.speak(garbage.many(BATCH));
    await goesThrough(rig, agent, connector, `among it ${n}`);
  }
  await assertServes(rig, agent, connector);
  assertEquals([agent.ending, connector.ending], [null, null]);
  await rig.until(() => rig.count("activeConnections") === 2);
  assert(rig.logs.length - logged < 60, `${rig.logs.length - logged} log lines`);
  await tap[Symbol.asyncDispose]();
});

Deno.test(`garbage without Retry (seed ${SEED}): half-open connections are few and end, nobody gets more than three times as much`, async () => {
  await using rig = await ServerRig.start({ retryKeys: null });
  const { connector, agent, tap } = await tapped(rig);
  const garbage = new Garbage(SEED, tap.recorded.slice());
  await using stranger = await Stranger.make();
  let most = 0;
  for (let n = 0; n < 4_000; n += BATCH) {
    await stranger.send(garbage.many(BATCH), rig.port());
    await goesThrough(rig, agent, connector, `among it ${n}`);
    most = Math.max(most, rig.count("activeConnections"));
  }
  assert(most < 150, `${most} connections at once`);
  await assertServes(rig, agent, connector);
  await rig.until(() => rig.count("activeConnections") === 2, 20_000);
  assert(stranger.answeredBytes <= 3 * stranger.sentBytes, `${stranger.answeredBytes} bytes for ${stranger.sentBytes}`);
  await tap[Symbol.asyncDispose]();
});

Deno.test({
  name: "a flood of garbage at the program: it lives, its memory stays, its log is short, a service is reached afterwards",
  // The test runner cannot tell the reading of a process's log from a leak.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using backend = new Backend();
    await using gateway = await Gateway.start({ services: { web: backend.port } });
    const { server } = gateway;
    const recorded = [Uint8Array.of(0xc3, 0, 0, 0, 1, 16, ...crypto.getRandomValues(new Uint8Array(1194)))];
    const garbage = new Garbage(SEED, recorded);
    await using stranger = await Stranger.make();
    const flood = async (count: number) => {
      for (let n = 0; n < count; n += BATCH) await stranger.send(garbage.many(BATCH), gateway.serverPort);
    };
    await flood(10_000);
    const [memory, descriptors, lines] = [server.residentMiB(), server.descriptors(), server.lines.length];
    await flood(90_000);
    using pair = await gateway.pair("web", backend);
    await pair.client.write(MARK);
    const grown = server.residentMiB() - memory;
    assert(grown < 24, `${grown.toFixed(1)} MiB more`);
    assertEquals(server.descriptors(), descriptors);
    assert(server.lines.length - lines < 100, `${server.lines.length - lines} log lines`);
    assert(!server.hasEnded);
  },
});
