/**
 * Socket addresses as the kernel lays them out (sockaddr_in, sockaddr_in6), in slots of 32 bytes. Text goes in and out here
 * only; the hot path copies and compares slots.
 */
import type { Arena } from "../core/quic/engine.ts";

export const SOCKADDR_SLOT_BYTES = 32;
export const AF_INET = 2;
export const AF_INET6 = 10;

/** An IP address and port as people write them. IPv6 without brackets. */
export interface IpEndpoint {
  readonly address: string;
  readonly port: number;
}

/** Bytes of the sockaddr in a slot, by its family; 0 when the family is neither IPv4 nor IPv6. */
export function sockaddrBytes(arena: Arena, slot: number): number {
  const family = arena.bytes[slot];
  return family === AF_INET ? 16 : family === AF_INET6 ? 28 : 0;
}

/** Writes an endpoint. Returns the family, or 0 (and an empty slot) when `address` is not a literal IP address. */
export function writeSockaddr(arena: Arena, slot: number, endpoint: IpEndpoint): number {
  arena.bytes.fill(0, slot, slot + SOCKADDR_SLOT_BYTES);
  const v4 = parseIpv4(endpoint.address);
  if (v4 !== null) {
    arena.bytes[slot] = AF_INET;
    arena.bytes.set(v4, slot + 4);
    arena.view.setUint16(slot + 2, endpoint.port);
    return AF_INET;
  }
  const v6 = parseIpv6(endpoint.address);
  if (v6 === null) return 0;
  arena.bytes[slot] = AF_INET6;
  arena.bytes.set(v6, slot + 8);
  arena.view.setUint16(slot + 2, endpoint.port);
  return AF_INET6;
}

/** Reads a slot; null when it holds no IP address. IPv4-mapped IPv6 addresses come out as IPv4. */
export function readSockaddr(arena: Arena, slot: number): IpEndpoint | null {
  const port = arena.view.getUint16(slot + 2);
  if (arena.bytes[slot] === AF_INET) return { address: formatIpv4(arena.bytes, slot + 4), port };
  if (arena.bytes[slot] !== AF_INET6) return null;
  return { address: formatIpv6(arena.bytes, slot + 8), port };
}

/** `192.0.2.1:443` or `[2001:db8::1]:443`. */
export function formatEndpoint(endpoint: IpEndpoint): string {
  return endpoint.address.includes(":") ? `[${endpoint.address}]:${endpoint.port}` : `${endpoint.address}:${endpoint.port}`;
}

/** Whether two slots hold the same address and port. */
export function sameSockaddr(arena: Arena, a: number, b: number): boolean {
  const { bytes } = arena;
  const end = bytes[a] === AF_INET ? 8 : 24;
  for (let i = 0; i < end; i++) {
    // The flow label (bytes 4 to 7 of sockaddr_in6) is not part of the address.
    if (bytes[a + i] !== bytes[b + i] && !(end === 24 && i >= 4 && i < 8)) return false;
  }
  return true;
}

/** Strict dotted quad: four decimal numbers without leading zeros; anything else is null, never a zero address. */
export function parseIpv4(text: string): Uint8Array | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return null;
  const out = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = match[i + 1] as string;
    const value = Number(part);
    if (value > 255 || (part.length > 1 && part.startsWith("0"))) return null;
    out[i] = value;
  }
  return out;
}

/** RFC 4291 §2.2 text, without zone. */
export function parseIpv6(text: string): Uint8Array | null {
  if (text.length > 45 || !/^[0-9a-fA-F:.]+$/.test(text)) return null;
  let rest = text;
  const tail: number[] = [];
  const dot = rest.lastIndexOf(".");
  if (dot >= 0) {
    const colon = rest.lastIndexOf(":");
    const v4 = parseIpv4(rest.slice(colon + 1));
    if (v4 === null || colon < 0) return null;
    tail.push(((v4[0] as number) << 8) | (v4[1] as number), ((v4[2] as number) << 8) | (v4[3] as number));
    rest = rest.slice(0, colon);
    if (rest.endsWith(":")) rest += ":";
  }
  const halves = rest.split("::");
  if (halves.length > 2) return null;
  const groups = (part: string): number[] | null => {
    if (part === "") return [];
    const out: number[] = [];
    for (const group of part.split(":")) {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return null;
      out.push(parseInt(group, 16));
    }
    return out;
  };
  const head = groups(halves[0] ?? "");
  const end = halves.length === 2 ? groups(halves[1] ?? "") : [];
  if (head === null || end === null) return null;
  const known = head.length + end.length + tail.length;
  if (halves.length === 2 ? known > 7 : known !== 8) return null;
  const all = [...head, ...new Array<number>(8 - known).fill(0), ...end, ...tail];
  const out = new Uint8Array(16);
  all.forEach((group, i) => {
    out[2 * i] = group >> 8;
    out[2 * i + 1] = group & 0xff;
  });
  return out;
}

function formatIpv4(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** RFC 5952: lower case, the longest run of zeros (two or more groups) as `::`. */
function formatIpv6(bytes: Uint8Array, at: number): string {
  const groups: number[] = [];
  for (let i = 0; i < 8; i++) groups.push(((bytes[at + 2 * i] as number) << 8) | (bytes[at + 2 * i + 1] as number));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return formatIpv4(bytes, at + 12);
  let best = -1, bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > bestLength) {
      best = i;
      bestLength = j - i;
    }
    if (j > i) i = j;
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (best < 0) return text(groups);
  return `${text(groups.slice(0, best))}::${text(groups.slice(best + bestLength))}`;
}
