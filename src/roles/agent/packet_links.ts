/**
 * How packets of each service leave: as a path of the network stack, behind a ROUTED header that names the service (WIRE 3.4), and
 * with a short queue for those that come before the server has answered the registration.
 */
import { ControlQueue, type NetStack, type PacketPath } from "../../core/netstack/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { encodeRoutedHeader, ROUTED_ID_AT } from "../../core/wire/mod.ts";
import { PACKET_FIRST_BYTES, PACKET_MIN_BYTES, WAITING_PACKETS_MAX } from "./limits.ts";
import type { AgentService } from "./services.ts";

export interface PacketLink {
  readonly path: PacketPath;
  /** A direct one to the connector; null: whichever leads to the server. */
  readonly connection: Connection | null;
  readonly service: AgentService;
  readonly header: Uint8Array;
  /** Whole packets without their header. */
  readonly waiting: ControlQueue;
}

export class PacketLinks {
  readonly #stack: NetStack;
  readonly #connection: Connection | null;
  readonly #links = new Map<AgentService, PacketLink>();
  readonly #byPath: Map<PacketPath, PacketLink>;
  #datagramMaxBytes = PACKET_FIRST_BYTES;

  /** `byPath`: what is known of paths, also of others' links. */
  constructor(stack: NetStack, byPath: Map<PacketPath, PacketLink>, connection: Connection | null = null) {
    this.#stack = stack;
    this.#byPath = byPath;
    this.#connection = connection;
  }

  all(): Iterable<PacketLink> {
    return this.#links.values();
  }

  find(service: AgentService): PacketLink | undefined {
    return this.#links.get(service);
  }

  open(service: AgentService): PacketLink {
    const known = this.#links.get(service);
    if (known !== undefined) return known;
    const header = new Uint8Array(ROUTED_ID_AT + service.idBytes.length);
    encodeRoutedHeader(header, 0, service.idBytes);
    const maxBytes = Math.max(PACKET_MIN_BYTES, this.#datagramMaxBytes - header.length);
    const path = this.#stack.openPath({ agentKey: null, maxBytes });
    const link: PacketLink = {
      path,
      connection: this.#connection,
      service,
      header,
      waiting: new ControlQueue(WAITING_PACKETS_MAX),
    };
    this.#links.set(service, link);
    this.#byPath.set(path, link);
    return link;
  }

  /** The service is spoken to no more: its sessions and flows end. */
  close(service: AgentService, nowMs: number): void {
    const link = this.#links.get(service);
    if (link === undefined) return;
    this.#links.delete(service);
    this.#byPath.delete(link.path);
    this.#stack.closePath(link.path, nowMs);
  }

  begin(connection: Connection): void {
    this.resize(connection);
  }

  /** The connection's packets may have another size now. */
  resize(connection: Connection): void {
    const datagramMaxBytes = connection.engine.datagramMax();
    if (datagramMaxBytes === this.#datagramMaxBytes || datagramMaxBytes < PACKET_MIN_BYTES) return;
    this.#datagramMaxBytes = datagramMaxBytes;
    for (const { path, header } of this.#links.values()) path.maxBytes = datagramMaxBytes - header.length;
  }

  /** Has a packet wait. Returns how many were lost for it: the oldest one where there was no room. */
  wait(link: PacketLink, bytes: Uint8Array, offset: number, length: number): number {
    const { waiting } = link;
    const lost = waiting.count === WAITING_PACKETS_MAX ? 1 : 0;
    if (lost > 0) waiting.skip();
    const slot = waiting.reserve(length);
    if (slot === null) return lost + 1;
    slot.bytes.set(bytes.subarray(offset, offset + length));
    waiting.commit(length);
    return lost;
  }

  /** Drops all that waits and returns how many there were. */
  forgetWaiting(): number {
    let lost = 0;
    for (const { waiting } of this.#links.values()) {
      for (; waiting.count > 0; lost++) waiting.skip();
    }
    return lost;
  }
}
