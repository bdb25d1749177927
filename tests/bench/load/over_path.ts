/**
 * One connection of the product's engine and endpoint over a bad path, as a process of its own: a stream that is never empty, and small
 * datagrams at an even rate beside it, which wait wherever the stream's bytes do. Prints one JSON line with what arrived in a second
 * and how long the datagrams were on their way.
 *
 *   deno run -A tests/bench/load/over_path.ts '{"path":{"seed":1,"loss":0.01,"delayMs":50,"bytesPerSecond":6250000},"seconds":4}'
 */
import { Timer } from "../../../src/base/mod.ts";
import { Endpoint, type EndpointHandler, type TransportLimits } from "../../../src/core/quic/mod.ts";
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
import { createProfiles } from "../../abi/endpoint_fixture.ts";
import { LossyPath, type PathTrouble } from "../../e2e/lossy_path_fixture.ts";

/** What is measured, and what of the product's own limits is another value. */
export interface OverPath {
  readonly path: PathTrouble;
  readonly seconds: number;
  readonly transport?: Partial<TransportLimits>;
  readonly kernelBufferBytes?: number;
}

export interface OverPathFigure {
  readonly bytesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const CHUNK_BYTES = 64 * 1024, DATAGRAM_BYTES = 64, DATAGRAM_EVERY_MS = 10, TICK_MS = 2;
const PACKET_BYTES = 1_350, CONNECT_MS = 10_000, NAME = "server.test", STREAM = 0;

async function run({ path, seconds, transport = {}, kernelBufferBytes }: OverPath): Promise<OverPathFigure> {
  const arena = createArena(32 * 1024 * 1024), layout = new ArenaLayout(arena);
  const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES)), native = loadNative();
  const reader = createCertificateReader(native.path);
  const engine = createQuicheEngine(native.path, arena, layout.reserve(ENGINE_SCRATCH_BYTES), (der) => reader.summarize(der));
  const reactor = new Reactor(libc, layout, () => performance.now());
  const profiles = await createProfiles(engine, {
    ...UPLINK_TRANSPORT,
    udpPayloadSendMaxBytes: PACKET_BYTES,
    udpPayloadRecvMaxBytes: PACKET_BYTES,
    discoverPathMtu: false,
    ...transport,
  });
  const chunkAt = layout.reserve(CHUNK_BYTES), datagramAt = layout.reserve(DATAGRAM_BYTES);
  const times: number[] = [];
  let received = 0, isCounted = false, isUp = false;
  const open = (handler: EndpointHandler): { readonly endpoint: Endpoint; readonly socket: UdpSocket } => {
    const endpoint = new Endpoint({
      engine,
      timers: reactor,
      entropy: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      handler,
      limits: { ...UPLINK_ENDPOINT, packetBytesMax: PACKET_BYTES },
      datagramAt: layout.reserve(UPLINK_ENDPOINT.datagramBytesMax),
    });
    const limits = { ...UPLINK_SOCKET, ...(kernelBufferBytes === undefined ? {} : { kernelBufferBytes }) };
    const socket: UdpSocket = new UdpSocket(
      reactor,
      layout,
      { address: "127.0.0.1", port: 0 },
      limits,
      (from, offset, length, peer) => endpoint.handlePacket(from, offset, length, peer),
      () => endpoint.pathWritable(),
    );
    return { endpoint, socket };
  };
  const takesAll: EndpointHandler = {
    onEstablished() {},
    onDatagram(_connection, offset) {
      if (isCounted) times.push(performance.now() - arena.view.getFloat64(offset));
    },
    onReadable(connection, stream) {
      for (let count = 1; count > 0;) {
        count = connection.engine.streamRecv(stream, chunkAt, CHUNK_BYTES);
        if (count > 0 && isCounted) received += count;
      }
      connection.touch();
    },
    onWritable() {},
    onClosed() {},
  };
  const far = open(takesAll), near = open({ ...takesAll, onEstablished: () => void (isUp = true), onReadable() {} });
  far.endpoint.accept(profiles.server);
  await using trouble = await LossyPath.start(`127.0.0.1:${far.socket.bound.port}`, path);
  const slot = layout.reserve(SOCKADDR_SLOT_BYTES);
  writeSockaddr(arena, slot, { address: "127.0.0.1", port: Number(trouble.address.split(":")[1]) });
  const connection = near.endpoint.connect(near.socket, profiles.client, NAME, slot);
  if (connection === null) throw new Error("the engine does not dial");
  reactor.onTurnEnd((nowMs) => {
    near.endpoint.endTurn(nowMs);
    far.endpoint.endTurn(nowMs);
  });

  const tick = new Timer(() => {}), begin = performance.now();
  const turn = async () => {
    reactor.setTimer(tick, performance.now() + TICK_MS);
    reactor.turn();
    await new Promise((resolve) => setTimeout(resolve, 0));
  };
  while (!isUp) {
    if (performance.now() - begin > CONNECT_MS) throw new Error("no connection over this path");
    await turn();
  }
  const fill = () => {
    while (connection.engine.streamSend(STREAM, chunkAt, CHUNK_BYTES, false) > 0);
    connection.touch();
  };
  // The first fifth finds the path's size.
  const counted = performance.now() + seconds * 200, until = performance.now() + seconds * 1_200;
  for (let due = performance.now(); performance.now() < until;) {
    isCounted = performance.now() >= counted;
    fill();
    if (performance.now() >= due) {
      due += DATAGRAM_EVERY_MS;
      arena.view.setFloat64(datagramAt, performance.now());
      connection.engine.datagramSend(datagramAt, DATAGRAM_BYTES);
    }
    await turn();
  }
  const sorted = times.sort((a, b) => a - b);
  const within = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
  return { bytesPerSecond: received / seconds, p50Ms: within(0.5), p99Ms: within(0.99) };
}

if (import.meta.main) {
  console.log(JSON.stringify(await run(JSON.parse(Deno.args[0] ?? "{}") as OverPath)));
  Deno.exit(0);
}
