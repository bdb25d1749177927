/**
 * Endpoints over the real engine, joined by a network in memory: packets wait in a list until {@linkcode MemoryNetwork.pump}
 * delivers them, and a test may look at each, drop it, hold it back or change where it comes from.
 */
import { createArena, createCertificateReader, createQuicheEngine, ENGINE_SCRATCH_BYTES, loadNative } from "../../ffi/mod.ts";
import { createAuthority } from "../pki/mod.ts";
import { Timer, TimerHeap } from "../../src/base/mod.ts";
import { ArenaLayout, type IpEndpoint, readSockaddr, SOCKADDR_SLOT_BYTES, writeSockaddr } from "../../src/io/mod.ts";
import {
  type Connection,
  Endpoint,
  type EndpointHandler,
  type EndpointOptions,
  type Engine,
  type EngineProfile,
  type PacketPath,
  type TimerService,
  type TransportLimits,
} from "../../src/core/quic/mod.ts";

const PACKET_BYTES = 1500;
const TRANSPORT: TransportLimits = {
  idleTimeoutMs: 5_000,
  udpPayloadRecvMaxBytes: PACKET_BYTES,
  udpPayloadSendMaxBytes: 1350,
  discoverPathMtu: false,
  connectionWindowBytes: 1_000_000,
  connectionWindowMaxBytes: 1_000_000,
  streamWindowBytes: 100_000,
  streamWindowMaxBytes: 100_000,
  streamsBidiMax: 8,
  datagramQueueMax: 64,
  activeConnectionIdLimit: 4,
  congestionControl: "cubic",
};

export interface MemoryPacket {
  readonly bytes: Uint8Array;
  readonly from: IpEndpoint;
  readonly to: IpEndpoint;
}

/** What becomes of a packet: itself or another instead of it, or nothing. */
export type Middlebox = (packet: MemoryPacket) => MemoryPacket | readonly MemoryPacket[] | null;

class MemoryPath implements PacketPath {
  readonly localAddress: number;
  readonly endpoint: Endpoint;
  readonly bound: IpEndpoint;
  readonly #network: MemoryNetwork;
  readonly #buffer: number;

  constructor(network: MemoryNetwork, endpoint: Endpoint, bound: IpEndpoint) {
    this.#network = network;
    this.endpoint = endpoint;
    this.bound = bound;
    this.localAddress = network.layout.reserve(SOCKADDR_SLOT_BYTES);
    writeSockaddr(network.engine.arena, this.localAddress, bound);
    this.#buffer = network.layout.reserve(PACKET_BYTES);
  }

  room(): number {
    return this.#buffer;
  }

  commit(length: number, to: number): void {
    const { arena } = this.#network.engine;
    const target = readSockaddr(arena, to);
    if (target === null) throw new Error("a packet to no address");
    this.#network.queue.push({ bytes: arena.bytes.slice(this.#buffer, this.#buffer + length), from: this.bound, to: target });
  }

  flush(): void {}
}

// One for all tests of a file: a library that is opened stays open.
const layout = new ArenaLayout(createArena(8 * 1024 * 1024));
const { path: nativePath } = loadNative();
const reader = createCertificateReader(nativePath);
const engine = createQuicheEngine(
  nativePath,
  layout.arena,
  layout.reserve(ENGINE_SCRATCH_BYTES),
  (der) => reader.summarize(der),
);

export class MemoryNetwork implements TimerService {
  readonly engine: Engine = engine;
  readonly layout: ArenaLayout = layout;
  readonly queue: MemoryPacket[] = [];
  middlebox: Middlebox = (packet) => packet;
  readonly #paths: MemoryPath[] = [];
  readonly #timers = new TimerHeap();
  readonly #packetAt: number;
  readonly #fromAt: number;

  constructor() {
    this.#packetAt = this.layout.reserve(PACKET_BYTES);
    this.#fromAt = this.layout.reserve(SOCKADDR_SLOT_BYTES);
  }

  get nowMs(): number {
    return performance.now();
  }

  setTimer(timer: Timer, deadlineMs: number): void {
    this.#timers.set(timer, deadlineMs);
  }

