/**
 * Direct connections whose own path does not carry, and which go by the server until it does again (WIRE 6.11), so that nothing that
 * runs on them is lost. The engine is not told: to it they are where they were.
 *
 *   connection ─► DetourPath ─► ROUTED ─► server        server ─► ROUTED ─► part ─► packet ─► connection
 */
import type { Connection, PacketPath } from "../../core/quic/mod.ts";
import {
  decodeIp,
  decodeUdp,
  DETOUR_ADDRESS,
  DETOUR_PORT,
  DetourAssembly,
  encodeRoutedHeader,
  type IpEnds,
  IpHeader,
  IpProtocol,
  parseEnds,
  ROUTED_ID_AT,
  UdpHeader,
} from "../../core/wire/mod.ts";
import { AF_INET, SOCKADDR_SLOT_BYTES } from "../../io/mod.ts";
import type { Plane } from "../control/mod.ts";
import { type DetourMemory, DetourPath, type DetourWay, reserveDetourMemory, type UplinkHub } from "../uplink/mod.ts";
import { DETOUR_SILENCE_MS } from "./limits.ts";
import type { AgentMetric } from "./metrics.ts";
import type { AgentService } from "./services.ts";

export interface DetoursOptions {
  readonly plane: Plane;
  readonly hub: () => UplinkHub;
  readonly count: (metric: AgentMetric, amount: number) => void;
  /** The connection to the server with the service as it is registered there; null: nothing can go that way now. */
  readonly wayOf: (service: string) => { readonly connection: Connection; readonly service: AgentService } | null;
  /** Where packets of our own network stack come from. */
  readonly source: string;
}

interface Detour {
  readonly connection: Connection;
  /** Its own way, to which it returns. */
  readonly ownPath: PacketPath;
  readonly path: DetourPath;
  readonly assembly: DetourAssembly;
  /** Its peer's sockaddr, as the engine knows it. */
  readonly peer: Uint8Array;
  readonly ends: IpEnds;
  way: DetourWay | null;
  sourcePort: number;
  heardMs: number;
}

/** Ports of our own side (RFC 6335 §6). */
const PORT_FIRST = 49_152, PORTS = 16_384;

export class Detours {
  readonly #options: DetoursOptions;
  readonly #memory: DetourMemory;
  /** By service: one connection each. */
  readonly #detours = new Map<string, Detour>();
  /** Made once for each service: endpoints remember every path that packets came over. */
  readonly #paths = new Map<string, DetourPath>();
  /** The engine wants a slot to keep its family. */
  readonly #slot4: number;
  readonly #slot6: number;
  readonly #ends = new IpHeader();
  readonly #udp = new UdpHeader();
  readonly #there: IpEnds;
  #nextPort: number;

  constructor(options: DetoursOptions) {
    const { layout, random } = options.plane.platform;
    this.#options = options;
    const there = parseEnds(options.source, DETOUR_ADDRESS);
    if (there === null) throw new Error("postern: internal error: no addresses for detours");
    this.#there = there;
    this.#memory = reserveDetourMemory(options.plane);
    this.#slot4 = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.#slot6 = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.#nextPort = Math.floor(random() * PORTS);
  }

  /** Has the service's connection go by the server from now on. False when nothing can go there. */
  begin(service: string, connection: Connection, nowMs: number): boolean {
    const { plane, wayOf } = this.#options;
    const { bytes } = plane.platform.engine.arena;
    if (this.#detours.has(service) || wayOf(service) === null || !connection.engine.peerAddress(this.#slot6)) return false;
    const ownPath = connection.path;
    const path = this.#paths.get(service) ?? this.#pathOf(service, ownPath.localAddress);
    if (path.localAddress !== ownPath.localAddress) return false;
    const detour: Detour = {
      connection,
      ownPath,
      path,
      assembly: new DetourAssembly(),
      peer: bytes.slice(this.#slot6, this.#slot6 + SOCKADDR_SLOT_BYTES),
      ends: this.#there,
      way: null,
      sourcePort: this.#takePort(),
      heardMs: nowMs,
    };
    this.#detours.set(service, detour);
    connection.path = path;
    this.keep(service, nowMs);
    return true;
  }

  /** Asks the other end for a word, so that it knows where we are. To be called every second. */
  keep(service: string, nowMs: number): void {
    const detour = this.#detours.get(service);
    if (detour === undefined) return;
    // Another connector of the service may have got it: another port is another flow, and the server gives those out in turn.
    if (nowMs >= detour.heardMs + DETOUR_SILENCE_MS) {
      detour.sourcePort = this.#takePort();
      detour.way = null;
      detour.heardMs = nowMs;
    }
    detour.connection.engine.keepAlive();
    detour.connection.touch();
  }

  /** The connection goes its own way again, or is gone. */
  end(service: string): void {
    const detour = this.#detours.get(service);
    if (detour === undefined) return;
    this.#detours.delete(service);
    detour.connection.path = detour.ownPath;
    detour.connection.touch();
  }

  /** An inner packet of the service, which the server brought. Returns whether it was of a connector itself. */
  take(service: AgentService, offset: number, length: number, nowMs: number): boolean {
    const { plane, hub, count } = this.#options;
    const { arena } = plane.platform.engine;
    const ends = this.#ends, udp = this.#udp;
    if (decodeIp(arena, offset, length, ends) !== "ok" || ends.source3 !== this.#there.destination3) return false;
    const detour = this.#detours.get(service.id);
    const isOurs = detour !== undefined && ends.isIpv4 && ends.protocol === IpProtocol.udp &&
      decodeUdp(arena, ends, udp) === "ok" && udp.sourcePort === DETOUR_PORT && udp.destinationPort === detour.sourcePort;
    const bytes = isOurs ? detour.assembly.take(arena.bytes, udp.payloadOffset, udp.payloadBytes) : -1;
    if (!isOurs || bytes < 0) {
      count("directDetourDropped", 1);
      return true;
    }
    if (bytes === 0) return true;
    detour.heardMs = nowMs;
    const slot = detour.peer[0] === AF_INET ? this.#slot4 : this.#slot6;
    arena.bytes.set(detour.peer, slot);
    arena.bytes.set(detour.assembly.bytes.subarray(0, bytes), this.#memory.packetAt);
    count("directDetourReceived", 1);
    hub().endpoint.handlePacket(detour.path, this.#memory.packetAt, bytes, slot);
    return true;
  }

  #pathOf(service: string, localAddress: number): DetourPath {
    const { plane, count, hub } = this.#options;
    const path = new DetourPath({
      plane,
      memory: this.#memory,
      hub,
      localAddress,
      wayTo: () => this.#wayOf(service),
      onPacket: (hasLeft) => count(hasLeft ? "directDetourSent" : "directDetourDropped", 1),
    });
    this.#paths.set(service, path);
    return path;
  }

  /** The way as it is now: the server may have been lost and found meanwhile. */
  #wayOf(service: string): DetourWay | null {
    const detour = this.#detours.get(service);
    const found = this.#options.wayOf(service);
    if (detour === undefined || found === null) return null;
    if (detour.way?.connection === found.connection) return detour.way;
    const { idBytes } = found.service;
    const header = new Uint8Array(ROUTED_ID_AT + idBytes.length);
    encodeRoutedHeader(header, 0, idBytes);
    const { ends, sourcePort } = detour;
    detour.way = { connection: found.connection, header, ends, sourcePort, destinationPort: DETOUR_PORT, sequence: 0 };
    return detour.way;
  }

  #takePort(): number {
    this.#nextPort = (this.#nextPort + 1) % PORTS;
    return PORT_FIRST + this.#nextPort;
  }
}
