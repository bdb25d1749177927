/**
 * A client of the server that carries IP packets: it registers for its services and hands every packet that it gets to the test.
 * It speaks ztna-v1 or ztna-v2 over the product's own reactor, socket and endpoint, but knows no rules: what it is allowed is the
 * server's business.
 */
import { Timer } from "../../src/base/mod.ts";
import { type Connection, Endpoint, type EndpointHandler, type EngineProfile } from "../../src/core/quic/mod.ts";
import {
  ALPN_V1,
  ALPN_V2,
  classifyFrame,
  decodeRegistrationReply,
  encodeOpen,
  encodeRegistration,
  encodeRoutedHeader,
  encodeSignal,
  FrameKind,
  ROUTED_ID_AT,
  routedIdLength,
  type SignalMessage,
} from "../../src/core/wire/mod.ts";
import { SignalReceiver } from "../../src/core/signal/mod.ts";
import { SOCKADDR_SLOT_BYTES, UdpSocket, writeSockaddr } from "../../src/io/mod.ts";
import type { Plane, PlaneCommand, RolePlane, TlsMaterial } from "../../src/roles/control/mod.ts";
import { UPLINK_ENDPOINT, UPLINK_SOCKET, UPLINK_TRANSPORT } from "../../src/roles/uplink/mod.ts";
import type { SimProgram } from "./sim_plane_fixture.ts";
import { SERVER_NAME, SERVER_PORT } from "./tunnel_plans_fixture.ts";

const ARENA_BYTES = 4 * 1024 * 1024;
const FRAME_BYTES = 4_096;
const REGISTER_EVERY_MS = 500;
const REDIAL_MS = 300;
const KEEPALIVE_MS = 5_000;

export interface PacketPeerOptions {
  readonly role: "agent" | "connector";
  readonly services: readonly string[];
  readonly version: "ztna-v1" | "ztna-v2";
  readonly tls: TlsMaterial;
  readonly serverAddress: string;
  /** As soon as its own handshake is done, it opens a stream to this service and says something on it. */
  readonly opensAtOnce?: string;
  /** A signalling message came on this stream. */
  readonly onSignal?: (peer: PacketPeer, message: SignalMessage, stream: number) => void;
  /** An IP packet came, under this name (null: without one). */
  readonly onPacket: (peer: PacketPeer, packet: Uint8Array<ArrayBuffer>, service: string | null) => void;
}

export class PacketPeer implements RolePlane, EndpointHandler {
  readonly options: PacketPeerOptions;
  /** Services that the server acknowledged on the connection of now. */
  readonly registered = new Set<string>();
  readonly refused = new Set<string>();
  /** Called when it was given something to send outside of its turns. */
  wake: () => void = () => {};
  readonly #plane: Plane;
  readonly #endpoint: Endpoint;
  readonly #socket: UdpSocket;
  readonly #profile: EngineProfile;
  readonly #serverSlot: number;
  readonly #frameAt: number;
  readonly #timer = new Timer((nowMs) => this.#onTimer(nowMs));
  readonly #keepAlive = new Timer((nowMs) => this.#sendKeepAlive(nowMs));
  /** Of the connection of now. */
  readonly #receivers = new Map<number, SignalReceiver>();
  #connection: Connection | null = null;