  cancelTimer(timer: Timer): void {
    this.#timers.cancel(timer);
  }

  again(): void {}

  endpoint(handler: EndpointHandler, options: Partial<EndpointOptions> = {}): Endpoint {
    return new Endpoint({
      engine: this.engine,
      timers: this,
      entropy: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      handler,
      limits: {
        connectionsMax: 16,
        handshakesMax: 8,
        packetBytesMax: PACKET_BYTES,
        datagramBytesMax: PACKET_BYTES,
        datagramsPerTurn: 64,
        bytesPerTurn: 1_000_000,
      },
      datagramAt: this.layout.reserve(PACKET_BYTES),
      ...options,
    });
  }

  bind(endpoint: Endpoint, address: string, port: number): PacketPath {
    const path = new MemoryPath(this, endpoint, { address, port });
    this.#paths.push(path);
    return path;
  }

  slot(address: string, port: number): number {
    const slot = this.layout.reserve(SOCKADDR_SLOT_BYTES);
    writeSockaddr(this.engine.arena, slot, { address, port });
    return slot;
  }

  /** Delivers packets and runs timers until `done` or for `ms`. */
  async pump(done: () => boolean, ms = 20_000): Promise<void> {
    const until = performance.now() + ms;
    while (!done()) {
      if (performance.now() > until) throw new Error("the network did not get there in time");
      this.#timers.run(this.nowMs);
      for (const endpoint of new Set(this.#paths.map((path) => path.endpoint))) endpoint.endTurn(this.nowMs);
      for (const packet of this.queue.splice(0)) this.#carry(packet);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  /** Hands a packet over as it is, past the middlebox. */
  deliver({ bytes, from, to }: MemoryPacket): void {
    const { arena } = this.engine;
    const path = this.#paths.find(({ bound }) => bound.address === to.address && bound.port === to.port);
    if (path === undefined) return;
    arena.bytes.set(bytes, this.#packetAt);
    writeSockaddr(arena, this.#fromAt, from);
    path.endpoint.handlePacket(path, this.#packetAt, bytes.length, this.#fromAt);
  }

  #carry(packet: MemoryPacket): void {
    const carried = this.middlebox(packet);
    if (carried === null) return;
    for (const one of "bytes" in carried ? [carried] : carried) this.deliver(one);
  }
}

/** A server's and a client's profile that trust each other. */
export async function createProfiles(
  engine: Engine,
  transport: Partial<TransportLimits> = {},
): Promise<{ readonly server: EngineProfile; readonly client: EngineProfile }> {
  const authority = await createAuthority();
  const { certificatePem, privateKeyPem } = await authority.issue({ commonName: "server", dns: ["server.test"] });
  const common = { protocols: ["ztna-v2"], transport: { ...TRANSPORT, ...transport } };
  return {
    server: engine.createProfile({
      side: "server",
      identity: { certificateChainPem: certificatePem, privateKeyPem },
      verify: { kind: "off" },
      ...common,
    }),
    client: engine.createProfile({
      side: "client",
      identity: null,
      verify: { kind: "require", trustPem: authority.certificatePem, crlPem: null },
      ...common,
    }),
  };
}

/** Remembers what the endpoint says. */
export class RecordingHandler implements EndpointHandler {
  readonly events: string[] = [];
  readonly connections: Connection[] = [];
  readonly datagrams: string[] = [];
  readonly #engine: () => Engine;

  constructor(engine: () => Engine) {
    this.#engine = engine;
  }

  count(event: string): number {
    return this.events.filter((one) => one === event).length;
  }

  onEstablished(connection: Connection): void {
    this.events.push("established");
    this.connections.push(connection);
  }

  onDatagram(_connection: Connection, offset: number, length: number): void {
    this.datagrams.push(new TextDecoder().decode(this.#engine().arena.bytes.subarray(offset, offset + length)));
  }

  onReadable(): void {}
  onWritable(): void {}

  onMigrated(): void {
    this.events.push("migrated");
  }

  onClosed(): void {
    this.events.push("closed");
  }
}
