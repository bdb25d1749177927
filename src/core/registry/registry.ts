/**
 * Which connection serves or uses which service. A connection has one role for life; an agent uses a set of services, a
 * connector serves some. Decisions about who may register are taken before (`core/auth`); here is only what follows
 * from the registrations themselves.
 *
 * Services are numbered, so that a packet's way needs no strings. A number is never given to another service; a service
 * that comes back soon gets its old one.
 */

import { bytesEqualAt, parseServiceId } from "../../base/mod.ts";
import { REGISTRY_LIMITS, type RegistryLimits } from "./limits.ts";
import { type Connector, ConnectorPool, type StreamChoice } from "./pool.ts";
import {
  type ConnectorDirectory,
  type ConnectorOptions,
  NackStatus,
  type PeerRole,
  refused,
  type RegistrationOutcome,
  type RegistryOptions,
  ROLE_TABLE,
  type Unregistration,
} from "./registration.ts";
import { type Owner, ServiceShares, shareOf } from "./service_shares.ts";

interface Service {
  readonly number: number;
  readonly id: string;
  readonly bytes: Uint8Array;
  agents: number;
  readonly pool: ConnectorPool;
}

interface Peer {
  readonly role: "agent" | "connector";
  /** In the order of registration. */
  readonly services: Service[];
  readonly serviceNumbers: number[];
  readonly connector: Connector | null;
  readonly owner: Owner;
}

const NOTHING: readonly number[] = [];
const encoder = new TextEncoder();

export class Registry implements ConnectorDirectory {
  #limits: RegistryLimits;
  readonly #allowLegacyServiceIds: boolean;
  readonly #allowConnectorTakeover: boolean;
  readonly #peers = new Map<number, Peer>();
  readonly #byId = new Map<string, Service>();
  readonly #byNumber = new Map<number, Service>();
  /** Numbers of services that nobody uses at the moment, the one forgotten longest first. */
  readonly #retired = new Map<string, number>();
  readonly #shares = new ServiceShares();
  #nextNumber = 1;
  #epoch = 1;

