/**
 * How packets of a service come and go: on which connection, bare or in a ROUTED wrapper (WIRE 3.4, 5.5), which names the service.
 * Each of these is a path of the network stack, and a packet is answered by the path that it came by.
 */
import type { NetStack, PacketPath } from "../../core/netstack/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { encodeRoutedHeader, ROUTED_ID_AT } from "../../core/wire/mod.ts";
import { AGENT_DATAGRAM_MAX_BYTES } from "./limits.ts";
import type { Service } from "./services.ts";

/** One path with what stands in front of its packets. */
export interface PacketLink {
  readonly path: PacketPath;
  readonly service: Service;
  readonly connection: Connection;
  /** The connection that packets come by, if they are answered on another one. */
  readonly origin: Connection | null;
  /** Empty for bare packets. */
  readonly header: Uint8Array;
}

/** Whose link it is. */
export interface LinkOwner {
  /** The one agent behind it; null when it is not one. */
  readonly agentKey: string | null;
  readonly origin: Connection | null;
}

/** The smallest packet that a path is made for; less room than that is no path. */
const PACKET_MIN_BYTES = 128;
const NONE: readonly PacketLink[] = [];

export class PacketLinks {
  readonly #stack: NetStack;
  /** In the order of their opening; a connection has few. */
  readonly #links = new Map<Connection, PacketLink[]>();
  readonly #byPath = new Map<PacketPath, PacketLink>();

  constructor(stack: NetStack) {
    this.#stack = stack;
  }

  /** The connections that packets came by. */
  get connections(): Iterable<Connection> {
    return this.#links.keys();
  }

  linksOf(connection: Connection): readonly PacketLink[] {
    return this.#links.get(connection) ?? NONE;
  }

  of(path: PacketPath): PacketLink | undefined {
    return this.#byPath.get(path);
  }

  hasWork(connection: Connection): boolean {
    for (const { path } of this.linksOf(connection)) if (path.isReady) return true;
    return false;
  }

  /** The link for packets of `service` that go by `connection` in that form. */
  open(connection: Connection, service: Service, isWrapped: boolean, { agentKey, origin }: LinkOwner): PacketLink {
    let links = this.#links.get(connection);
    if (links === undefined) {
      links = [];
      this.#links.set(connection, links);
    }
    for (const link of links) {
      if (link.service === service && link.header.length > 0 === isWrapped && link.origin === origin) return link;
    }
    const wrapperBytes = ROUTED_ID_AT + service.idBytes.length;
    const header = new Uint8Array(isWrapped ? wrapperBytes : 0);
    if (isWrapped) encodeRoutedHeader(header, 0, service.idBytes);
    const maxBytes = Math.max(PACKET_MIN_BYTES, connection.engine.datagramMax() - header.length);
    // The agent wraps its packets whether we see that or not.
    const receiveMaxBytes = AGENT_DATAGRAM_MAX_BYTES - wrapperBytes;
    const path = this.#stack.openPath({ agentKey, maxBytes, receiveMaxBytes });
    const link: PacketLink = { path, service, connection, origin, header };
    links.push(link);
    this.#byPath.set(path, link);
    return link;
  }

  /** The connection's packets may have another size now. */
  resize(connection: Connection): void {
    const datagramMaxBytes = connection.engine.datagramMax();
    for (const { path, header } of this.linksOf(connection)) {
      const maxBytes = datagramMaxBytes - header.length;
      if (maxBytes >= PACKET_MIN_BYTES && maxBytes !== path.maxBytes) path.maxBytes = maxBytes;
    }
  }

  /**
   * The connection is gone, and with it the server's memory of who is behind each flow: on the next one the same addresses may
   * be another agent's. So sessions and flows end here.
   */
  close(connection: Connection, nowMs: number): void {
    const links = this.linksOf(connection);
    this.#links.delete(connection);
    for (const link of links) this.#closeLink(link, nowMs);
    this.#closeWhere(({ origin }) => origin === connection, nowMs);
  }

  /** The service is offered no more: its sessions and flows end. */
  closeService(service: Service, nowMs: number): void {
    this.#closeWhere((link) => link.service === service, nowMs);
  }

  #closeWhere(isMeant: (link: PacketLink) => boolean, nowMs: number): void {
    for (const [connection, links] of this.#links) {
      const meant = links.filter(isMeant);
      if (meant.length === 0) continue;
      this.#links.set(connection, links.filter((link) => !meant.includes(link)));
      for (const link of meant) this.#closeLink(link, nowMs);
    }
  }

  #closeLink({ path }: PacketLink, nowMs: number): void {
    this.#stack.closePath(path, nowMs);
    this.#byPath.delete(path);
  }
}
