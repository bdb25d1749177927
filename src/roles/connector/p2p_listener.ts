/**
 * Direct connections of agents (WIRE 6.10), on the sockets of the uplink. TLS demands a certificate of an authority that we were
 * told, and it must name a service that we offer; every packet and stream is judged by it again. There is no registration.
 */
import { type DenyEntry, identityFrom } from "../../core/auth/mod.ts";
import type { Connection, Ending, EndpointCounters, EndpointHandler, EngineProfile } from "../../core/quic/mod.ts";
import { abortStream } from "../../core/quic/mod.ts";
import {
  AbortCode,
  classifyFrame,
  CloseCode,
  encodeKeepalive,
  encodeQad,
  FrameKind,
  keepaliveSequence,
  QAD6_LENGTH,
} from "../../core/wire/mod.ts";
import { AF_INET, SOCKADDR_SLOT_BYTES } from "../../io/mod.ts";
import {
  type Admission,
  HandshakeWatch,
  originOf,
  type P2pPlan,
  type PeerStatus,
  PeerWatch,
  type Plane,
  SampledLog,
} from "../control/mod.ts";
import type { BackendStreams } from "./backend_streams.ts";
import type { DatagramEnd } from "./datagram_end.ts";
import type { ConnectorMetric } from "./metrics.ts";
import { createP2pProfile } from "./p2p_accepting.ts";
import { isDetourAddress } from "./p2p_detours.ts";
import { P2pPeer, type P2pPeerParts } from "./p2p_peer.ts";

export interface P2pListenerOptions extends Pick<P2pPeerParts, "services" | "serverConnectionOf"> {
  readonly plane: Plane;
  readonly plan: P2pPlan;
  readonly admission: Admission;
  readonly streams: BackendStreams;
  readonly datagrams: DatagramEnd;
  readonly count: (metric: ConnectorMetric, amount: number) => void;
  readonly onSize: (connections: number) => void;
}

export class P2pListener implements EndpointHandler {
  readonly #options: P2pListenerOptions;
  readonly #peers = new Map<Connection, P2pPeer>();
  /** Strangers cause what is written here. */
  readonly #log: SampledLog;
  readonly #handshakes: HandshakeWatch;
  readonly #scratchAt: number;
  readonly #slot: number;
  readonly #watch: PeerWatch;
  #profile: EngineProfile;

