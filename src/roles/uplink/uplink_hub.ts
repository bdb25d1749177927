/**
 * What all QUIC connections of one client share: its UDP sockets, one endpoint, and what a dial shows and trusts. Every connection
 * has an owner, and hears of nothing but its own. A client that also listens (WIRE 6.10) takes its guests in on the same sockets,
 * so that the address under which the server sees it is the one at which others reach it.
 */
import { messageOf } from "../../base/mod.ts";
import {
  type AcceptOptions,
  type CongestionControl,
  type Connection,
  type Ending,
  Endpoint,
  type EndpointHandler,
  type EngineProfile,
  type ResetHmac,
  ROTATION_DEFAULTS,
} from "../../core/quic/mod.ts";
import { CLIENT_PROTOCOLS } from "../../core/wire/mod.ts";
import {
  AF_INET,
  AF_INET6,
  type IpEndpoint,
  NetworkWatch,
  SOCKADDR_SLOT_BYTES,
  UdpSocket,
  type UdpSocketLimits,
  writeSockaddr,
} from "../../io/mod.ts";
import { Departures, type Plane, type PlaneStatus, socketReports, type UplinkPlan } from "../control/mod.ts";
import { ServerHealth } from "./server_health.ts";
import { WakeWatch } from "./wake_watch.ts";
import { departureLimits, HELD_BACK_FROM, UPLINK_ENDPOINT, UPLINK_SOCKET, UPLINK_TRANSPORT } from "./limits.ts";

/** Sees every UDP payload first. True: it was no QUIC packet, and is taken care of. */
export type PacketTaker = (socket: UdpSocket, offset: number, length: number, from: number) => boolean;

/** How a client takes others in. */
export interface HubListening {
  /** At most one address of a family. */
  readonly binds: readonly IpEndpoint[];
  readonly accepting: AcceptOptions;
  readonly resetHmac: ResetHmac;
  /** Told of every connection that was not dialled by us. */
  readonly guests: EndpointHandler;
  readonly takesPacket: PacketTaker;
}

/** Told of what becomes of datagrams that nobody waits for. */
export interface DatagramNotes {
  /** One that had to wait has left. */
  left(): void;
  /** One that had to wait is larger than what the path takes by now. */
  tooLarge(): void;
  /** There was no room: the oldest went. */
  lost(count: number): void;
  /** They waited for a connection that is over. */
  gone(count: number): void;
  /** They were received and not read in time: the oldest went. */
  overflowed(count: number): void;
}

export class UplinkHub implements EndpointHandler {
  readonly endpoint: Endpoint;
  readonly #plane: Plane;
  readonly #listening: HubListening | null;
  readonly #takesPacket: PacketTaker;
  readonly #sockets = new Map<number, UdpSocket>();
  readonly #owners = new Map<Connection, EndpointHandler>();
  readonly #peerSlot: number;
  readonly #congestionControl: CongestionControl;
  readonly #network: NetworkWatch;
  readonly #wake: WakeWatch;
  readonly #onPathChange: ((nowMs: number) => void)[] = [];
  /** What the next dial shows and trusts. */
  #profile: EngineProfile;
  /** What is known of the servers' names. */
  readonly #addresses: Map<string, readonly string[]>;
  /** In which order datagrams leave that are too many for their connection. */
  readonly #departures: Departures;
  /** Null: nobody counts. */
  notes: DatagramNotes | null = null;
  /** Of the endpoint's count: what was told of. */
  #overflowed = 0;
  /** Shared by all connections of this client: what one of them learns about a server, the others need not. */
  readonly health: ServerHealth;

