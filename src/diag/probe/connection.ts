/**
 * A QUIC connection of a program that makes only one, to one server, with DATAGRAMs in and out. Its reactor turns while somebody waits
 * for something.
 */
import { formatSocketAddress, PosternError } from "../../base/mod.ts";
import {
  type Connection,
  type Ending,
  Endpoint,
  type EndpointHandler,
  type Engine,
  ROTATION_DEFAULTS,
  type TransportLimits,
} from "../../core/quic/mod.ts";
import { encodeRegistration } from "../../core/wire/mod.ts";
import { type ArenaLayout, type Reactor, SOCKADDR_SLOT_BYTES, UdpSocket, writeSockaddr } from "../../io/mod.ts";
import { explainTrouble, UPLINK_SOCKET, UPLINK_TRANSPORT, type UplinkTrouble } from "../../roles/uplink/mod.ts";
import { turnUntil } from "./turning.ts";

/** What a probe needs of the platform. */
export interface ProbeWorld {
  readonly engine: Engine;
  readonly layout: ArenaLayout;
  readonly reactor: Reactor;
  readonly entropy: (bytes: Uint8Array) => void;
}

export interface ProbeTarget {
  readonly address: string;
  readonly port: number;
  /** In order of preference. */
  readonly protocols: readonly string[];
  /** Null: the server is not verified. */
  readonly trust: { readonly pem: Uint8Array; readonly name: string } | null;
  readonly identity: { readonly certificateChainPem: Uint8Array; readonly privateKeyPem: Uint8Array } | null;
  /** Default: as earlier ztna-v1 test clients have it. */
  readonly transport?: TransportLimits;
}

/** As earlier ztna-v1 peers have them: what fits here fits for them. */
const PACKET_BYTES_MAX = 1_350;
const CHUNK_BYTES = 65_536;
const FRAME_BYTES = 300;
const PROBE_TRANSPORT: TransportLimits = {
  idleTimeoutMs: 30_000,
  udpPayloadRecvMaxBytes: PACKET_BYTES_MAX,
  udpPayloadSendMaxBytes: PACKET_BYTES_MAX,
  discoverPathMtu: false,
  connectionWindowBytes: 10_000_000,
  connectionWindowMaxBytes: 10_000_000,
  streamWindowBytes: 1_000_000,
  streamWindowMaxBytes: 1_000_000,
  streamsBidiMax: 100,
  datagramQueueMax: 1_000,
  activeConnectionIdLimit: 2,
  congestionControl: "cubic",
};
/** As a role's connection to its server has it, on a single connection. */
export const ROLE_TRANSPORT: TransportLimits = UPLINK_TRANSPORT;

export class ProbeConnection implements EndpointHandler {
  /** All that came and was not taken. */
  readonly received: Uint8Array[] = [];
  isEstablished = false;
  ending: Ending | null = null;
  /** Why it ended, in words, and what was wrong with the server's certificate if it was that. */
  trouble: UplinkTrouble | null = null;
  distrust: ReturnType<Connection["engine"]["verifyError"]> = null;
  readonly socket: UdpSocket;
  readonly #world: ProbeWorld;
  readonly #target: ProbeTarget;
  readonly #connection: Connection;
  readonly #scratchAt: number;

  /** Dials. Throws a PosternError when there is no way there or the certificates do not fit. */
  constructor(world: ProbeWorld, target: ProbeTarget) {
    const { engine, layout, reactor, entropy } = world;
    const { transport = PROBE_TRANSPORT } = target;
    this.#world = world;
    this.#target = target;
    this.#scratchAt = layout.reserve(CHUNK_BYTES);
    const profile = engine.createProfile({
      side: "client",
      identity: target.identity,
      verify: target.trust === null ? { kind: "off" } : { kind: "require", trustPem: target.trust.pem, crlPem: null },
      protocols: target.protocols,
      transport,
    });
    const endpoint = new Endpoint({
      engine,
      timers: reactor,
      entropy,
      handler: this,
      limits: {
        connectionsMax: 1,
        handshakesMax: 1,
        packetBytesMax: transport.udpPayloadSendMaxBytes,
        datagramBytesMax: CHUNK_BYTES,
        datagramsPerTurn: 1_000,
        bytesPerTurn: 1_000_000,
      },
      datagramAt: layout.reserve(CHUNK_BYTES),
      rotation: ROTATION_DEFAULTS,
    });
    reactor.onTurnEnd((nowMs) => endpoint.endTurn(nowMs));
    this.socket = new UdpSocket(
      reactor,
      layout,
      { address: target.address.includes(":") ? "::" : "0.0.0.0", port: 0 },
      UPLINK_SOCKET,
      (from, offset, length, peer) => endpoint.handlePacket(from, offset, length, peer),
      () => endpoint.pathWritable(),
    );
    const slot = layout.reserve(SOCKADDR_SLOT_BYTES);
    writeSockaddr(layout.arena, slot, target);
    const connection = endpoint.connect(this.socket, profile, target.trust?.name ?? null, slot);
    if (connection === null) {
      const where = formatSocketAddress({ ip: target.address, port: target.port });
      throw new PosternError(`no way to ${where}`, { code: "dial", hint: "look at `ip route get`" });
    }
    this.#connection = connection;
  }

  /** The connection itself, for those who speak on its streams. */
  get connection(): Connection {
    return this.#connection;
  }

  /** The largest DATAGRAM that the connection carries now, in bytes. */
  get datagramMaxBytes(): number {
    return this.#connection.engine.datagramMax();
  }

  get clockMs(): number {
    return this.#world.reactor.clockMs;
  }

  /** Queues one DATAGRAM. False when it is too large or the queue is full. */
  send(datagram: Uint8Array): boolean {
    if (datagram.length > CHUNK_BYTES) return false;
    this.#world.engine.arena.bytes.set(datagram, this.#scratchAt);
    const sent = this.#connection.engine.datagramSend(this.#scratchAt, datagram.length);
    this.#connection.touch();
    return sent >= 0;
  }

  register(service: string): void {
    const bytes = new Uint8Array(FRAME_BYTES);
    this.send(bytes.subarray(0, encodeRegistration(bytes, 0, "agent", service)));
  }

  /** Lets things happen until `isDone`, or for so long, or until the connection is over. Returns whether it came to that. */
  async until(isDone: () => boolean, ms: number): Promise<boolean> {
    return await turnUntil(this.#world.reactor, isDone, ms, () => this.ending !== null);
  }

  /** Closes, and lets that leave. */
  close(): void {
    if (!this.#connection.isOver) this.#connection.close(0, "done");
    this.#world.reactor.again();
    this.#world.reactor.turn();
  }

  onEstablished(): void {
    this.isEstablished = true;
  }

  onDatagram(_connection: Connection, offset: number, length: number): void {
    this.received.push(this.#world.engine.arena.bytes.slice(offset, offset + length));
  }

  onReadable(): void {
    // Who opened a stream looks at it in every turn.
  }

  onWritable(): void {
    // What is written here fits at once, or is given up.
  }

  onClosed(connection: Connection, ending: Ending): void {
    const { address, port, trust } = this.#target;
    this.ending = ending;
    // Of the engine's state nothing is left afterwards.
    this.distrust = connection.engine.verifyError();
    const where = formatSocketAddress({ ip: address, port });
    this.trouble = explainTrouble({ expectedName: trust?.name ?? null }, connection, ending, where);
  }
}
