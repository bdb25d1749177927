/**
 * An agent that dialled us directly (WIRE 6.10): who it is by its certificate, what it may reach, and where answers to it go. On
 * ztna-v2 they go back the same way; an agent of ztna-v1 takes none there, so its packets count as if the server had brought them.
 */
import type { Timer } from "../../base/mod.ts";
import { authorize, type CertificateNumber, type Identity, STRICT_AUTHORIZATION } from "../../core/auth/mod.ts";
import type { CertificateSummary, Connection } from "../../core/quic/mod.ts";
import type { PeerLimiter } from "../../core/ratelimit/mod.ts";
import { ALPN_V2 } from "../../core/wire/mod.ts";
import type { PeerStatus, WatchedPeer } from "../control/mod.ts";
import type { StreamOrigin } from "./backend_stream.ts";
import type { PacketSource, WayBack } from "./datagram_end.ts";
import { isDetourAddress } from "./p2p_detours.ts";
import type { LinkOwner } from "./packet_links.ts";
import type { Service, ServiceTable } from "./services.ts";

export interface P2pPeerParts {
  readonly connection: Connection;
  readonly certificate: CertificateSummary;
  readonly identity: Identity;
  readonly limiter: PeerLimiter;
  readonly services: ServiceTable;
  /** The connection by which the server knows us for a service; null without one. */
  readonly serverConnectionOf: (service: Service) => Connection | null;
}

export class P2pPeer implements PacketSource, StreamOrigin, WatchedPeer {
  readonly from = "agent";
  readonly streamsKey: string;
  readonly connection: Connection;
  readonly certificate: CertificateSummary;
  readonly authorities: readonly CertificateNumber[];
  readonly identity: Identity;
  readonly limiter: PeerLimiter;
  validity: Timer | null = null;
  readonly agent: { readonly commonName: string };
  readonly owner: LinkOwner;
  readonly flowOwner: LinkOwner;
  readonly isV2: boolean;
  readonly #parts: P2pPeerParts;

  constructor(parts: P2pPeerParts) {
    this.#parts = parts;
    this.connection = parts.connection;
    this.certificate = parts.certificate;
    this.authorities = parts.connection.engine.peerAuthorities().map(({ issuer, serial }) => ({ issuer, serial }));
    this.identity = parts.identity;
    this.streamsKey = parts.identity.key;
    this.limiter = parts.limiter;
    this.agent = { commonName: parts.identity.commonName };
    this.isV2 = parts.connection.engine.applicationProtocol() === ALPN_V2;
    const own = { agentKey: parts.identity.key, origin: this.isV2 ? null : parts.connection };
    // What goes back through the server: a TCP session may have begun there, and goes on whichever way its packets come. A flow of
    // UDP is told from others by nothing but its addresses, so one that begins here is this agent's alone.
    this.owner = this.isV2 ? own : { agentKey: null, origin: null };
    this.flowOwner = own;
  }

  /** How logs call it: its name and the number of its connection, never its address. */
  get label(): string {
    return `${this.identity.commonName}#${this.connection.id}`;
  }

  /** Whether there is anything here that the certificate names. */
  get mayReachAny(): boolean {
    return this.#parts.services.all.some((service) => this.mayReach(service));
  }

  mayReach(service: Service): boolean {
    return authorize(this.identity, "agent", service.id, STRICT_AUTHORIZATION).allowed;
  }

  mayOpen(nowMs: number): boolean {
    return this.limiter.allowOpen(nowMs) === null;
  }

  serviceOfBare(view: DataView, offset: number, length: number): Service | null {
    // On ztna-v2 packets name their service (WIRE 5.5).
    return this.isV2 ? null : this.#parts.services.ofPacket(view, offset, length);
  }

  wayBack(service: Service, isWrapped: boolean): WayBack | null {
    if (this.isV2) return { connection: this.connection, isWrapped };
    const connection = this.#parts.serverConnectionOf(service);
    return connection === null ? null : { connection, isWrapped: connection.engine.applicationProtocol() === ALPN_V2 };
  }

  status(streams: number, nowMs: number): PeerStatus {
    const { services } = this.#parts;
    const { connection, certificate } = this;
    const { engine, address, establishedMs, heardMs } = connection;
    const { rttMs, bytesSent, bytesReceived, packetsLost } = engine.stats();
    return {
      id: connection.id,
      role: "agent",
      name: this.identity.commonName,
      certificate,
      protocol: engine.applicationProtocol(),
      authorized: [...this.identity.authorizations].sort(),
      services: services.all.filter((service) => this.mayReach(service)).map(({ id }) => id),
      streams,
      ...engine.tlsDescription(),
      remoteAddress: isDetourAddress(address.toString()) ? "by the server" : address.toString(),
      ageMs: nowMs - establishedMs,
      idleMs: nowMs - heardMs,
      rttMs,
      bytesSent,
      bytesReceived,
      packetsLost,
    };
  }
}
