/**
 * Direct connections whose agents reach us by the server only, for the time being (WIRE 6.11). To the endpoint each of these ways is
 * an address like any other, of a range that is nobody's, so that a connection moves there and back as it does when an agent gets
 * another address (RFC 9000 §9): where packets that are genuine came from last, there answers go.
 *
 *   server's DATAGRAM ─► part ─► packet ─► endpoint        endpoint ─► DetourPath ─► DATAGRAM to the server
 */
import type { Connection } from "../../core/quic/mod.ts";
import {
  copyEnds,
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
import { SOCKADDR_SLOT_BYTES, writeSockaddr } from "../../io/mod.ts";
import type { Plane } from "../control/mod.ts";
import { type DetourMemory, DetourPath, type DetourWay, reserveDetourMemory, type UplinkHub } from "../uplink/mod.ts";
import { DETOUR_IDLE_MS, DETOURS_MAX } from "./limits.ts";
import type { ConnectorMetric } from "./metrics.ts";
import type { Service } from "./services.ts";

export interface P2pDetoursOptions {
  readonly plane: Plane;
  readonly hub: () => UplinkHub;
  readonly count: (metric: ConnectorMetric, amount: number) => void;
}

/** One agent's connection, as the server brings it. */
interface Detour extends DetourWay {
  readonly service: Service;
  readonly assembly: DetourAssembly;
  /** Its place and, for the next one at this place is another, how often that was given: together its address for the endpoint. */
  readonly place: number;
  readonly turn: number;
  heardMs: number;
}

/** Of the discard-only prefix (RFC 6666): no packet ever comes from there. The last two bytes are a detour's place. */
const ADDRESSES = "100::";
const PORT_AT = 2, PLACE_AT = 22;
const LONG_HEADER_BIT = 0x80;

/** Whether it is where a detour is to the endpoint, and not an address of the network. */
export function isDetourAddress(text: string): boolean {
  return text.startsWith(`[${ADDRESSES}`);
}

export class P2pDetours {
  readonly #options: P2pDetoursOptions;
  readonly #memory: DetourMemory;
  readonly #path: DetourPath;
  readonly #fromSlot: number;
  readonly #places: (Detour | null)[] = new Array<Detour | null>(DETOURS_MAX).fill(null);
  readonly #ends = new IpHeader();
  readonly #udp = new UdpHeader();
  readonly #ownWord: number;
  #turns = 0;

  constructor(options: P2pDetoursOptions) {
    const { plane, count } = options;
    const { layout } = plane.platform;
    this.#options = options;
    const own = parseEnds(DETOUR_ADDRESS, DETOUR_ADDRESS);
    if (own === null) throw new Error("postern: internal error: no address of our own");
    this.#ownWord = own.source3;
    this.#memory = reserveDetourMemory(plane);
    this.#fromSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
    const localAddress = layout.reserve(SOCKADDR_SLOT_BYTES);
    for (const slot of [this.#fromSlot, localAddress]) writeSockaddr(layout.arena, slot, { address: ADDRESSES, port: DETOUR_PORT });
    this.#path = new DetourPath({
      plane,
      memory: this.#memory,
      hub: options.hub,
      localAddress,
      wayTo: (slot) => this.#detourAt(slot),
      onPacket: (hasLeft) => count(hasLeft ? "p2pDetourSent" : "p2pDetourDropped", 1),
    });
  }

  /**
   * An inner packet of an agent, which the server brought over `connection`. Returns whether it was for us: then the service's
   * backends have nothing to do with it.
   */
  take(connection: Connection, service: Service, offset: number, length: number, nowMs: number): boolean {
    const { arena } = this.#options.plane.platform.engine;
    const ends = this.#ends, udp = this.#udp;
    if (decodeIp(arena, offset, length, ends) !== "ok" || ends.destination3 !== this.#ownWord) return false;
    const isOurs = ends.isIpv4 && ends.protocol === IpProtocol.udp && decodeUdp(arena, ends, udp) === "ok";
    if (!isOurs || udp.destinationPort !== DETOUR_PORT) return this.#drop();
    const detour = this.#find(connection, service, nowMs);
    if (detour === null) return this.#drop();
    detour.heardMs = nowMs;
    const bytes = detour.assembly.take(arena.bytes, udp.payloadOffset, udp.payloadBytes);
    if (bytes === 0) return true;
    // Nobody may begin here: what is behind the server is for connections that were made directly.
    if (bytes < 0 || ((detour.assembly.bytes[0] ?? LONG_HEADER_BIT) & LONG_HEADER_BIT) !== 0) return this.#drop();
    const at = this.#memory.packetAt;
    arena.bytes.set(detour.assembly.bytes.subarray(0, bytes), at);
    arena.view.setUint16(this.#fromSlot + PORT_AT, detour.turn);
    arena.view.setUint16(this.#fromSlot + PLACE_AT, detour.place);
    this.#options.count("p2pDetourReceived", 1);
    this.#options.hub().endpoint.handlePacket(this.#path, at, bytes, this.#fromSlot);
    return true;
  }

  #detourAt(slot: number): Detour | null {
    const { view } = this.#options.plane.platform.engine.arena;
    const detour = this.#places[view.getUint16(slot + PLACE_AT)];
    return detour !== undefined && detour !== null && detour.turn === view.getUint16(slot + PORT_AT) ? detour : null;
  }

  /** The detour of the packet that was read last. Null when all places are taken by others that were heard of lately. */
  #find(connection: Connection, service: Service, nowMs: number): Detour | null {
    const { source3 } = this.#ends, { sourcePort } = this.#udp;
    let oldest = 0;
    for (let place = 0; place < DETOURS_MAX; place++) {
      const known = this.#places[place] ?? null;
      const isIt = known !== null && known.destinationPort === sourcePort && known.ends.destination3 === source3 &&
        known.connection === connection && known.service === service;
      if (isIt) return known;
      if ((known?.heardMs ?? -1) < (this.#places[oldest]?.heardMs ?? -1)) oldest = place;
    }
    const last = this.#places[oldest] ?? null;
    if (last !== null && nowMs < last.heardMs + DETOUR_IDLE_MS) return null;
    return this.#begin(connection, service, oldest, nowMs);
  }

  #begin(connection: Connection, service: Service, place: number, nowMs: number): Detour {
    const header = new Uint8Array(ROUTED_ID_AT + service.idBytes.length);
    encodeRoutedHeader(header, 0, service.idBytes);
    const ends: IpEnds = new IpHeader();
    copyEnds(this.#ends, ends, true);
    this.#turns = this.#turns % 0xffff + 1;
    const detour: Detour = {
      connection,
      service,
      header,
      ends,
      sourcePort: DETOUR_PORT,
      destinationPort: this.#udp.sourcePort,
      sequence: 0,
      assembly: new DetourAssembly(),
      place,
      turn: this.#turns,
      heardMs: nowMs,
    };
    this.#places[place] = detour;
    return detour;
  }

  #drop(): true {
    this.#options.count("p2pDetourDropped", 1);
    return true;
  }
}