  /**
   * `takesPacket` is for those who do not listen and are found by others all the same. Throws a PosternError when an address cannot
   * be bound or the material does not fit.
   */
  constructor(plane: Plane, plan: UplinkPlan, listening: HubListening | null = null, takesPacket: PacketTaker = () => false) {
    const { layout, engine, reactor, entropy } = plane.platform;
    this.#plane = plane;
    this.#listening = listening;
    this.#takesPacket = listening?.takesPacket ?? takesPacket;
    this.#addresses = new Map(plan.servers.map(({ host, addresses }) => [host, addresses]));
    this.health = new ServerHealth(plan.servers.length);
    this.#peerSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.#congestionControl = plan.congestionControl ?? UPLINK_TRANSPORT.congestionControl;
    this.#profile = createUplinkProfile(plane, plan);
    this.endpoint = new Endpoint({
      engine,
      timers: reactor,
      entropy,
      handler: this,
      limits: UPLINK_ENDPOINT,
      rotation: { ...ROTATION_DEFAULTS, intervalMs: plan.cidRotationMs },
      datagramAt: layout.reserve(UPLINK_ENDPOINT.datagramBytesMax),
      ...(listening === null ? {} : { accepting: listening.accepting, resetHmac: listening.resetHmac }),
    });
    this.#departures = new Departures({
      engine,
      layout,
      limits: departureLimits(plan.packetQueueMax),
      sendNow: (connection) => this.endpoint.sendNow(connection),
      onLeft: () => this.notes?.left(),
      onTooLarge: () => this.notes?.tooLarge(),
    });
    this.#network = new NetworkWatch(reactor, layout, (nowMs) => {
      this.#tellPathChange("The network of this machine has changed", nowMs);
    });
    this.#wake = new WakeWatch(reactor, plane.platform.wallClockMs, (sleptMs, nowMs) => {
      this.#tellPathChange(`This machine slept for ${Math.round(sleptMs / 1_000)} s, or its clock was set`, nowMs);
    });
    reactor.onTurnEnd((nowMs) => this.#endTurn(nowMs));
    for (const bind of listening?.binds ?? []) this.#openSocket(bind, UPLINK_SOCKET);
    const problem = this.#openTowards(plan.servers.flatMap(({ addresses }) => addresses));
    if (problem !== null) throw problem;
  }

  /** Where it is bound. */
  get sockets(): Iterable<UdpSocket> {
    return this.#sockets.values();
  }

  /** The socket that reaches this address, if there is one. */
  socketFor(address: string): UdpSocket | undefined {
    return this.#sockets.get(familyOf(address));
  }

  /** For status pages: its sockets, and what its connections go by. */
  report(): Pick<PlaneStatus, "sockets" | "congestionControl"> {
    return { sockets: socketReports(this.#sockets.values()), congestionControl: this.#congestionControl };
  }

  /** Times that the kernel would not send. */
  get sendErrors(): number {
    let sum = 0;
    for (const { sendErrors } of this.#sockets.values()) sum += sendErrors;
    return sum;
  }

  /** Calls back when the way to the server may be another now. */
  onPathChange(callback: (nowMs: number) => void): void {
    this.#onPathChange.push(callback);
  }

  /** The addresses of one of the servers, best first. */
  addressesOf(host: string): readonly string[] {
    return this.#addresses.get(host) ?? [];
  }

  /** Dials; the connection's events go to `owner`. Null when there is no way there. */
  connect(target: IpEndpoint, expectedName: string | null, owner: EndpointHandler): Connection | null {
    const family = writeSockaddr(this.#plane.platform.layout.arena, this.#peerSlot, target);
    const socket = this.#sockets.get(family);
    if (socket === undefined) return null;
    const connection = this.endpoint.connect(socket, this.#profile, expectedName, this.#peerSlot);
    if (connection !== null) this.#owners.set(connection, owner);
    return connection;
  }

  /**
   * Sends a datagram of the arena behind what the same `sender` sent before, at once or when its turn comes; of what waits too long in
   * too great a number the oldest goes. Returns 0; 1 when it waits; or the engine's error when it can never be sent.
   */
  sendDatagram(connection: Connection, sender: number, offset: number, length: number): number {
    const { lost } = this.#departures;
    const sent = this.#departures.send(connection, sender, offset, length);
    if (this.#departures.lost > lost) this.notes?.lost(this.#departures.lost - lost);
    return sent;
  }

  /** Whether a sender that can be held back should be: as many of its datagrams wait as can leave soon. */
  holdsBack(connection: Connection, sender: number): boolean {
    return connection.backlog !== null && this.#departures.waitingOf(connection, sender) >= HELD_BACK_FROM;
  }

  /** Certificates and authorities of `plan` are for the next dial. Returns why not, and then nothing has changed; else null. */
  reload(plan: UplinkPlan): string | null {
    try {
      const profile = createUplinkProfile(this.#plane, plan);
      this.#profile.free();
      this.#profile = profile;
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }

  /** From now on the connection's events go to `owner`. */
  handOver(connection: Connection, owner: EndpointHandler): void {
    this.#owners.set(connection, owner);
  }

  /** New addresses of `host`, for the next dial, if that is one of the servers' names. */
  setAddressesOf(host: string, addresses: readonly string[]): void {
    if (!this.#addresses.has(host) || addresses.length === 0) return;
    this.#addresses.set(host, addresses);
    const problem = this.#openTowards(addresses);
    if (problem !== null) this.#plane.log("warn", "uplink-failed", messageOf(problem), { host });
  }

  onEstablished(connection: Connection, nowMs: number): void {
    this.#ownerOf(connection)?.onEstablished(connection, nowMs);
  }

  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void {
    this.#ownerOf(connection)?.onDatagram(connection, offset, length, nowMs);
  }

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    this.#ownerOf(connection)?.onReadable(connection, stream, nowMs);
  }

  onWritable(connection: Connection, stream: number, nowMs: number): void {
    this.#ownerOf(connection)?.onWritable(connection, stream, nowMs);
  }

  onMigrated(connection: Connection, nowMs: number): void {
    this.#ownerOf(connection)?.onMigrated?.(connection, nowMs);
  }

  onClosed(connection: Connection, ending: Ending, nowMs: number): void {
    const owner = this.#ownerOf(connection);
    this.#owners.delete(connection);
    const waiting = this.#departures.forget(connection);
    if (waiting > 0) this.notes?.gone(waiting);
    owner?.onClosed(connection, ending, nowMs);
  }

  /** Gives the sockets back. Only for those who do not end the process. */
  dispose(): void {
    this.#network.close();
    this.#wake.stop();
    for (const socket of this.#sockets.values()) socket.close();
  }

  #endTurn(nowMs: number): void {
    this.endpoint.endTurn(nowMs);
    const { datagramsOverflowed } = this.endpoint.counters;
    if (datagramsOverflowed === this.#overflowed) return;
    this.notes?.overflowed(datagramsOverflowed - this.#overflowed);
    this.#overflowed = datagramsOverflowed;
  }

  #tellPathChange(message: string, nowMs: number): void {
    this.#plane.log("info", "network-changed", message, {});
    for (const callback of this.#onPathChange) callback(nowMs);
  }

  #ownerOf(connection: Connection): EndpointHandler | undefined {
    return connection.isServerSide ? this.#listening?.guests : this.#owners.get(connection);
  }

  /**
   * Sees to a socket of each family that the addresses have: a name may get its first address of the other one at any time. Returns what
   * was wrong when none of them can be reached, for a machine may well have one family only.
   */
  #openTowards(addresses: readonly string[]): unknown {
    let problem: unknown = null;
    for (const address of new Set(addresses.map(anyAddressLike))) {
      if (this.#sockets.has(familyOf(address))) continue;
      try {
        this.#openSocket({ address, port: 0 }, UPLINK_SOCKET);
      } catch (error) {
        problem = error;
      }
    }
    return addresses.some((address) => this.#sockets.has(familyOf(address))) ? null : problem;
  }

  #openSocket(bind: IpEndpoint, limits: UdpSocketLimits): void {
    const { reactor, layout } = this.#plane.platform;
    const socket = new UdpSocket(
      reactor,
      layout,
      bind,
      limits,
      (from, offset, length, peer) => {
        if (!this.#takesPacket(from, offset, length, peer)) this.endpoint.handlePacket(from, offset, length, peer);
      },
      () => this.endpoint.pathWritable(),
    );
    this.#plane.noteBuffers(socket, limits.kernelBufferBytes);
    this.#sockets.set(familyOf(bind.address), socket);
  }
}

function anyAddressLike(address: string): string {
  return address.includes(":") ? "::" : "0.0.0.0";
}

function familyOf(address: string): number {
  return address.includes(":") ? AF_INET6 : AF_INET;
}

function createUplinkProfile(plane: Plane, plan: UplinkPlan): EngineProfile {
  const { certificatePem, keyPem, trustPem } = plan.tls;
  return plane.platform.engine.createProfile({
    side: "client",
    identity: certificatePem !== null && keyPem !== null ? { certificateChainPem: certificatePem, privateKeyPem: keyPem } : null,
    verify: plan.verifyPeer ? { kind: "require", trustPem: trustPem ?? new Uint8Array(0), crlPem: null } : { kind: "off" },
    protocols: CLIENT_PROTOCOLS,
    transport: {
      ...UPLINK_TRANSPORT,
      datagramQueueMax: plan.packetQueueMax,
      congestionControl: plan.congestionControl ?? UPLINK_TRANSPORT.congestionControl,
    },
  });
}
