/**
 * An agent's connection as earlier ztna-v1 peers have it, in this process: it registers for its services and moves IP packets in
 * DATAGRAMs. What stands at either end of the packets is the caller's: the network stack (`packet_agent.ts`) or the kernel
 * (`tun_agent.ts`).
 */
import { Timer } from "../../src/base/mod.ts";
import { type Connection, Endpoint, type EndpointHandler } from "../../src/core/quic/mod.ts";
import { ALPN_V1, classifyFrame, encodeRegistration, FrameKind } from "../../src/core/wire/mod.ts";
import { ArenaLayout, Reactor, SOCKADDR_SLOT_BYTES, UdpSocket, writeSockaddr } from "../../src/io/mod.ts";
import { UPLINK_ENDPOINT, UPLINK_SOCKET, UPLINK_TRANSPORT } from "../../src/roles/uplink/mod.ts";
import {
  createArena,
  createCertificateReader,
  createLibc,
  createQuicheEngine,
  ENGINE_SCRATCH_BYTES,
  LIBC_SCRATCH_BYTES,
  loadNative,
} from "../../ffi/mod.ts";

const ARENA_BYTES = 16 * 1024 * 1024;
/** Well below the idle time of either end. */
const KEEPALIVE_MS = 10_000;
const LOOPBACK = "127.0.0.1";

/** Whom the agent connects to, as whom, and for which services. */
export interface V1AgentTarget {
  /** HOST:PORT. */
  readonly server: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly services: readonly string[];
}

export interface V1AgentOwner {
  /** The connection stands; registrations leave now. */
  onOpen(connection: Connection): void;
  /** An IP packet came; it lies in the arena during the call. */
  onPacket(offset: number, length: number, nowMs: number): void;
}

export class V1Agent {
  readonly layout: ArenaLayout;
  readonly reactor: Reactor;
  readonly connection: Connection;
  readonly #endpoint: Endpoint;
  readonly #services: readonly string[];
  #acknowledged = 0;

  constructor(target: V1AgentTarget, owner: V1AgentOwner) {
    const arena = createArena(ARENA_BYTES);
    const layout = new ArenaLayout(arena);
    this.layout = layout;
    this.#services = target.services;
    const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
    const native = loadNative();
    const reader = createCertificateReader(native.path);
    const engine = createQuicheEngine(native.path, arena, layout.reserve(ENGINE_SCRATCH_BYTES), (der) => reader.summarize(der));
    this.reactor = new Reactor(libc, layout, () => performance.now());
    const profile = engine.createProfile({
      side: "client",
      identity: { certificateChainPem: Deno.readFileSync(target.cert), privateKeyPem: Deno.readFileSync(target.key) },
      verify: { kind: "require", trustPem: Deno.readFileSync(target.ca), crlPem: null },
      protocols: [ALPN_V1],
      // As earlier agents: 1200 bytes of UDP payload at most, so 1156 of DATAGRAM.
      transport: { ...UPLINK_TRANSPORT, udpPayloadSendMaxBytes: 1200, udpPayloadRecvMaxBytes: 1350, discoverPathMtu: false },
    });
    const endpoint = new Endpoint({
      engine,
      timers: this.reactor,
      entropy: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      handler: this.#handler(owner),
      limits: { ...UPLINK_ENDPOINT, packetBytesMax: 1350 },
      datagramAt: layout.reserve(UPLINK_ENDPOINT.datagramBytesMax),
    });
    this.#endpoint = endpoint;
    const socket = new UdpSocket(
      this.reactor,
      layout,
      { address: LOOPBACK, port: 0 },
      UPLINK_SOCKET,
      (from, offset, length, peer) => endpoint.handlePacket(from, offset, length, peer),
      () => endpoint.pathWritable(),
    );
    const peerSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
    const [address, port] = splitPort(target.server);
    writeSockaddr(arena, peerSlot, { address, port });
    const connection = endpoint.connect(socket, profile, LOOPBACK, peerSlot);
    if (connection === null) throw new Error("the engine does not dial");
    this.connection = connection;
  }

  /** Every service was acknowledged. */
  get isRegistered(): boolean {
    return this.#acknowledged === this.#services.length;
  }

  /** Reads what came and lets leave what is queued; to be called at the end of each turn. */
  endTurn(nowMs: number): void {
    this.#endpoint.endTurn(nowMs);
  }

  /** Says goodbye. */
  close(): void {
    this.connection.close(0, "done");
    this.reactor.again();
    this.reactor.turn();
  }

  #handler(owner: V1AgentOwner): EndpointHandler {
    const { arena } = this.reactor.libc;
    const frameAt = this.layout.reserve(512);
    const keepalive = new Timer((nowMs) => {
      this.connection.engine.keepAlive();
      this.connection.touch();
      this.reactor.setTimer(keepalive, nowMs + KEEPALIVE_MS);
    });
    return {
      onEstablished: (connection) => {
        owner.onOpen(connection);
        for (const service of this.#services) {
          connection.engine.datagramSend(frameAt, encodeRegistration(arena.bytes, frameAt, "agent", service));
        }
        connection.touch();
        this.reactor.setTimer(keepalive, this.reactor.nowMs + KEEPALIVE_MS);
      },
      onDatagram: (_connection, offset, length, nowMs) => {
        const kind = classifyFrame(arena.bytes, offset, length);
        if (kind === FrameKind.ack) this.#acknowledged++;
        else if (kind === FrameKind.nack) throw new Error("the server refused the registration");
        else if (kind === FrameKind.ipv4 || kind === FrameKind.ipv6) owner.onPacket(offset, length, nowMs);
      },
      onReadable: () => {},
      onWritable: () => {},
      onClosed: (connection, ending) => {
        // Our own close may be over within the last turn.
        if (ending.by === "local") return;
        throw new Error(`the server closed the connection: ${JSON.stringify(connection.engine.verifyError() ?? ending)}`);
      },
    };
  }
}

/** `HOST:PORT`, IPv6 addresses in brackets. */
export function splitPort(text: string): [string, number] {
  const at = text.lastIndexOf(":");
  return [text.slice(0, at).replace(/[[\]]/g, ""), Number(text.slice(at + 1))];
}
