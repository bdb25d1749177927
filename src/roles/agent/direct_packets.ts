/**
 * Packets on direct connections: UDP flows that began while the service had a direct path go there to their end, so that the service
 * sees each of them from one place. Flows that began by the server stay there for the same reason.
 */
import type { NetStack, PacketPath } from "../../core/netstack/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { DIRECT_PACKETS_IDLE_MS } from "./limits.ts";
import type { DirectWays } from "./local_connections.ts";
import { type PacketLink, PacketLinks } from "./packet_links.ts";
import type { AgentService } from "./services.ts";

/** What goes by one connection. */
export interface DirectLinks {
  readonly connection: Connection;
  readonly links: PacketLinks;
  /** When a packet came or went last. */
  movedMs: number;
}

export class DirectPackets {
  /** Null: there are no direct paths. */
  ways: DirectWays | null = null;
  readonly #stack: NetStack;
  readonly #byPath: Map<PacketPath, PacketLink>;
  readonly #all = new Map<Connection, DirectLinks>();

  constructor(stack: NetStack, byPath: Map<PacketPath, PacketLink>) {
    this.#stack = stack;
    this.#byPath = byPath;
  }

  all(): Iterable<DirectLinks> {
    return this.#all.values();
  }

  /** The link for what begins now; null: the server's is the way. */
  linkFor(service: AgentService, nowMs: number): PacketLink | null {
    const connection = this.ways?.take(service.id, nowMs) ?? null;
    if (connection === null || connection.isOver) return null;
    const links = this.#all.get(connection)?.links ?? new PacketLinks(this.#stack, this.#byPath, connection);
    this.#all.set(connection, { connection, links, movedMs: nowMs });
    links.resize(connection);
    return links.open(service);
  }

  /** The links of the connection, of which a packet comes or goes now. */
  moved(connection: Connection, nowMs: number): DirectLinks | undefined {
    const links = this.#all.get(connection);
    if (links !== undefined) links.movedMs = nowMs;
    return links;
  }

  /** Whether packets moved there lately. */
  isInUse(connection: Connection, nowMs: number): boolean {
    const links = this.#all.get(connection);
    return links !== undefined && nowMs < links.movedMs + DIRECT_PACKETS_IDLE_MS;
  }

  /** The service is spoken to no more. */
  forget(service: AgentService, nowMs: number): void {
    for (const { links } of this.#all.values()) links.close(service, nowMs);
  }

  /** The connection is gone, and its flows with it: what their clients send next begins others. */
  end(connection: Connection, nowMs: number): void {
    const ended = this.#all.get(connection);
    if (ended === undefined) return;
    this.#all.delete(connection);
    for (const { service } of [...ended.links.all()]) ended.links.close(service, nowMs);
  }
}
