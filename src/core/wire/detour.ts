/**
 * Packets of a direct connection that go by the server while its own path does not carry (WIRE 6.11): each travels in parts, which
 * are UDP datagrams between an agent and the connector itself, and is put together again at the other end. Nothing here is trusted:
 * what comes out is QUIC, which tells itself what is genuine.
 */

/** The inner address of a connector itself, at which no service is, and its UDP port there. */
export const DETOUR_ADDRESS = "100.64.0.54";
export const DETOUR_PORT = 4434;
/** In front of every part: sequence u8, index and count less one in four bits each, length of the whole packet u16. */
export const DETOUR_HEADER_BYTES = 4;
/** Parts of one packet: as many as the smallest way takes for the largest. */
export const DETOUR_PARTS_MAX = 8;
/** The largest packet. */
export const DETOUR_PACKET_MAX_BYTES = 8_952;

/** Writes the header of part `index` of `count`. */
export function encodeDetourHeader(
  view: DataView,
  offset: number,
  sequence: number,
  index: number,
  count: number,
  total: number,
): void {
  view.setUint8(offset, sequence);
  view.setUint8(offset + 1, index << 4 | count - 1);
  view.setUint16(offset + 2, total);
}

/** How large each part but the last is. */
export function detourPartBytes(total: number, count: number): number {
  return Math.ceil(total / count);
}

/** Puts the packets of one sender together, one at a time: a part of the next one gives up what is missing of the last. */
export class DetourAssembly {
  /** The packet after {@linkcode take} has returned its length. */
  readonly bytes = new Uint8Array(DETOUR_PACKET_MAX_BYTES);
  #sequence = -1;
  #count = 0;
  #total = 0;
  /** A bit for each part that is there. */
  #have = 0;

  /** Takes one part with its header. Returns the packet's length when it is whole, 0 while parts are missing, -1 for what is none. */
  take(from: Uint8Array, offset: number, length: number): number {
    const sequence = from[offset] ?? 0, places = from[offset + 1] ?? 0;
    const index = places >> 4, count = (places & 15) + 1;
    const total = (from[offset + 2] ?? 0) << 8 | (from[offset + 3] ?? 0);
    if (length <= DETOUR_HEADER_BYTES || count > DETOUR_PARTS_MAX || index >= count || total > DETOUR_PACKET_MAX_BYTES) return -1;
    const partBytes = detourPartBytes(total, count);
    const bytes = index === count - 1 ? total - index * partBytes : partBytes;
    if (bytes <= 0 || bytes !== length - DETOUR_HEADER_BYTES) return -1;
    if (sequence !== this.#sequence || count !== this.#count || total !== this.#total) this.#begin(sequence, count, total);
    const start = offset + DETOUR_HEADER_BYTES;
    this.bytes.set(from.subarray(start, start + bytes), index * partBytes);
    this.#have |= 1 << index;
    if (this.#have !== (1 << count) - 1) return 0;
    this.#sequence = -1;
    return total;
  }

  #begin(sequence: number, count: number, total: number): void {
    this.#sequence = sequence;
    this.#count = count;
    this.#total = total;
    this.#have = 0;
  }
}