  constructor(plane: Plane, options: PacketPeerOptions) {
    this.#plane = plane;
    this.options = options;
    const { layout, engine, reactor, entropy } = plane.platform;
    const { certificatePem, keyPem, trustPem } = options.tls;
    this.#profile = engine.createProfile({
      side: "client",
      identity: certificatePem === null || keyPem === null ? null : { certificateChainPem: certificatePem, privateKeyPem: keyPem },
      verify: { kind: "require", trustPem: trustPem ?? new Uint8Array(0), crlPem: null },
      protocols: options.version === "ztna-v1" ? [ALPN_V1] : [ALPN_V2, ALPN_V1],
      transport: UPLINK_TRANSPORT,
    });
    this.#serverSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.#frameAt = layout.reserve(FRAME_BYTES);
    writeSockaddr(layout.arena, this.#serverSlot, { address: options.serverAddress, port: SERVER_PORT });
    const datagramAt = layout.reserve(UPLINK_ENDPOINT.datagramBytesMax);
    this.#endpoint = new Endpoint({ engine, timers: reactor, entropy, handler: this, limits: UPLINK_ENDPOINT, datagramAt });
    this.#socket = new UdpSocket(
      reactor,
      layout,
      { address: "0.0.0.0", port: 0 },
      UPLINK_SOCKET,
      (from, offset, length, peer) => this.#endpoint.handlePacket(from, offset, length, peer),
      () => this.#endpoint.pathWritable(),
    );
    reactor.onTurnEnd((nowMs) => this.#endpoint.endTurn(nowMs));
    plane.platform.post({ type: "ready", addresses: [] });
    this.#dial();
  }

  get isReady(): boolean {
    return this.#connection !== null && this.registered.size + this.refused.size === this.options.services.length;
  }

  /** Sends an IP packet, under a service's name or without one. */
  send(packet: Uint8Array, service: string | null): void {
    const connection = this.#connection;
    if (connection === null || !connection.isEstablished || connection.isOver) return;
    const { bytes } = this.#plane.platform.engine.arena;
    const header = service === null ? 0 : encodeRoutedHeader(bytes, this.#frameAt, new TextEncoder().encode(service));
    bytes.set(packet, this.#frameAt + header);
    connection.engine.datagramSend(this.#frameAt, header + packet.length);
    connection.touch();
    this.wake();
  }

  /** Says a signalling message on one of its streams. */
  signal(message: SignalMessage, stream = 0): void {
    const connection = this.#connection;
    if (connection === null || !connection.isEstablished || connection.isOver) return;
    const length = encodeSignal(this.#plane.platform.engine.arena.bytes, this.#frameAt, message);
    connection.engine.streamSend(stream, this.#frameAt, length, false);
    connection.touch();
    this.wake();
  }

  stop(): void {
    this.#endpoint.closeAll(0, "over");
    this.#plane.finish();
  }

  onCommand(_command: PlaneCommand): void {}

  onEstablished(connection: Connection, nowMs: number): void {
    if (connection !== this.#connection) return;
    const { opensAtOnce } = this.options;
    if (opensAtOnce !== undefined) this.#open(connection, opensAtOnce);
    this.#register(nowMs);
    this.#sendKeepAlive(nowMs);
  }

  onDatagram(connection: Connection, offset: number, length: number): void {
    if (connection !== this.#connection) return;
    const { bytes } = this.#plane.platform.engine.arena;
    switch (classifyFrame(bytes, offset, length)) {
      case FrameKind.ack:
      case FrameKind.nack: {
        const reply = decodeRegistrationReply(bytes, offset, length);
        if (reply.kind === "ack") this.registered.add(reply.service);
        if (reply.kind === "nack") this.refused.add(reply.service);
        return;
      }
      case FrameKind.ipv4:
      case FrameKind.ipv6:
        return this.options.onPacket(this, bytes.slice(offset, offset + length), null);
      case FrameKind.routed: {
        const at = offset + ROUTED_ID_AT, end = at + routedIdLength(bytes, offset, length);
        const service = new TextDecoder().decode(bytes.subarray(at, end));
        return this.options.onPacket(this, bytes.slice(end, offset + length), service);
      }
    }
  }

  onReadable(connection: Connection, stream: number): void {
    const { onSignal } = this.options;
    if (connection !== this.#connection || onSignal === undefined) return;
    const { engine } = this.#plane.platform;
    let receiver = this.#receivers.get(stream);
    if (receiver === undefined) {
      receiver = new SignalReceiver();
      this.#receivers.set(stream, receiver);
    }
    for (;;) {
      const count = connection.engine.streamRecv(stream, this.#frameAt, FRAME_BYTES);
      if (count < 0) return;
      const isEnd = engine.streamFin;
      for (const message of receiver.handle(engine.arena.bytes.slice(this.#frameAt, this.#frameAt + count))) {
        if (message.kind !== "malformed") onSignal(this, message, stream);
      }
      if (isEnd) return;
    }
  }

  onWritable(): void {}

  onClosed(connection: Connection, _ending: unknown, nowMs: number): void {
    if (connection !== this.#connection) return;
    this.#connection = null;
    this.#receivers.clear();
    this.registered.clear();
    this.refused.clear();
    this.#plane.platform.reactor.setTimer(this.#timer, nowMs + REDIAL_MS);
  }

  #onTimer(nowMs: number): void {
    if (this.#connection === null) this.#dial();
    else this.#register(nowMs);
  }

  #dial(): void {
    this.#connection = this.#endpoint.connect(this.#socket, this.#profile, SERVER_NAME, this.#serverSlot);
  }

  #open(connection: Connection, service: string): void {
    const { bytes } = this.#plane.platform.engine.arena;
    const length = encodeOpen(bytes, this.#frameAt, { service, agent: null });
    connection.engine.streamSend(0, this.#frameAt, length + 1, false);
    connection.touch();
  }

  #register(nowMs: number): void {
    const connection = this.#connection;
    if (connection === null || !connection.isEstablished) return;
    const { engine, reactor } = this.#plane.platform;
    for (const service of this.options.services) {
      if (this.registered.has(service) || this.refused.has(service)) continue;
      const length = encodeRegistration(engine.arena.bytes, this.#frameAt, this.options.role, service);
      connection.engine.datagramSend(this.#frameAt, length);
    }
    connection.touch();
    if (!this.isReady) reactor.setTimer(this.#timer, nowMs + REGISTER_EVERY_MS);
  }

  #sendKeepAlive(nowMs: number): void {
    if (this.#connection === null) return;
    this.#connection.engine.keepAlive();
    this.#connection.touch();
    this.#plane.platform.reactor.setTimer(this.#keepAlive, nowMs + KEEPALIVE_MS);
  }
}

/** The peer as a program; `onCreate` is given it. */
export function packetPeerProgram(options: PacketPeerOptions, onCreate: (peer: PacketPeer) => void): SimProgram {
  return {
    arenaBytes: ARENA_BYTES,
    metrics: {},
    create(plane) {
      const peer = new PacketPeer(plane, options);
      onCreate(peer);
      return peer;
    },
  };
}
