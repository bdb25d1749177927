/**
 * The services that this agent speaks of, and the inner address that each has in packets (WIRE 5.6): the configured one, or the
 * next free one of 10.100.0.0/24, where connectors that name no address take any. The addresses mean something between this
 * agent and the connectors of the service only.
 */
import { type IpEnds, parseEnds } from "../../core/wire/mod.ts";
import { SERVICES_MAX } from "./limits.ts";

/** The same object for as long as the agent runs. */
export interface AgentService {
  readonly id: string;
  /** The id as it stands in a ROUTED header. */
  readonly idBytes: Uint8Array;
  /** Its inner address. */
  readonly address: string;
  /** From us to it. */
  readonly ends: IpEnds;
  /** Its inner IPv6 address, where the configuration gives it one, and from this machine to it. */
  readonly address6: string | null;
  readonly ends6: IpEnds | null;
}

/** An inner address that the configuration gives to a service: one of each version of IP at most. */
export interface AddressPlan {
  readonly service: string;
  readonly address: string;
}

/** Where packets of an agent come from. All agents have the same: the server keeps their flows apart (WIRE 5.3). */
export const AGENT_ADDRESS = "100.64.0.1";
/** Where those of its own network stack come from while the machine's, through a TUN device, have that address. */
export const STACK_ADDRESS = "100.64.0.2";
/** The machine's own address behind a TUN device in IPv6: of a unique local network (RFC 4193). */
export const AGENT_ADDRESS6 = "fd7a:746e:61::1";
export const DEFAULT_NETWORK = "10.100.0.";
const DEFAULT_NETWORK_HOSTS = 254;

export class AgentServices {
  readonly #planned: ReadonlyMap<string, string>;
  readonly #planned6: ReadonlyMap<string, string>;
  readonly #byId = new Map<string, AgentService>();
  readonly #byAddress = new Map<number, AgentService>();
  readonly #kept = new Set<AgentService>();
  readonly #source: string;
  #nextHost = 1;

  /** `source`: the inner address of our own network stack. */
  constructor(addresses: readonly AddressPlan[] = [], source = AGENT_ADDRESS) {
    this.#source = source;
    const isIpv6 = ({ address }: AddressPlan) => address.includes(":");
    const byService = (plans: readonly AddressPlan[]) => new Map(plans.map(({ service, address }) => [service, address]));
    this.#planned = byService(addresses.filter((plan) => !isIpv6(plan)));
    this.#planned6 = byService(addresses.filter(isIpv6));
  }

  get size(): number {
    return this.#byId.size;
  }

  all(): Iterable<AgentService> {
    return this.#byId.values();
  }

  /** As {@linkcode open}, of a service that the configuration names: it stays for good. */
  keep(id: string): AgentService | null {
    const service = this.open(id);
    if (service !== null) this.#kept.add(service);
    return service;
  }

  isKept(service: AgentService): boolean {
    return this.#kept.has(service);
  }

  /** Makes room: nothing of the service is left. */
  forget(service: AgentService): void {
    this.#byId.delete(service.id);
    this.#byAddress.delete(service.ends.destination3);
  }

  /** The service of this id, which has passed `parseServiceId`; null when there is no room for another. */
  open(id: string): AgentService | null {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    if (this.#byId.size >= SERVICES_MAX) return null;
    const address = this.#planned.get(id) ?? this.#freeAddress();
    const ends = address === null ? null : parseEnds(this.#source, address);
    if (address === null || ends === null) return null;
    const address6 = this.#planned6.get(id) ?? null;
    const ends6 = address6 === null ? null : parseEnds(AGENT_ADDRESS6, address6);
    const service: AgentService = { id, idBytes: new TextEncoder().encode(id), address, ends, address6, ends6 };
    this.#byId.set(id, service);
    this.#byAddress.set(ends.destination3, service);
    return service;
  }

  /** The service whose id stands in `length` bytes at `offset`, or null. */
  named(bytes: Uint8Array, offset: number, length: number): AgentService | null {
    for (const service of this.#byId.values()) {
      const { idBytes } = service;
      if (idBytes.length !== length) continue;
      let i = 0;
      while (i < length && idBytes[i] === bytes[offset + i]) i++;
      if (i === length) return service;
    }
    return null;
  }

  /** The service that has this IPv4 address, as a signed word, or null. */
  at(address: number): AgentService | null {
    return this.#byAddress.get(address) ?? null;
  }

  /** The service to whose address, IPv4 or IPv6, the source of `ends` belongs, or null. */
  from(ends: IpEnds): AgentService | null {
    if (ends.isIpv4) return this.at(ends.source3);
    for (const service of this.#byId.values()) {
      if (service.ends6 !== null && isWayBack(ends, service.ends6)) return service;
    }
    return null;
  }

  /** In turn, so that an address that was given up is not another's at once. */
  #freeAddress(): string | null {
    const taken = new Set([...this.#planned.values(), ...[...this.#byId.values()].map(({ address }) => address)]);
    for (let tries = 0; tries < DEFAULT_NETWORK_HOSTS; tries++) {
      const address = `${DEFAULT_NETWORK}${this.#nextHost}`;
      this.#nextHost = this.#nextHost % DEFAULT_NETWORK_HOSTS + 1;
      if (!taken.has(address)) return address;
    }
    return null;
  }
}

/** Whether the source of `back` is the destination of `there`. */
function isWayBack(back: IpEnds, there: IpEnds): boolean {
  return back.source3 === there.destination3 && back.source2 === there.destination2 && back.source1 === there.destination1 &&
    back.source0 === there.destination0;
}