  /** Throws a PosternError when the material does not fit together. */
  constructor(options: P2pListenerOptions) {
    this.#options = options;
    const { layout } = options.plane.platform;
    this.#log = new SampledLog(options.plane);
    this.#handshakes = new HandshakeWatch({ plane: options.plane, log: this.#log, count: options.count });
    this.#scratchAt = layout.reserve(QAD6_LENGTH);
    this.#slot = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.#profile = createP2pProfile(options.plane, options.plan);
    this.#watch = new PeerWatch({
      plane: options.plane,
      peers: this.#peers,
      denied: options.plan.revocation.denied,
      onClosed: (why) => options.count(why === "expired" ? "p2pClosedExpired" : "p2pClosedRevoked", 1),
    });
  }

  /** What connections are accepted with. */
  get profile(): EngineProfile {
    return this.#profile;
  }

  /** Goes over to new material, made by {@linkcode createP2pProfile}; who may no longer be here is closed, the others stay. */
  replace(profile: EngineProfile, denied: readonly DenyEntry[]): void {
    this.#profile.free();
    this.#profile = profile;
    this.#watch.replace(denied);
  }

  /** One more entry, until the process ends. Returns how many connections it closed. */
  deny(entry: DenyEntry): number {
    return this.#watch.deny(entry);
  }

  get size(): number {
    return this.#peers.size;
  }

  status(peersMax: number, nowMs: number): PeerStatus[] {
    const { streams } = this.#options;
    return this.#peers.values().take(peersMax).map((peer) => peer.status(streams.sizeOf(peer.connection), nowMs)).toArray();
  }

  /** Ends one of them; false when there is none of this number. */
  disconnect(id: number): boolean {
    for (const { connection } of this.#peers.values()) {
      if (connection.id !== id) continue;
      connection.close(CloseCode.limits, "disconnected by the operator");
      return true;
    }
    return false;
  }

  onEstablished(connection: Connection, nowMs: number): void {
    const { count, onSize, services, serverConnectionOf, admission } = this.#options;
    const certificate = connection.engine.peerCertificate();
    this.#handshakes.established(connection, certificate, connection.engine.peerAuthorities().length);
    const identity = certificate === null ? null : identityFrom(certificate);
    const limiter = admission.limiterOf(connection);
    if (certificate === null || identity === null || identity.kind === "problem" || limiter === null) {
      return this.#refuse(connection, "no usable client certificate");
    }
    const peer = new P2pPeer({ connection, certificate, identity, limiter, services, serverConnectionOf });
    if (!peer.mayReachAny) return this.#refuse(connection, "the certificate names no service of this connector");
    this.#peers.set(connection, peer);
    if (!this.#watch.begin(peer, nowMs)) return;
    count("p2pAccepted", 1);
    onSize(this.#peers.size);
    this.#log.write("info", "p2p-opened", "An agent connected directly", {
      agent: identity.commonName,
      protocol: connection.engine.applicationProtocol(),
    });
    this.#reportAddress(connection);
  }

  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void {
    const { plane, datagrams, count } = this.#options;
    const peer = this.#peers.get(connection);
    if (peer === undefined) return;
    if (peer.limiter.allowDatagram(length, nowMs) !== null) return count("p2pDroppedLimit", 1);
    switch (classifyFrame(plane.platform.engine.arena.bytes, offset, length)) {
      case FrameKind.ipv4:
      case FrameKind.ipv6:
      case FrameKind.routed:
        return datagrams.onDatagram(peer, offset, length, nowMs);
      case FrameKind.keepaliveRequest:
        return this.#answerKeepalive(connection, offset);
      default:
        count("droppedKind", 1);
    }
  }

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    const peer = this.#peers.get(connection);
    if (peer === undefined) return;
    // On ztna-v1 an agent has nothing to say on streams here.
    if (!peer.isV2) return abortStream(connection, stream, AbortCode.malformed);
    this.#options.streams.onReadable(peer, connection, stream, nowMs);
  }

  onWritable(connection: Connection, stream: number): void {
    this.#options.streams.onWritable(connection, stream);
  }

  onMigrated(connection: Connection): void {
    // By the server it has no address of its own.
    if (this.#peers.has(connection) && !isDetourAddress(`${connection.address}`)) this.#reportAddress(connection);
  }

  onClosed(connection: Connection, ending: Ending, nowMs: number): void {
    const { streams, datagrams, count, onSize, admission } = this.#options;
    admission.release(connection);
    this.#handshakes.closed(connection);
    const peer = this.#peers.get(connection);
    if (peer === undefined) {
      const { why, subject } = this.#handshakes.failed(connection, ending);
      count("p2pRefused", 1);
      return this.#log.warn("p2p-refused", `A direct handshake failed: ${why}`, { subject });
    }
    this.#peers.delete(connection);
    this.#watch.end(peer);
    onSize(this.#peers.size);
    streams.onDown(connection);
    datagrams.onDown(connection, nowMs);
    this.#log.write("info", "p2p-closed", "An agent's direct connection ended", { agent: peer.identity.commonName, by: ending.by });
  }

  /** The certificate was good enough for the handshake, and not for us. */
  #refuse(connection: Connection, reason: string): void {
    connection.close(CloseCode.certificateMissing, reason);
    const certificate = connection.engine.peerCertificate();
    this.#log.warn("p2p-refused", `Refused a direct connection: ${reason}`, { subject: certificate?.subject ?? "" });
    const username = certificate?.commonName ?? "";
    this.#log.event({ ...originOf(connection), event_type: "auth_failure", details: { username, reason } });
  }

  #reportAddress(connection: Connection): void {
    const { bytes, view } = this.#options.plane.platform.engine.arena;
    const slot = this.#slot;
    if (!connection.engine.peerAddress(slot)) return;
    const isV4 = bytes[slot] === AF_INET;
    const length = encodeQad(bytes, this.#scratchAt, bytes, slot + (isV4 ? 4 : 8), isV4 ? 4 : 16, view.getUint16(slot + 2));
    if (length > 0) this.#send(connection, length);
  }

  #answerKeepalive(connection: Connection, offset: number): void {
    const { bytes } = this.#options.plane.platform.engine.arena;
    this.#send(connection, encodeKeepalive(bytes, this.#scratchAt, "response", keepaliveSequence(bytes, offset)));
    this.#options.count("p2pKeepalives", 1);
  }

  #send(connection: Connection, length: number): void {
    connection.engine.datagramSend(this.#scratchAt, length);
    connection.touch();
  }
}

/** What the endpoint did not take in of the packets on a P2P socket, by reason. */
export function droppedPackets(counters: EndpointCounters): Readonly<Record<"malformed" | "unknown" | "limit", number>> {
  const { malformed, shortInitial, undecryptable, unknownConnection, retiredId, tokensRefused } = counters;
  const { overConnectionLimit, overHandshakeLimit, overPolicy, overRetryLimit } = counters;
  return {
    malformed: malformed + shortInitial + undecryptable + tokensRefused,
    unknown: unknownConnection + retiredId,
    limit: overConnectionLimit + overHandshakeLimit + overPolicy + overRetryLimit,
  };
}
