/**
 * A load of idle ztna-v1 agents on a server, as a process of its own: so many connections, each registered, each kept alive as agents do.
 * A word on a line of standard input: `redial` forgets all of them and dials anew at once, `end` closes them. One JSON line says when
 * all are registered, and how long that took.
 *
 *   deno run -A tests/bench/load/peers.ts --server 127.0.0.1:4433 --pki DIR --service web --count 2000 --window 64
 */
import { parseArgs } from "node:util";
import { Timer } from "../../../src/base/mod.ts";
import { type Connection, Endpoint, type EndpointHandler, type Engine } from "../../../src/core/quic/mod.ts";
import { ALPN_V1, classifyFrame, encodeRegistration, FrameKind } from "../../../src/core/wire/mod.ts";
import { ArenaLayout, Reactor, SOCKADDR_SLOT_BYTES, UdpSocket, writeSockaddr } from "../../../src/io/mod.ts";
import { UPLINK_ENDPOINT, UPLINK_SOCKET, UPLINK_TRANSPORT } from "../../../src/roles/uplink/mod.ts";
import {
  createArena,
  createCertificateReader,
  createLibc,
  createQuicheEngine,
  ENGINE_SCRATCH_BYTES,
  LIBC_SCRATCH_BYTES,
  loadNative,
} from "../../../ffi/mod.ts";

/** As agents do: a registration that was not answered is sent again. */
const REGISTER_AGAIN_MS = 2_000;
const TURN_MS = 20;

const { values: options } = parseArgs({
  options: {
    server: { type: "string", default: "127.0.0.1:4433" },
    pki: { type: "string", default: "certs" },
    service: { type: "string", default: "web" },
    count: { type: "string", default: "100" },
    /** Handshakes under way at one time; 0: all at once. */
    window: { type: "string", default: "0" },
    "server-name": { type: "string", default: "ztna-server" },
    /** Between two keepalives, in milliseconds; agents take 10 s. */
    keepalive: { type: "string", default: "10000" },
  },
});
const count = Number(options.count), window = Number(options.window) || count, keepaliveMs = Number(options.keepalive);

const arena = createArena(32 * 1024 * 1024);
const layout = new ArenaLayout(arena);
const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
const native = loadNative();
const reader = createCertificateReader(native.path);
const engine: Engine = createQuicheEngine(native.path, arena, layout.reserve(ENGINE_SCRATCH_BYTES), (der) => reader.summarize(der));
const reactor = new Reactor(libc, layout, () => performance.now());
const profile = engine.createProfile({
  side: "client",
  identity: {
    certificateChainPem: Deno.readFileSync(`${options.pki}/agent-cert.pem`),
    privateKeyPem: Deno.readFileSync(`${options.pki}/agent-key.pem`),
  },
  verify: { kind: "require", trustPem: Deno.readFileSync(`${options.pki}/ca-cert.pem`), crlPem: null },
  protocols: [ALPN_V1],
  transport: {
    ...UPLINK_TRANSPORT,
    udpPayloadSendMaxBytes: 1350,
    udpPayloadRecvMaxBytes: 1350,
    discoverPathMtu: false,
    datagramQueueMax: 16,
  },
});

interface Agent {
  readonly connection: Connection;
  isRegistered: boolean;
  askedMs: number;
}

const agents = new Map<number, Agent>();
const frameAt = layout.reserve(512), peerSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
let registered = 0, established = 0, lost = 0, begunMs = 0, hasTold = false, isEnding = false;

const handler: EndpointHandler = {
  onEstablished(connection) {
    const agent = agents.get(connection.id);
    if (agent === undefined) return;
    established++;
    register(agent);
  },
  onDatagram(connection, offset, length) {
    const agent = agents.get(connection.id);
    if (agent === undefined || agent.isRegistered || classifyFrame(arena.bytes, offset, length) !== FrameKind.ack) return;
    agent.isRegistered = true;
    registered++;
  },
  onReadable() {},
  onWritable() {},
  onClosed(connection) {
    const agent = agents.get(connection.id);
    if (agent === undefined || !agents.delete(connection.id)) return;
    lost++;
    if (agent.isRegistered) registered--;
  },
};

const endpoint = new Endpoint({
  engine,
  timers: reactor,
  entropy: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
  handler,
  limits: { ...UPLINK_ENDPOINT, connectionsMax: 2 * count + 16, handshakesMax: 2 * count + 16, packetBytesMax: 1350 },
  datagramAt: layout.reserve(UPLINK_ENDPOINT.datagramBytesMax),
});
const socket: UdpSocket = new UdpSocket(
  reactor,
  layout,
  { address: "127.0.0.1", port: 0 },
  { ...UPLINK_SOCKET, kernelBufferBytes: 16 * 1024 * 1024 },
  (from, offset, length, peer) => endpoint.handlePacket(from, offset, length, peer),
  () => endpoint.pathWritable(),
);
reactor.onTurnEnd((nowMs) => endpoint.endTurn(nowMs));

function register(agent: Agent): void {
  agent.askedMs = performance.now();
  agent.connection.engine.datagramSend(frameAt, encodeRegistration(arena.bytes, frameAt, "agent", options.service ?? ""));
  agent.connection.touch();
}

/** Dials as many as are missing, so many at a time. */
function dialMissing(): void {
  const [address = "", port] = (options.server ?? "").split(":");
  writeSockaddr(arena, peerSlot, { address, port: Number(port) });
  let underWay = 0;
  for (const { connection } of agents.values()) if (!connection.isEstablished) underWay++;
  for (; agents.size < count && underWay < window; underWay++) {
    const connection = endpoint.connect(socket, profile, options["server-name"] ?? null, peerSlot);
    if (connection === null) throw new Error("the engine does not dial");
    agents.set(connection.id, { connection, isRegistered: false, askedMs: 0 });
  }
}

function begin(): void {
  begunMs = performance.now();
  [established, lost, hasTold] = [0, 0, false];
}

/** The connections of a server that is gone are of no use: nothing of theirs is counted any more. */
function redial(): void {
  const old = [...agents.values()];
  agents.clear();
  registered = 0;
  begin();
  for (const { connection } of old) connection.close(0, "redial");
}

function keepAlive(): void {
  for (const { connection, isRegistered } of agents.values()) {
    if (!isRegistered) continue;
    connection.engine.keepAlive();
    connection.touch();
  }
}

function askAgain(nowMs: number): void {
  for (const agent of agents.values()) {
    if (agent.connection.isEstablished && !agent.isRegistered && nowMs - agent.askedMs > REGISTER_AGAIN_MS) register(agent);
  }
}

async function listen(): Promise<void> {
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    for (const word of text.trim().split("\n")) {
      if (word === "redial") redial();
      if (word === "end") isEnding = true;
    }
  }
  isEnding = true;
}

begin();
void listen();
const tick = new Timer(() => {});
for (let keptMs = begunMs, askedMs = begunMs; !isEnding;) {
  const nowMs = performance.now();
  dialMissing();
  if (nowMs - askedMs > 500) askAgain(askedMs = nowMs);
  if (nowMs - keptMs > keepaliveMs) {
    keptMs = nowMs;
    keepAlive();
  }
  if (!hasTold && registered === count) {
    hasTold = true;
    console.log(JSON.stringify({ event: "registered", count, established, lost, seconds: (nowMs - begunMs) / 1000 }));
  }
  reactor.setTimer(tick, performance.now() + TURN_MS);
  reactor.turn();
  await new Promise((resolve) => setTimeout(resolve, 0));
}
for (const { connection } of agents.values()) connection.close(0, "done");
reactor.again();
reactor.turn();
Deno.exit(0);
