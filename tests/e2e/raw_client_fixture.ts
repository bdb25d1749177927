/**
 * A client of the server without any of our roles: one QUIC connection that sends and receives what a test wants, as a ztna-v1
 * or a ztna-v2 peer. It runs in the reactor of its {@linkcode import("./server_rig_fixture.ts").ServerRig}.
 */
import {
  type Connection,
  type Ending,
  Endpoint,
  type EndpointHandler,
  type Engine,
  EngineError,
  type EngineProfile,
  ROTATION_DEFAULTS,
} from "../../src/core/quic/mod.ts";
import {
  ALPN_V1,
  decodeQad,
  decodeRegistrationReply,
  encodeRegistration,
  encodeSignal,
  type Qad,
  type RegistrationReply,
  SIGNAL_ENCODED_MAX_BYTES,
  type SignalMessage,
} from "../../src/core/wire/mod.ts";
import { SignalReceiver } from "../../src/core/signal/mod.ts";
import {
  type ArenaLayout,
  type IpEndpoint,
  type PlaneCrypto,
  type Reactor,
  SOCKADDR_SLOT_BYTES,
  UdpSocket,
  writeSockaddr,
} from "../../src/io/mod.ts";
import type { Issued } from "../pki/mod.ts";

export interface RawWorld {
  readonly engine: Engine;
  readonly layout: ArenaLayout;
  readonly reactor: Reactor;
  readonly crypto: PlaneCrypto;
}

export interface RawClientOptions {
  readonly server: IpEndpoint;
  readonly identity: Issued | null;
  /** Null: the server is not verified. */
  readonly trustPem: Uint8Array | null;
  readonly protocols: readonly string[];
  readonly serverName: string;
  readonly bind: string;
  /** The largest UDP payload that it sends, and that it takes. */
  readonly sendMaxBytes: number;
  readonly receiveMaxBytes: number;
  /** Longer UDP payloads never arrive, as on a path with a small MTU. */
  readonly pathMaxBytes: number;
  readonly rotationMs: number;
  readonly activeIdLimit: number;
  /** Datagrams that came and wait to be read. */
  readonly datagramQueueMax: number;
}

const CHUNK_BYTES = 65_536;

export class RawClient implements EndpointHandler {
  readonly datagrams: Uint8Array[] = [];
  readonly replies: RegistrationReply[] = [];
  readonly addresses: Qad[] = [];
  readonly signals: SignalMessage[] = [];
  /** Bytes of each stream, and those that have ended. */
  readonly streams = new Map<number, number[]>();
  readonly ended = new Set<number>();
  isUp = false;
  ending: Ending | null = null;
  readonly connection: Connection;
  readonly #world: RawWorld;
  readonly #endpoint: Endpoint;
  readonly #profile: EngineProfile;
  #socket: UdpSocket;
  readonly #scratchAt: number;
  readonly #pathMaxBytes: number;
  readonly #receivers = new Map<number, SignalReceiver>();
  #isDisposed = false;
  #isGone = false;

