/**
 * What the connector offers: services, the backends behind each, and the inner addresses under which agents know them. Every
 * question "may this be dialled, and where is it?" is answered here, and nothing that is not in this table is ever dialled.
 */
import { type IpEnds, parseEnds } from "../../core/wire/mod.ts";
import type { ConnectorPlan, HealthCheck, ServicePlan } from "../control/mod.ts";
import { UDP_REFUSED_MS } from "./limits.ts";

export type BackendProtocol = "tcp" | "udp";
/** `unknown` until the first look; then what the last looks said. */
export type BackendHealth = "unknown" | "up" | "down";

/** One place where a service runs. */
export interface Backend {
  readonly host: string;
  readonly port: number;
  readonly protocols: readonly BackendProtocol[];
  readonly check: HealthCheck;
  /** Resolved, best first; empty while the name has no address. */
  addresses: readonly string[];
  health: BackendHealth;
  /** When it last refused a datagram, -Infinity if it never did or has answered since. */
  udpRefusedMs: number;
}

/** An address and port to dial, of a backend. */
export interface DialTarget {
  readonly backend: Backend;
  readonly address: string;
  readonly port: number;
}

/** An inner address that is a service's, at one port or at all. */
interface Destination {
  readonly text: string;
  /** The address stands in the source words. */
  readonly ends: IpEnds;
  readonly port: number | null;
}

/** The same object for as long as the service is offered, whatever changes about it. */
export interface Service {
  readonly id: string;
  /** The id as it stands in a ROUTED header. */
  readonly idBytes: Uint8Array;
  /** In the order of preference. */
  backends: readonly Backend[];
  /** None: any address of {@linkcode DEFAULT_NETWORK}. */
  destinations: readonly Destination[];
  /** False once the configuration has it no more: what runs may finish, nothing new begins. */
  isOffered: boolean;
}

/** What {@linkcode ServiceTable.replace} changed. */
export interface ServiceChanges {
  readonly added: readonly Service[];
  readonly changed: readonly Service[];
  readonly removed: readonly Service[];
}

/** Where ztna-v1 agents place services that have no address of their own: 10.100.0.0/24. */
const DEFAULT_NETWORK = 0x0a6400;
const DEFAULT_NETWORK_TEXT = "10.100.0.0/24";
/** Addresses that one connection tries. */
const TARGETS_MAX = 8;
const V4_DESTINATION_AT = 16, V6_DESTINATION_AT = 24, V6_HEADER_BYTES = 40;

export class ServiceTable {
  /** Those that are offered, in the order of the configuration. */
  all: readonly Service[] = [];
  /** Those that are offered no more, while something of them still runs. */
  leaving: readonly Service[] = [];

  constructor(plan: ServicesPlan) {
    this.replace(plan);
  }

  /** Takes the services of `plan`. What is in both plans stays what it is, a backend with what is known of it. */
  replace(plan: ServicesPlan): ServiceChanges {
    const before = this.all;
    const added: Service[] = [], changed: Service[] = [];
    this.all = [...new Set(plan.services.map(({ service }) => service))].map((id) => {
      const known = before.find((service) => service.id === id);
      const backends = plan.services.filter(({ service }) => service === id).map((one) => backendOf(one, known?.backends ?? []));
      const destinations = (plan.destinations ?? []).filter(({ service }) => service === id).map(destinationOf);
      if (known === undefined) {
        const service: Service = { id, idBytes: new TextEncoder().encode(id), backends, destinations, isOffered: true };
        added.push(service);
        return service;
      }
      const isSame = backends.length === known.backends.length && backends.every((backend, i) => backend === known.backends[i]);
      const textOf = (all: readonly Destination[]) => all.map(({ text }) => text).join();
      if (!isSame || textOf(destinations) !== textOf(known.destinations)) changed.push(known);
      known.backends = backends;
      known.destinations = destinations;
      return known;
    });
    const removed = before.filter((service) => !this.all.includes(service));
    for (const service of removed) service.isOffered = false;
    this.leaving = [...this.leaving, ...removed];
    return { added, changed, removed };
  }

  /** Nothing of a service that is not offered any more runs: it is forgotten. */
  forget(service: Service): void {
    this.leaving = this.leaving.filter((one) => one !== service);
  }

  byId(id: string): Service | undefined {
    return this.all.find((service) => service.id === id);
  }

  /** The service whose id stands in `length` bytes at `offset`, or null. */
  named(bytes: Uint8Array, offset: number, length: number): Service | null {
    return namedIn(this.all, bytes, offset, length) ?? namedIn(this.leaving, bytes, offset, length);
  }

