/**
 * How packets of a service come and go: bare, or in a ROUTED wrapper (WIRE 3.4, 5.5), which names the service. Each of the two
 * is a path of the network stack, and a packet is answered by the path that it came by.
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
  /** Empty for bare packets. */
  readonly header: Uint8Array;
}

/** The smallest packet that a path is made for; less room than that is no path. */
const PACKET_MIN_BYTES = 128;

export class PacketLinks {
  readonly #stack: NetStack;
  readonly #bare = new Map<Service, PacketLink>();
  readonly #wrapped = new Map<Service, PacketLink>();
  readonly #byPath = new Map<PacketPath, PacketLink>();

  constructor(stack: NetStack) {
    this.#stack = stack;
  }

  /** Those that packets came by. */
  get all(): Iterable<PacketLink> {
    return this.#byPath.values();
  }

  of(path: PacketPath): PacketLink | undefined {
    return this.#byPath.get(path);
  }

  /** The link for packets of `service` that come by `connection` in that form. */
  open(connection: Connection, service: Service, isWrapped: boolean): PacketLink {
    const links = isWrapped ? this.#wrapped : this.#bare;
    const known = links.get(service);
    if (known !== undefined) return known;
    const wrapperBytes = ROUTED_ID_AT + service.idBytes.length;
    const header = new Uint8Array(isWrapped ? wrapperBytes : 0);
    if (isWrapped) encodeRoutedHeader(header, 0, service.idBytes);
    const maxBytes = Math.max(PACKET_MIN_BYTES, connection.engine.datagramMax() - header.length);
    // The agent wraps its packets whether we see that or not.
    const receiveMaxBytes = AGENT_DATAGRAM_MAX_BYTES - wrapperBytes;
    const path = this.#stack.openPath({ agentKey: null, maxBytes, receiveMaxBytes });
    const link: PacketLink = { path, service, header };
    links.set(service, link);
    this.#byPath.set(path, link);
    return link;
  }

  /** The connection's packets may have another size now. */
  resize(datagramMaxBytes: number): void {
    for (const { path, header } of this.#byPath.values()) {
      const maxBytes = datagramMaxBytes - header.length;
      if (maxBytes >= PACKET_MIN_BYTES && maxBytes !== path.maxBytes) path.maxBytes = maxBytes;
    }
  }

  /**
   * The connection is gone, and with it the server's memory of who is behind each flow: on the next one the same addresses may
   * be another agent's. So sessions and flows end here.
   */
  closeAll(nowMs: number): void {
    for (const { path } of this.#byPath.values()) this.#stack.closePath(path, nowMs);
    this.#byPath.clear();
    this.#bare.clear();
    this.#wrapped.clear();
  }
}
