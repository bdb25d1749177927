/**
 * A load of ztna-v1 datagrams on a relay, as a process of its own: connectors and agents over the same engine that the product uses.
 * Agents send IPv4/UDP packets of a fixed size as fast as congestion control and a window allow; the connectors count what arrives,
 * and when it was sent; with `--per-second` they send that many together and no more, and at the end wait for what is on its way.
 * Several sizes, and several rates, separated by commas, are measured one after the other on the same connections. Prints one JSON line
 * at the beginning of each measurement and one at its end. A line on standard input ends them early. With `--sockets` connections take
 * turns with so many sockets, as if they came from as many clients.
 *
 *   deno run -A tests/bench/load/datagrams.ts --relay 127.0.0.1:4433 --pki DIR --service web --seconds 5 --size 1200 \
 *     --agents 1 --connectors 1
 */
import { parseArgs } from "node:util";
import { Timer } from "../../../src/base/mod.ts";
import { type Connection, Endpoint, type EndpointHandler, type Engine, type EngineProfile } from "../../../src/core/quic/mod.ts";
import { ArenaLayout, Reactor, SOCKADDR_SLOT_BYTES, UdpSocket, writeSockaddr } from "../../../src/io/mod.ts";
import { UPLINK_ENDPOINT, UPLINK_SOCKET, UPLINK_TRANSPORT } from "../../../src/roles/uplink/mod.ts";
import { ALPN_V1, classifyFrame, encodeRegistration, FrameKind } from "../../../src/core/wire/mod.ts";
import {
  createArena,
  createCertificateReader,
  createLibc,
  createQuicheEngine,
  ENGINE_SCRATCH_BYTES,
  LIBC_SCRATCH_BYTES,
  loadNative,
} from "../../../ffi/mod.ts";

/** Datagrams handed to the engine in one go; its queue is refilled when it has drained. */
const BURST = 64;
const SETTLE_MS = 300;
/** Datagrams on their way at most: more would only measure how a relay drops. */
const WINDOW = 1_024;
/** Without an arrival for this long, what is on its way counts as lost. */
const STALL_MS = 50;
/** At an even pace: how often it looks what is due, and how long it waits for the last ones. */
const PACE_TICK_MS = 1, ARRIVAL_MS = 2_000;
/** Registrations at one time. */
const DIALS = 32;
/** Where in the packet the time of its sending stands: behind the headers of IPv4 and UDP. */
const SENT_AT = 28;
const SOURCE_PORT_AT = 20;
/** Times on the way are counted in steps of 10 us up to a second. */
const STEPS_PER_MS = 100, STEPS = 100_000;

const { values: options } = parseArgs({
  options: {
    relay: { type: "string", default: "127.0.0.1:4433" },
    pki: { type: "string", default: "certs" },
    seconds: { type: "string", default: "5" },
    size: { type: "string", default: "1200" },
    agents: { type: "string", default: "1" },
    connectors: { type: "string", default: "1" },
    name: { type: "string", default: "127.0.0.1" },
    service: { type: "string", default: "web" },
    sockets: { type: "string", default: "1" },
    "per-second": { type: "string" },
    /** Certificates in the folder of `--pki`, when they are not called as the roles are. */
    agent: { type: "string", default: "agent" },
    connector: { type: "string", default: "connector" },
    /** The n-th agent and the n-th connector have a service of their own, which is called `SERVICE-n`. */
    apart: { type: "boolean", default: false },
  },
});
const sizes = (options.size ?? "").split(",").map(Number), durationMs = Number(options.seconds) * 1000;
/** Null: as fast as it goes. */
const rates = options["per-second"]?.split(",").map(Number) ?? [null];
const agentCount = Number(options.agents), connectorCount = Number(options.connectors);

const arena = createArena((64 + 4 * Number(options.sockets)) * 1024 * 1024);
const layout = new ArenaLayout(arena);
const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
const native = loadNative();
const reader = createCertificateReader(native.path);
const engine: Engine = createQuicheEngine(native.path, arena, layout.reserve(ENGINE_SCRATCH_BYTES), (der) => reader.summarize(der));
const reactor = new Reactor(libc, layout, () => performance.now());

const profileOf = (role: "agent" | "connector"): EngineProfile =>
  engine.createProfile({
    side: "client",
    identity: {
      certificateChainPem: Deno.readFileSync(`${options.pki}/${options[role]}-cert.pem`),
      privateKeyPem: Deno.readFileSync(`${options.pki}/${options[role]}-key.pem`),
    },
    verify: { kind: "require", trustPem: Deno.readFileSync(`${options.pki}/ca-cert.pem`), crlPem: null },
    protocols: [ALPN_V1],
    transport: { ...UPLINK_TRANSPORT, udpPayloadSendMaxBytes: 1350, udpPayloadRecvMaxBytes: 1350, discoverPathMtu: false },
  });