  /** The service that a packet without a name belongs to: the one whose address it is sent to, else the first. */
  ofPacket(view: DataView, offset: number, length: number): Service | null {
    const first = this.all[0] ?? null;
    if (this.all.length < 2 || length < V6_HEADER_BYTES / 2) return first;
    const isIpv4 = view.getUint8(offset) >> 4 === 4;
    if (!isIpv4 && length < V6_HEADER_BYTES) return first;
    const at = offset + (isIpv4 ? V4_DESTINATION_AT : V6_DESTINATION_AT);
    for (const service of this.leaving.length === 0 ? this.all : [...this.all, ...this.leaving]) {
      for (const { ends } of service.destinations) {
        if (ends.isIpv4 !== isIpv4) continue;
        const isEqual = isIpv4 ? view.getInt32(at) === ends.source3 : view.getInt32(at + 12) === ends.source3 &&
          view.getInt32(at + 8) === ends.source2 && view.getInt32(at + 4) === ends.source1 && view.getInt32(at) === ends.source0;
        if (isEqual) return service;
      }
    }
    return first;
  }

  /** New addresses of `host`. None changes nothing: the old ones may still be right. */
  resolved(host: string, addresses: readonly string[]): void {
    if (addresses.length === 0) return;
    for (const service of this.all) {
      for (const backend of service.backends) if (backend.host === host) backend.addresses = addresses;
    }
  }
}

type ServicesPlan = Pick<ConnectorPlan, "services" | "destinations">;

/** The backend of a plan, as it is known if it is. */
function backendOf(plan: ServicePlan, known: readonly Backend[]): Backend {
  const { host, port, addresses } = plan;
  const protocols = plan.protocols ?? ["tcp"];
  const check = plan.check ?? { kind: "tcp" };
  const same = known.find((one) =>
    one.host === host && one.port === port && one.protocols.join() === protocols.join() &&
    JSON.stringify(one.check) === JSON.stringify(check)
  );
  if (same === undefined) return { host, port, protocols, check, addresses, health: "unknown", udpRefusedMs: -Infinity };
  if (addresses.length > 0) same.addresses = addresses;
  return same;
}

function namedIn(services: readonly Service[], bytes: Uint8Array, offset: number, length: number): Service | null {
  for (const service of services) {
    const { idBytes } = service;
    if (idBytes.length !== length) continue;
    let i = 0;
    while (i < length && idBytes[i] === bytes[offset + i]) i++;
    if (i === length) return service;
  }
  return null;
}

function destinationOf({ address, port }: { readonly address: string; readonly port: number | null }): Destination {
  const ends = parseEnds(address, address);
  if (ends === null) throw new Error(`postern: internal error: not an IP address: ${address}`);
  return { text: port === null ? address : `${address} port ${port}`, ends, port };
}

/** Whether `port` at the source address of `ends` (our side of a flow) is the service's. Null: any port, for ICMP. */
export function isDestination(service: Service, ends: IpEnds, port: number | null): boolean {
  if (service.destinations.length === 0) return ends.isIpv4 && ends.source3 >>> 8 === DEFAULT_NETWORK;
  return service.destinations.some(({ ends: own, port: ownPort }) =>
    own.isIpv4 === ends.isIpv4 && own.source3 === ends.source3 && own.source2 === ends.source2 && own.source1 === ends.source1 &&
    own.source0 === ends.source0 && (port === null || ownPort === null || port === ownPort)
  );
}

/** What {@linkcode isDestination} takes, for people. */
export function destinationsText(service: Service): string {
  return service.destinations.length === 0 ? DEFAULT_NETWORK_TEXT : service.destinations.map(({ text }) => text).join(" or ");
}

/** Whether it should be registered: it is offered, and not known to be unreachable. Nobody knows of a UDP backend. */
export function isAvailable(service: Service): boolean {
  return service.isOffered && service.backends.some(({ health, protocols }) => health !== "down" || protocols.includes("udp"));
}

export function serves(service: Service, protocol: BackendProtocol): boolean {
  return service.backends.some(({ protocols }) => protocols.includes(protocol));
}

/**
 * Where to dial for TCP, best first: the backends in the order of the configuration, those that are known to be down left out.
 * Empty when all are down, or none has an address.
 */
export function targetsOf(service: Service): DialTarget[] {
  return dialTargets(service.backends.filter(({ protocols, health }) => protocols.includes("tcp") && health !== "down"));
}

/** Where datagrams may go, best first. Who refused one a short while ago comes behind the others: what is sent there is lost. */
export function udpTargetsOf(service: Service, nowMs: number): DialTarget[] {
  const backends = service.backends.filter(({ protocols }) => protocols.includes("udp"));
  const hasRefused = ({ udpRefusedMs }: Backend) => nowMs - udpRefusedMs < UDP_REFUSED_MS;
  return dialTargets([...backends.filter((backend) => !hasRefused(backend)), ...backends.filter(hasRefused)]);
}

function dialTargets(backends: readonly Backend[]): DialTarget[] {
  const targets = backends.flatMap((backend) => backend.addresses.map((address) => ({ backend, address, port: backend.port })));
  return targets.slice(0, TARGETS_MAX);
}

/** Why {@linkcode targetsOf} is empty. */
export function lackOfTargets(service: Service): string {
  const unresolved = service.backends.find(({ addresses, health }) => addresses.length === 0 && health !== "down");
  return unresolved === undefined ? "its backends are down" : `the name ${unresolved.host} has no address`;
}
