/**
 * UDP ASSOCIATE (RFC 1928 §7): datagrams of a client whose TCP connection asked for it, each behind a header that names a service, and
 * the answers behind the same header. An association lives as long as that connection, and takes datagrams from its client's
 * address alone, from the first port that sends (or the one that the client announced).
 *
 *   client ─► header: which service? ─► the association's flow to it ─► packets
 */
import type { UdpFlow } from "../../core/netstack/mod.ts";
import { decodeSocksDatagram, type ProxyTarget } from "../../core/wire/mod.ts";
import { type IpEndpoint, readSockaddr } from "../../io/mod.ts";
import { ClientTable, copyAddress, type UdpClient } from "./client_table.ts";
import { ASSOCIATION_FLOWS_MAX, ASSOCIATIONS_MAX } from "./limits.ts";
import { type DatagramContext, LocalDatagrams } from "./local_datagrams.ts";
import type { ProxyClient } from "./proxy_client.ts";

interface Association {
  readonly owner: ProxyClient;
  /** The port that the client announced; 0: any. */
  readonly port: number;
  client: AssociatedClient | null;
  readonly flows: AssociatedFlow[];
}

interface AssociatedClient extends UdpClient {
  readonly association: Association;
}

interface AssociatedFlow {
  readonly flow: UdpFlow;
  /** What stands before each datagram, in both directions. */
  readonly header: Uint8Array;
}

export class ProxyAssociations {
  readonly #context: DatagramContext;
  readonly #serviceOf: (host: string) => string | null;
  readonly #datagrams: LocalDatagrams;
  readonly #byOwner = new Map<ProxyClient, Association>();
  readonly #clients: ClientTable<AssociatedClient>;

  /** Binds a free UDP port of the address. */
  constructor(context: DatagramContext, address: string, serviceOf: (host: string) => string | null) {
    this.#context = context;
    this.#serviceOf = serviceOf;
    this.#clients = new ClientTable(Math.floor(context.plane.platform.random() * 0x7fff_ffff));
    this.#datagrams = new LocalDatagrams(
      context,
      { address, port: 0 },
      (offset, length, from) => this.#take(offset, length, from),
    );
  }

  get bound(): IpEndpoint {
    return this.#datagrams.bound;
  }

  /** Where `owner` may send from now on, or null when there are too many. `announced`: from where it will. */
  open(owner: ProxyClient, announced: ProxyTarget): IpEndpoint | null {
    if (this.#byOwner.size >= ASSOCIATIONS_MAX) return null;
    this.#byOwner.set(owner, { owner, port: announced.port, client: null, flows: [] });
    return this.bound;
  }

  /** The owner's connection is gone. */
  close(owner: ProxyClient): void {
    const association = this.#byOwner.get(owner);
    if (association === undefined) return;
    this.#byOwner.delete(owner);
    if (association.client !== null) this.#clients.remove(association.client);
    const { packets, plane } = this.#context;
    for (const { flow } of [...association.flows]) packets.stack.closeFlow(flow, plane.platform.reactor.nowMs);
  }

  closeAll(): void {
    for (const owner of [...this.#byOwner.keys()]) this.close(owner);
    this.#datagrams.close();
  }

  #take(offset: number, length: number, from: number): void {
    const { view, bytes } = this.#context.plane.platform.engine.arena;
    const association = this.#clients.find(view, from)?.association ?? this.#claim(view, from);
    if (association === null) return this.#context.count("droppedForeign", 1);
    const known = association.flows.find(({ header }) => beginsWith(bytes, offset, length, header));
    const found = known ?? this.#open(association, bytes, offset, length);
    if (found !== null) this.#datagrams.send(found.flow, offset + found.header.length, length - found.header.length);
  }

  /** A sender that is new: it is the client of the newest association that its address may have and nobody has taken. */
  #claim(view: DataView, from: number): Association | null {
    const sender = readSockaddr(this.#context.plane.platform.engine.arena, from);
    if (sender === null) return null;
    const waiting = [...this.#byOwner.values()].filter(({ owner, port, client }) =>
      client === null && owner.address === sender.address && (port === 0 || port === sender.port)
    );
    const association = waiting.at(-1);
    if (association === undefined) return null;
    association.client = { address: copyAddress(view, from), association, nextClient: null };
    this.#clients.add(association.client);
    return association;
  }

  #open(association: Association, bytes: Uint8Array, offset: number, length: number): AssociatedFlow | null {
    const { packets, plane, count, onFlows } = this.#context;
    const decoded = decodeSocksDatagram(bytes, offset, length);
    const service = decoded.kind === "datagram" ? this.#serviceOf(decoded.target.host) : null;
    if (decoded.kind === "malformed" || service === null) {
      count("droppedForeign", 1);
      return null;
    }
    const header = bytes.slice(offset, offset + decoded.headerBytes);
    const flow = association.flows.length >= ASSOCIATION_FLOWS_MAX ? null : packets.openFlow(service, decoded.target.port, {
      onDatagram: (_flow, memory, at, count) => {
        if (association.client !== null) this.#datagrams.reply(association.client, header, memory, at, count);
      },
      onUnreachable: (ended) => packets.stack.closeFlow(ended, plane.platform.reactor.nowMs),
      onEnd: (ended) => {
        association.flows.splice(association.flows.findIndex((one) => one.flow === ended), 1);
        onFlows(-1);
      },
    }, plane.platform.reactor.nowMs);
    if (flow === null) {
      count("droppedTooManyFlows", 1);
      return null;
    }
    onFlows(1);
    const opened = { flow, header };
    association.flows.push(opened);
    return opened;
  }
}

function beginsWith(bytes: Uint8Array, offset: number, length: number, header: Uint8Array): boolean {
  if (length < header.length) return false;
  for (let i = 0; i < header.length; i++) if (bytes[offset + i] !== header[i]) return false;
  return true;
}