/** One end of the load: a connection with its role, registered once the server has acknowledged. */
interface End {
  readonly role: "agent" | "connector";
  readonly index: number;
  connection: Connection | null;
  isRegistered: boolean;
}

const agents: End[] = [], connectors: End[] = [];
const total = { sent: 0, received: 0, reordered: 0 };
/** When the last packet to arrive of each flow, known by its port, was sent. */
const lastSentMs = new Float64Array(65_536);
const steps = new Uint32Array(STEPS);
let isOver = false;
const byConnection = new Map<number, End>();
const frameAt = layout.reserve(2048), packetAt = layout.reserve(2048), peerSlot = layout.reserve(SOCKADDR_SLOT_BYTES);

const handler: EndpointHandler = {
  onEstablished(connection) {
    const end = byConnection.get(connection.id);
    if (end === undefined) return;
    const service = options.apart ? `${options.service}-${end.index}` : options.service ?? "";
    connection.engine.datagramSend(frameAt, encodeRegistration(arena.bytes, frameAt, end.role, service));
    connection.touch();
  },
  onDatagram(connection, offset, length) {
    const end = byConnection.get(connection.id);
    if (end === undefined) return;
    const kind = classifyFrame(arena.bytes, offset, length);
    if (kind === FrameKind.ack) end.isRegistered = true;
    else if (kind === FrameKind.nack) {
      throw new Error(`the relay refused to register a ${end.role}: status ${arena.bytes[offset + 1]}`);
    } else if (kind === FrameKind.ipv4) {
      total.received++;
      const flow = arena.view.getUint16(offset + SOURCE_PORT_AT), sentMs = arena.view.getFloat64(offset + SENT_AT);
      if (sentMs < (lastSentMs[flow] ?? 0)) total.reordered++;
      else lastSentMs[flow] = sentMs;
      const step = Math.floor((performance.now() - arena.view.getFloat64(offset + SENT_AT)) * STEPS_PER_MS);
      steps[Math.min(step, STEPS - 1)] = (steps[Math.min(step, STEPS - 1)] ?? 0) + 1;
    }
  },
  onReadable() {},
  onWritable() {},
  onClosed(connection, ending) {
    if (isOver) return;
    throw new Error(`the relay closed a connection: ${JSON.stringify(connection.engine.verifyError() ?? ending)}`);
  },
};

const endpoint = new Endpoint({
  engine,
  timers: reactor,
  entropy: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
  handler,
  limits: { ...UPLINK_ENDPOINT, connectionsMax: 4096, handshakesMax: 4096, packetBytesMax: 1350 },
  datagramAt: layout.reserve(UPLINK_ENDPOINT.datagramBytesMax),
});
const sockets = Array.from({ length: Number(options.sockets) }, (): UdpSocket =>
  new UdpSocket(
    reactor,
    layout,
    { address: "127.0.0.1", port: 0 },
    UPLINK_SOCKET,
    (from, offset, length, peer) => endpoint.handlePacket(from, offset, length, peer),
    () => endpoint.pathWritable(),
  ));
let dialled = 0;
reactor.onTurnEnd((nowMs) => endpoint.endTurn(nowMs));

function dial(role: End["role"], index: number, profile: EngineProfile): End {
  const [address, port] = (options.relay ?? "").split(":") as [string, string];
  writeSockaddr(arena, peerSlot, { address, port: Number(port) });
  const end: End = { role, index, connection: null, isRegistered: false };
  const socket = sockets[dialled++ % sockets.length];
  end.connection = socket === undefined ? null : endpoint.connect(socket, profile, options.name ?? null, peerSlot);
  if (end.connection === null) throw new Error("the engine does not dial");
  byConnection.set(end.connection.id, end);
  return end;
}

/** An IPv4/UDP packet of `size` bytes from 100.64.0.1; the port tells the agents apart. */
function writePacket(agent: number, size: number): void {
  const { bytes, view } = arena;
  bytes.fill(0x61, packetAt, packetAt + size);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 100, 64, 0, 1, 10, 100, 0, 1], packetAt);
  view.setUint16(packetAt + 2, size);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += view.getUint16(packetAt + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  view.setUint16(packetAt + 10, ~sum & 0xffff);
  view.setUint16(packetAt + 20, 20_000 + agent);
  view.setUint16(packetAt + 22, 9999);
  view.setUint16(packetAt + 24, size - 20);
  view.setUint16(packetAt + 26, 0);
}