  constructor(options: RegistryOptions = {}) {
    this.#limits = options.limits ?? REGISTRY_LIMITS;
    this.#allowLegacyServiceIds = options.allowLegacyServiceIds ?? false;
    this.#allowConnectorTakeover = options.allowConnectorTakeover ?? false;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Connections that hold a registration, and services that somebody uses or serves. */
  get registered(): number {
    return this.#peers.size;
  }

  get serviceCount(): number {
    return this.#byId.size;
  }

  /** Other bounds from now on, for connections and services that come; what stands stays. */
  configure(limits: RegistryLimits): void {
    this.#limits = limits;
  }

  /** Lets `peer`, the number of a live connection, use `service`. `identity` and `source` are those of {@linkcode Owner}. */
  registerAgent(peer: number, service: string, identity: string | null = null, source = ""): RegistrationOutcome {
    const owner = { identity, source };
    const refusal = this.#refusal(peer, "agent", service, owner);
    if (refusal !== null) return refusal;
    const entry = this.#peer(peer, "agent", owner, null);
    const known = this.#intern(service);
    const isNew = !entry.serviceNumbers.includes(known.number);
    if (isNew) {
      known.agents++;
      this.#addService(entry, known);
    }
    return { kind: "registered", service: known.number, isNew, replaced: null };
  }

  /** Lets `peer` serve `service`, beside connectors of other identities and in place of an older one of its own. */
  registerConnector(peer: number, service: string, options: ConnectorOptions, nowMs: number): RegistrationOutcome {
    const owner = { identity: options.identity, source: options.source ?? "" };
    const refusal = this.#refusal(peer, "connector", service, owner);
    if (refusal !== null) return refusal;
    const connector = this.#peers.get(peer)?.connector ?? { peer, ...options, isHealthy: true, activeStreams: 0 };
    const known = this.#intern(service);
    const outcome = known.pool.join(connector, this.#allowConnectorTakeover, nowMs);
    if (outcome.kind === "refused") {
      this.#release(known);
      return refused(outcome.why === "pool-full" ? NackStatus.rateLimited : NackStatus.taken, outcome.why);
    }
    if (outcome.kind === "back") this.#epoch++;
    const isNew = outcome.kind !== "already" && outcome.kind !== "back";
    if (isNew) {
      this.#epoch++;
      this.#addService(this.#peer(peer, "connector", owner, connector), known);
    }
    if (outcome.kind !== "replaced") return { kind: "registered", service: known.number, isNew, replaced: null };
    const older = this.#peers.get(outcome.old.peer);
    if (older !== undefined) this.#removeService(older, known);
    const message = `Connector replacement: service '${service}' was ${outcome.old.label}, now ${connector.label}`;
    const replaced = { service, oldPeer: outcome.old.peer, newPeer: peer, message };
    return { kind: "registered", service: known.number, isNew, replaced };
  }

  /**
   * Lets a connector keep the flows of a service that it has, and get no new ones. False when it does not serve it. It may register
   * the service again.
   */
  withdraw(peer: number, service: string): boolean {
    const known = this.#byId.get(service);
    if (known === undefined || !known.pool.withdraw(peer)) return false;
    this.#epoch++;
    return true;
  }

  /** `peer`, from which a newer connection took the service at that time, was dead already. */
  forgiveReplacement(peer: number, service: string, atMs: number): void {
    const connector = this.#peers.get(peer)?.connector;
    if (connector !== undefined && connector !== null) this.#byId.get(service)?.pool.forgive(connector.identity, atMs);
  }

  /** Forgets a connection that ended. What a newer connection has taken over stays with that one. */
  unregister(peer: number): Unregistration {
    const entry = this.#peers.get(peer);
    if (entry === undefined) return { role: "none", services: [], orphaned: [] };
    this.#peers.delete(peer);
    this.#shares.add(entry.owner, -entry.services.length);
    const orphaned: string[] = [];
    for (const service of entry.services) {
      if (entry.role === "agent") service.agents--;
      else if (service.pool.leave(peer) && service.pool.size === 0) orphaned.push(service.id);
      this.#release(service);
    }
    if (entry.role === "connector") this.#epoch++;
    return { role: entry.role, services: entry.services.map((service) => service.id), orphaned };
  }

  roleOf(peer: number): PeerRole {
    return this.#peers.get(peer)?.role ?? "none";
  }

  /** Whether the connection registered as an agent of exactly this service. */
  isAgentForService(peer: number, service: string): boolean {
    const entry = this.#peers.get(peer);
    return entry !== undefined && entry.role === "agent" && entry.services.some((known) => known.id === service);
  }

  /**
   * The number of the service whose id stands in `bytes`, if the connection registered it in `role`; else -1. Compares
   * bytes, so that nothing is decoded or allocated per packet.
   */
  serviceAt(peer: number, role: "agent" | "connector", bytes: Uint8Array, offset: number, length: number): number {
    const entry = this.#peers.get(peer);
    if (entry === undefined || entry.role !== role) return -1;
    for (const service of entry.services) {
      if (service.bytes.length === length && bytesEqualAt(service.bytes, 0, bytes, offset, length)) return service.number;
    }
    return -1;
  }

  /** The service of an agent's packets that name none: its only one, else the one that it registered first; -1 without. */
  implicitService(peer: number): number {
    const entry = this.#peers.get(peer);
    return entry !== undefined && entry.role === "agent" ? entry.serviceNumbers[0] ?? -1 : -1;
  }

  connectorServices(peer: number): readonly number[] {
    const entry = this.#peers.get(peer);
    return entry !== undefined && entry.role === "connector" ? entry.serviceNumbers : NOTHING;
  }

  agentIdentity(peer: number): string | null {
    return this.#peers.get(peer)?.owner.identity ?? null;
  }

  agentShare(peer: number): string {
    const entry = this.#peers.get(peer);
    return entry === undefined ? "" : shareOf(entry.owner);
  }

  connectorForFlow(service: number, current: number): number {
    return this.#byNumber.get(service)?.pool.forFlow(current) ?? -1;
  }

  /** The connector for a new stream of an agent, leaving out those for which `isExcluded` says so (already tried). */
  connectorForStream(service: number, isExcluded: (peer: number) => boolean = () => false): StreamChoice {
    return this.#byNumber.get(service)?.pool.forStream(isExcluded) ?? { kind: "no-connector" };
  }

  /** A connector for something else than packets and streams, such as a signalling session; -1 when there is none. */
  connectorFor(service: string): number {
    return this.connectorForFlow(this.serviceNumber(service), -1);
  }

  streamOpened(peer: number): void {
    const connector = this.#peers.get(peer)?.connector ?? null;
    if (connector !== null) connector.activeStreams++;
  }

  streamClosed(peer: number): void {
    const connector = this.#peers.get(peer)?.connector ?? null;
    if (connector !== null && connector.activeStreams > 0) connector.activeStreams--;
  }

  /** Takes a connector out of the choice, or back in, for all its services. */
  setHealthy(peer: number, isHealthy: boolean): void {
    const connector = this.#peers.get(peer)?.connector ?? null;
    if (connector === null || connector.isHealthy === isHealthy) return;
    connector.isHealthy = isHealthy;
    this.#epoch++;
  }

  serviceNumber(id: string): number {
    return this.#byId.get(id)?.number ?? -1;
  }

  /** Whether nobody uses or serves it now, but somebody did not long ago. */
  wasKnown(id: string): boolean {
    return this.#retired.has(id);
  }

  serviceId(service: number): string | null {
    return this.#byNumber.get(service)?.id ?? null;
  }

  /** The id as bytes, for a frame that carries it; null for a number that is not (or no longer) in use. */
  serviceIdBytes(service: number): Uint8Array | null {
    return this.#byNumber.get(service)?.bytes ?? null;
  }

  servicesOf(peer: number): string[] {
    return this.#peers.get(peer)?.services.map((service) => service.id) ?? [];
  }

  /** All services with their users and servers, for status pages. */
  services(): { readonly id: string; readonly agents: number; readonly connectors: readonly Readonly<Connector>[] }[] {
    return [...this.#byId.values()].map(({ id, agents, pool }) => ({ id, agents, connectors: pool.connectors() }));
  }

  #refusal(peer: number, role: "agent" | "connector", service: string, owner: Owner): RegistrationOutcome | null {
    if (!parseServiceId(service, { legacy: this.#allowLegacyServiceIds }).ok) {
      return refused(NackStatus.invalid, "invalid-service-id");
    }
    const entry = this.#peers.get(peer);
    if (ROLE_TABLE[entry?.role ?? "none"][role] === null) return refused(NackStatus.notAuthorised, "other-role");
    const known = this.#byId.get(service);
    if (known !== undefined && entry?.services.includes(known)) return null;
    if (entry === undefined && this.#peers.size >= this.#limits.peersMax) return refused(NackStatus.rateLimited, "peers-in-all");
    if ((entry?.services.length ?? 0) >= this.#limits.servicesPerPeerMax) {
      return refused(NackStatus.rateLimited, "services-per-connection");
    }
    const shared = this.#shares.refusal(owner, this.#limits);
    if (shared !== null) return refused(NackStatus.rateLimited, shared);
    if (known === undefined && this.#byId.size >= this.#limits.servicesMax) {
      return refused(NackStatus.rateLimited, "services-in-all");
    }
    return null;
  }

  #peer(peer: number, role: "agent" | "connector", owner: Owner, connector: Connector | null): Peer {
    let entry = this.#peers.get(peer);
    if (entry === undefined) {
      entry = { role, services: [], serviceNumbers: [], connector, owner };
      this.#peers.set(peer, entry);
    }
    return entry;
  }

  #addService(peer: Peer, service: Service): void {
    peer.services.push(service);
    peer.serviceNumbers.push(service.number);
    this.#shares.add(peer.owner, 1);
  }

  #removeService(peer: Peer, service: Service): void {
    const at = peer.services.indexOf(service);
    if (at < 0) return;
    peer.services.splice(at, 1);
    peer.serviceNumbers.splice(at, 1);
    this.#shares.add(peer.owner, -1);
  }

  #intern(id: string): Service {
    let service = this.#byId.get(id);
    if (service === undefined) {
      const number = this.#retired.get(id) ?? this.#nextNumber++;
      this.#retired.delete(id);
      service = { number, id, bytes: encoder.encode(id), agents: 0, pool: new ConnectorPool(this.#limits) };
      this.#byId.set(id, service);
      this.#byNumber.set(service.number, service);
    }
    return service;
  }

  #release(service: Service): void {
    if (service.agents > 0 || service.pool.size > 0) return;
    this.#byId.delete(service.id);
    this.#byNumber.delete(service.number);
    if (this.#retired.size >= this.#limits.servicesMax) {
      for (const oldest of this.#retired.keys()) {
        this.#retired.delete(oldest);
        break;
      }
    }
    this.#retired.set(service.id, service.number);
  }
}