  constructor(world: RawWorld, options: Partial<RawClientOptions> & Pick<RawClientOptions, "server" | "identity" | "trustPem">) {
    this.#world = world;
    const { engine, layout, reactor } = world;
    const { identity, trustPem } = options;
    this.#profile = engine.createProfile({
      side: "client",
      identity: identity === null ? null : { certificateChainPem: identity.certificatePem, privateKeyPem: identity.privateKeyPem },
      verify: trustPem === null ? { kind: "off" } : { kind: "require", trustPem, crlPem: null },
      protocols: options.protocols ?? [ALPN_V1],
      transport: {
        idleTimeoutMs: 30_000,
        udpPayloadRecvMaxBytes: options.receiveMaxBytes ?? 1350,
        udpPayloadSendMaxBytes: options.sendMaxBytes ?? 1350,
        discoverPathMtu: false,
        connectionWindowBytes: 10_000_000,
        connectionWindowMaxBytes: 10_000_000,
        streamWindowBytes: 1_000_000,
        streamWindowMaxBytes: 1_000_000,
        streamsBidiMax: 100,
        datagramQueueMax: options.datagramQueueMax ?? 1_000,
        activeConnectionIdLimit: options.activeIdLimit ?? 2,
        congestionControl: "cubic",
      },
    });
    this.#scratchAt = layout.reserve(CHUNK_BYTES);
    this.#pathMaxBytes = options.pathMaxBytes ?? 65_536;
    this.#endpoint = new Endpoint({
      engine,
      timers: reactor,
      entropy: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      handler: this,
      limits: {
        connectionsMax: 4,
        handshakesMax: 4,
        packetBytesMax: 1500,
        datagramBytesMax: CHUNK_BYTES,
        datagramsPerTurn: 1_000,
        bytesPerTurn: 1_000_000,
      },
      datagramAt: layout.reserve(CHUNK_BYTES),
      rotation: { ...ROTATION_DEFAULTS, intervalMs: options.rotationMs ?? 300_000 },
    });
    reactor.onTurnEnd((nowMs) => this.#endpoint.endTurn(nowMs));
    this.#socket = this.#bind(options.bind ?? (options.server.address.includes(":") ? "::1" : "127.0.0.1"));
    const slot = layout.reserve(SOCKADDR_SLOT_BYTES);
    writeSockaddr(layout.arena, slot, options.server);
    const name = trustPem === null ? null : options.serverName ?? "ztna-server";
    const connection = this.#endpoint.connect(this.#socket, this.#profile, name, slot);
    if (connection === null) throw new Error("the engine dials nobody");
    this.connection = connection;
  }

  /** Sends one datagram; returns what the engine says. */
  send(datagram: Uint8Array): number {
    const { arena } = this.#world.engine;
    arena.bytes.set(datagram, this.#scratchAt);
    const sent = this.connection.engine.datagramSend(this.#scratchAt, datagram.length);
    this.connection.touch();
    return sent;
  }

  register(role: "agent" | "connector", service: string): void {
    const bytes = new Uint8Array(300);
    this.send(bytes.subarray(0, encodeRegistration(bytes, 0, role, service)));
  }

  /** Writes on a stream; returns what the engine took. */
  write(stream: number, bytes: Uint8Array, fin = false): number {
    this.#world.engine.arena.bytes.set(bytes, this.#scratchAt);
    const sent = this.connection.engine.streamSend(stream, this.#scratchAt, bytes.length, fin);
    this.connection.touch();
    return sent;
  }

  signal(stream: number, message: SignalMessage): void {
    const bytes = new Uint8Array(SIGNAL_ENCODED_MAX_BYTES);
    this.write(stream, bytes.subarray(0, encodeSignal(bytes, 0, message)));
  }

  /** Goes on from another port, as behind a NAT that forgot the old mapping; the connection knows nothing of it. */
  rebind(address = "127.0.0.1"): void {
    const old = this.#socket;
    this.#socket = this.#bind(address);
    const moved = this.#socket;
    // The engine still believes in the old address: only the packets take the new way.
    const { arena } = this.#world.engine;
    arena.bytes.copyWithin(moved.localAddress, old.localAddress, old.localAddress + SOCKADDR_SLOT_BYTES);
    this.connection.path = moved;
    old.close();
  }

  /** As a killed process: it says nothing any more, and hears nothing. */
  vanish(): void {
    this.#isGone = true;
    this.connection.path = { localAddress: this.#socket.localAddress, room: () => -1, commit: () => {}, flush: () => {} };
  }

  /** After {@linkcode vanish}: it was a process that stood still. What came meanwhile is lost. */
  comeBack(): void {
    this.#isGone = false;
    this.connection.path = this.#socket;
    this.connection.touch();
  }

  close(code = 0, reason = "done"): void {
    if (!this.connection.isOver) this.connection.close(code, reason);
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#socket.close();
  }

  onEstablished(): void {
    this.isUp = true;
  }

  onDatagram(_connection: Connection, offset: number, length: number): void {
    const { bytes } = this.#world.engine.arena;
    const first = bytes[offset];
    if (first === 0x01 || first === 0x02) this.addresses.push(decodeQad(bytes, offset, length));
    else if (first === 0x12 || first === 0x13) this.replies.push(decodeRegistrationReply(bytes, offset, length));
    else this.datagrams.push(bytes.slice(offset, offset + length));
  }

  onReadable(connection: Connection, stream: number): void {
    const { engine } = this.#world;
    for (;;) {
      const count = connection.engine.streamRecv(stream, this.#scratchAt, CHUNK_BYTES);
      if (count === EngineError.done) return;
      if (count < 0) return void this.ended.add(stream);
      const isEnd = engine.streamFin;
      const bytes = engine.arena.bytes.slice(this.#scratchAt, this.#scratchAt + count);
      this.streams.set(stream, [...this.streams.get(stream) ?? [], ...bytes]);
      if (bytes[0] === 0 || this.#receivers.has(stream)) this.#readSignals(stream, bytes);
      if (isEnd) return void this.ended.add(stream);
    }
  }

  onWritable(): void {}

  onClosed(_connection: Connection, ending: Ending): void {
    this.isUp = false;
    this.ending = ending;
  }

  #readSignals(stream: number, bytes: Uint8Array): void {
    let receiver = this.#receivers.get(stream);
    if (receiver === undefined) {
      receiver = new SignalReceiver();
      this.#receivers.set(stream, receiver);
    }
    for (const message of receiver.handle(bytes)) if (message.kind !== "malformed") this.signals.push(message);
  }

  #bind(address: string): UdpSocket {
    const { reactor, layout } = this.#world;
    return new UdpSocket(
      reactor,
      layout,
      { address, port: 0 },
      { receiveSlots: 4, receiveBatchesPerTurn: 4, sendTrains: 16, sendBufferBytes: 128 * 1024, kernelBufferBytes: 1024 * 1024 },
      (socket, offset, length, from) => {
        if (length <= this.#pathMaxBytes && !this.#isGone) this.#endpoint.handlePacket(socket, offset, length, from);
      },
      () => this.#endpoint.pathWritable(),
    );
  }
}