function turnUntil(isDone: () => boolean, limitMs: number, what: string): void {
  const deadline = performance.now() + limitMs;
  while (!isDone()) {
    if (performance.now() > deadline) throw new Error(`no ${what} within ${limitMs} ms`);
    reactor.again();
    reactor.turn();
  }
}

/** Refills the agents' queues and turns, for a time. */
function blast(forMs: number, size: number): void {
  const until = performance.now() + forMs;
  let lost = 0, lastReceived = -1, lastProgressMs = performance.now(), next = -1;
  while (performance.now() < until) {
    if (total.received !== lastReceived) {
      lastReceived = total.received;
      lastProgressMs = performance.now();
    } else if (performance.now() - lastProgressMs > STALL_MS) lost = total.sent - total.received;
    for (let turns = 0; turns < agents.length && total.sent - total.received - lost < WINDOW; turns++) {
      const agent = agents[next = (next + 1) % agents.length];
      if (agent === undefined) break;
      writePacket(agent.index, size);
      for (let i = 0; i < BURST && agent.connection !== null && !agent.connection.engine.isDatagramQueueFull(); i++) {
        arena.view.setFloat64(packetAt + SENT_AT, performance.now());
        if (agent.connection.engine.datagramSend(packetAt, size) < 0) break;
        total.sent++;
      }
      agent.connection?.touch();
    }
    reactor.again();
    reactor.turn();
  }
}

let isStopped = false;

/** Sends at an even pace, for a time or until somebody says a line, then gives what is on its way the time to arrive. */
async function pace(forMs: number, size: number, perSecond: number): Promise<void> {
  const begin = performance.now(), tick = new Timer(() => {});
  for (let sent = 0; !isStopped && performance.now() - begin < forMs;) {
    for (const due = (performance.now() - begin) * perSecond / 1000; sent < due; sent++) {
      const agent = agents[sent % agents.length];
      if (agent === undefined || agent.connection === null || agent.connection.engine.isDatagramQueueFull()) break;
      writePacket(agent.index, size);
      arena.view.setFloat64(packetAt + SENT_AT, performance.now());
      if (agent.connection.engine.datagramSend(packetAt, size) < 0) break;
      total.sent++;
      agent.connection.touch();
    }
    reactor.setTimer(tick, performance.now() + PACE_TICK_MS);
    reactor.turn();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  for (const until = performance.now() + ARRIVAL_MS; total.sent > total.received && performance.now() < until;) {
    reactor.setTimer(tick, performance.now() + PACE_TICK_MS);
    reactor.turn();
  }
}

/** Dials so many, some at a time, until all are registered. */
function register(role: End["role"], count: number, into: End[]): void {
  const profile = profileOf(role);
  for (let i = 0; i < count;) {
    for (const last = Math.min(count, i + DIALS); i < last; i++) into.push(dial(role, i, profile));
    turnUntil(() => into.slice(-DIALS).every((end) => end.isRegistered), 20_000, `registration of every ${role}`);
  }
}

/** The lines at its beginning and its end let the parent read the relay's CPU time at both. */
async function measure(size: number, perSecond: number | null): Promise<void> {
  const load = async (forMs: number) => perSecond === null ? blast(forMs, size) : await pace(forMs, size, perSecond);
  await load(SETTLE_MS);
  steps.fill(0);
  console.log(JSON.stringify({ event: "begin" }));
  const before = { ...total }, begin = performance.now();
  await load(durationMs);
  const seconds = (performance.now() - begin) / 1000;
  console.log(JSON.stringify({
    event: "end",
    seconds,
    sent: total.sent - before.sent,
    received: total.received - before.received,
    reordered: total.reordered - before.reordered,
    lost: connectors.reduce((sum, end) => sum + (end.connection?.engine.stats().packetsLost ?? 0), 0),
    p50Ms: arrivedWithin(0.5),
    p99Ms: arrivedWithin(0.99),
    p999Ms: arrivedWithin(0.999),
  }));
}

/** Milliseconds within which this share of the datagrams arrived. */
function arrivedWithin(share: number): number {
  const wanted = share * steps.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (let step = 0; step < STEPS; step++) {
    seen += steps[step] ?? 0;
    if (seen >= wanted) return (step + 1) / STEPS_PER_MS;
  }
  return Infinity;
}

register("connector", connectorCount, connectors);
register("agent", agentCount, agents);
if (options["per-second"] !== undefined) Deno.stdin.read(new Uint8Array(1)).then((count) => isStopped = count !== null);
for (const size of sizes) {
  for (const perSecond of rates) await measure(size, perSecond);
}

isOver = true;
endpoint.closeAll(0, "done");
for (const until = performance.now() + SETTLE_MS; performance.now() < until;) {
  reactor.again();
  reactor.turn();
}
Deno.exit(0);
