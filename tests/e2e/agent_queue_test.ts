/**
 * Packets that come while the connection that they leave by stands still: the newest ones wait in a queue that is bounded, and what goes
 * for them is counted and told. Of the agent, and of the connector on the way back.
 */
import { assert, assertEquals } from "@std/assert";
import type { LogRecord } from "../../src/base/mod.ts";
import { AgentRig } from "./agent_rig_fixture.ts";
import { ConnectorRig, serviceAt, UdpPort } from "./connector_rig_fixture.ts";
import { readUdp, udpPacket } from "./inner_packets_fixture.ts";
import { LossyPath } from "./lossy_path_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const PATIENCE_MS = 60_000;
const QUEUE_MAX = 4_096;
const FLOOD = 20_000;
/** Of the same length, and so many at once that no kernel loses one. */
const DIGITS = 6, PER_STEP = 100;
/** Whoever takes them takes them all. */
const CONSUMER = { datagramQueueMax: 16_384 } as const;

const MEMORY_BYTES_MAX = 64 * 1024 * 1024;

interface Flood {
  readonly rig: ServerRig;
  readonly path: LossyPath;
  /** Sends one towards the role, and how many bytes of them it has taken so far. */
  readonly send: (text: string) => void;
  readonly takenBytes: () => number;
  readonly dropped: () => number;
  readonly queueMax: number;
  readonly reason: string;
  readonly logs: readonly LogRecord[];
  readonly consumer: RawClient;
}

/** Floods the role while its path stands still, then lets it go on, and looks at what came. */
async function flood({ rig, path, send, takenBytes, dropped, queueMax, reason, logs, consumer }: Flood): Promise<void> {
  path.pause();
  const memoryBytes = Deno.memoryUsage().rss;
  const beforeBytes = takenBytes();
  const from = consumer.datagrams.length;
  for (let sent = 0; sent < FLOOD;) {
    for (let i = 0; i < PER_STEP; i++) send(String(sent++).padStart(DIGITS, "0"));
    await rig.until(() => takenBytes() >= beforeBytes + sent * DIGITS, PATIENCE_MS);
  }
  assert(Deno.memoryUsage().rss - memoryBytes < MEMORY_BYTES_MAX, "memory grew with the flood");
  path.resume();
  const numbers = () => consumer.datagrams.slice(from).map((packet) => Number(readUdp(packet).text));
  await rig.until(() => numbers().at(-1) === FLOOD - 1, PATIENCE_MS);
  const newest = numbers().slice(-queueMax), before = numbers().slice(0, -queueMax);
  assertEquals(newest, Array.from({ length: queueMax }, (_, at) => FLOOD - queueMax + at));
  // What was on the way when it stood still came or did not. Everything else is counted.
  assert(before.every((number, at) => number > (before[at - 1] ?? -1)), "in order");
  assert(before.length <= FLOOD - queueMax - dropped(), `${before.length} came, ${dropped()} were dropped`);
  assert(dropped() >= FLOOD / 2, `${dropped()} were dropped`);
  const told = logs.filter(({ event, level }) => event === "datagram-dropped" && level === "warn");
  assertEquals(told.map(({ fields }) => [fields["reason"], fields["queue_max"]]), [[reason, queueMax]]);
}

async function floodAgent(queueMax: number): Promise<void> {
  await using rig = await ServerRig.start();
  await using path = await LossyPath.start(`127.0.0.1:${rig.port()}`, { seed: 1 });
  const consumer = await rig.registered("connector", "dns", CONSUMER);
  using agent = await AgentRig.start(rig, ["dns/udp"], undefined, Number(path.address.split(":")[1]), { packetQueueMax: queueMax });
  await rig.until(() => agent.logs.some(({ event }) => event === "registered"), PATIENCE_MS);
  await using client = await UdpPort.open();
  const [port = 0] = agent.ports;
  // The runtime turns what is sent before a socket's first turn around.
  await agent.during(client.send(new TextEncoder().encode("begin"), port));
  await rig.until(() => consumer.datagrams.length > 0, PATIENCE_MS);
  await flood({
    rig,
    path,
    send: (text) => void client.send(new TextEncoder().encode(text), port),
    takenBytes: () => agent.count("datagramBytesSent"),
    dropped: () => agent.count("droppedQueue"),
    queueMax,
    reason: "queue",
    logs: agent.logs,
    consumer,
  });
}

Deno.test("20000 packets for an agent whose way to the server stands still: the newest 4096 arrive in order", async () => {
  await floodAgent(QUEUE_MAX);
});

Deno.test("the operator says how many packets wait", async () => {
  await floodAgent(256);
});

Deno.test("20000 packets of a backend while the connector's way to the server stands still: the newest 4096 arrive in order", async () => {
  await using rig = await ServerRig.start();
  await using path = await LossyPath.start(`127.0.0.1:${rig.port()}`, { seed: 1 });
  await using backend = await UdpPort.open();
  const services = [serviceAt("dns", backend.port, "udp")];
  using connector = await ConnectorRig.start(rig, { services, server: { port: Number(path.address.split(":")[1]) } });
  await rig.until(() => connector.count("registered") === 1, PATIENCE_MS);
  const consumer = await rig.registered("agent", "dns", CONSUMER);
  await rig.until(() => {
    consumer.send(udpPacket({ from: ["100.64.0.1", 40_000], to: ["10.100.0.1", 53] }, "begin"));
    return backend.heard.length > 0;
  }, PATIENCE_MS);
  await flood({
    rig,
    path,
    send: (text) => void backend.send(new TextEncoder().encode(text), backend.heard[0]?.port ?? 0),
    takenBytes: () => connector.status().flows.reduce((sum, { bytesFromService }) => sum + bytesFromService, 0),
    dropped: () => connector.count("droppedQueue"),
    queueMax: QUEUE_MAX,
    reason: "queue-full",
    logs: connector.logs,
    consumer,
  });
});
