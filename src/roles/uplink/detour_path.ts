/**
 * A way for the packets of a direct connection behind the connection to the server (WIRE 6.11), which an endpoint uses like a socket:
 * every packet that is committed leaves in parts, as UDP datagrams between an agent and the connector itself.
 *
 *   endpoint ─► room, commit ─► parts ─► IP, UDP ─► ROUTED ─► DATAGRAM of the connection to the server
 */
import type { Connection, PacketPath } from "../../core/quic/mod.ts";
import {
  DETOUR_HEADER_BYTES,
  DETOUR_PACKET_MAX_BYTES,
  DETOUR_PARTS_MAX,
  detourPartBytes,
  encodeDetourHeader,
  encodeUdp,
  type IpEnds,
  udpHeadroomBytes,
} from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { DETOUR_SENDER } from "./packet_pump.ts";
import type { UplinkHub } from "./uplink_hub.ts";

/** To whom parts go. */
export interface DetourWay {
  /** To the server. */
  readonly connection: Connection;
  /** ROUTED, with the service. */
  readonly header: Uint8Array;
  readonly ends: IpEnds;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of the last packet, modulo 256. */
  sequence: number;
}

/** Where packets and their parts are written; several ways share it, for each packet leaves at once. */
export interface DetourMemory {
  readonly packetAt: number;
  readonly partAt: number;
}

const ROUTED_HEADER_BYTES_MAX = 2 + 255;
const HEADROOM_BYTES = udpHeadroomBytes(true) + DETOUR_HEADER_BYTES;
/** Less room than that in a DATAGRAM is no way. */
const PART_MIN_BYTES = 512;

export function reserveDetourMemory({ platform }: Plane): DetourMemory {
  return {
    packetAt: platform.layout.reserve(DETOUR_PACKET_MAX_BYTES),
    partAt: platform.layout.reserve(ROUTED_HEADER_BYTES_MAX + HEADROOM_BYTES + DETOUR_PACKET_MAX_BYTES),
  };
}

export interface DetourPathOptions {
  readonly plane: Plane;
  readonly memory: DetourMemory;
  /** By which parts leave. */
  readonly hub: () => UplinkHub;
  /** The sockaddr slot from which the engine believes its packets to leave. */
  readonly localAddress: number;
  /** The way to the sockaddr in this slot; null when there is none now. */
  readonly wayTo: (slot: number) => DetourWay | null;
  /** A packet has left, or was dropped. */
  readonly onPacket: (hasLeft: boolean) => void;
}

export class DetourPath implements PacketPath {
  readonly localAddress: number;
  readonly #options: DetourPathOptions;

  constructor(options: DetourPathOptions) {
    this.#options = options;
    this.localAddress = options.localAddress;
  }

  room(bytes: number): number {
    return bytes > DETOUR_PACKET_MAX_BYTES ? -1 : this.#options.memory.packetAt;
  }

  /** What waits too long behind others' packets is lost, as on any path: the connection inside notices. */
  commit(length: number, to: number): void {
    const way = this.#options.wayTo(to);
    this.#options.onPacket(way !== null && !way.connection.isOver && this.#send(way, length));
  }

  flush(): void {
    // What was committed is the connection's to the server, which has its own turn.
  }

  #send(way: DetourWay, length: number): boolean {
    const { plane, hub, memory: { packetAt, partAt } } = this.#options;
    const { arena } = plane.platform.engine;
    const { connection, header, ends } = way;
    const roomBytes = connection.engine.datagramMax() - header.length - HEADROOM_BYTES;
    const count = Math.ceil(length / roomBytes);
    if (roomBytes < PART_MIN_BYTES || count > DETOUR_PARTS_MAX) return false;
    const partBytes = detourPartBytes(length, count);
    way.sequence = (way.sequence + 1) & 0xff;
    let hasLeft = true;
    for (let index = 0; index < count && hasLeft; index++) {
      const bytes = Math.min(partBytes, length - index * partBytes);
      const ipAt = partAt + header.length;
      const payloadAt = ipAt + udpHeadroomBytes(true);
      arena.bytes.set(header, partAt);
      encodeDetourHeader(arena.view, payloadAt, way.sequence, index, count, length);
      const from = packetAt + index * partBytes;
      arena.bytes.copyWithin(payloadAt + DETOUR_HEADER_BYTES, from, from + bytes);
      const payloadBytes = DETOUR_HEADER_BYTES + bytes;
      // What QUIC protects needs no sum of ours.
      const packetBytes = encodeUdp(arena, ipAt, ends, way.sourcePort, way.destinationPort, payloadBytes, "none");
      hasLeft = hub().sendDatagram(connection, DETOUR_SENDER, partAt, header.length + packetBytes) >= 0;
    }
    // It may be that the turn has sent what that connection has already.
    plane.platform.reactor.again();
    return hasLeft;
  }
}
