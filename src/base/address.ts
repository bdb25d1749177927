/**
 * IP addresses, ports and `host:port` as text. Text goes in, bytes or parts come out; a text that is not exactly an address
 * is null, never a zero address. Not here: name resolution and the socket's own address structures.
 */

import type { Parsed } from "./validate.ts";

/** An IP address in canonical text (dotted decimal, or RFC 5952 without brackets) and a port. */
export interface SocketAddress {
  readonly ip: string;
  readonly port: number;
}

/** Four bytes of `a.b.c.d`: exactly four decimal numbers of 0 to 255 without leading zeros. Null for anything else. */
export function parseIpv4(text: string): Uint8Array<ArrayBuffer> | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes[i] = Number(part);
  }
  return bytes;
}

/** Sixteen bytes of an IPv6 address (RFC 4291 §2.2, a dotted tail included; no zone, no brackets). Null for anything else. */
export function parseIpv6(text: string): Uint8Array<ArrayBuffer> | null {
  let groupsText = text;
  const bytes = new Uint8Array(16);
  const dotted = text.lastIndexOf(":") + 1;
  if (text.includes(".")) {
    const tail = dotted > 0 ? parseIpv4(text.slice(dotted)) : null;
    if (tail === null) return null;
    const [a = 0, b = 0, c = 0, d = 0] = tail;
    groupsText = text.slice(0, dotted) + (a << 8 | b).toString(16) + ":" + (c << 8 | d).toString(16);
  }
  const halves = groupsText.split("::");
  if (halves.length > 2) return null;
  const head = splitGroups(halves[0] ?? "");
  const tail = halves.length === 2 ? splitGroups(halves[1] ?? "") : [];
  if (head === null || tail === null) return null;
  const count = head.length + tail.length;
  if (halves.length === 2 ? count > 7 : count !== 8) return null;
  head.forEach((group, i) => setGroup(bytes, i, group));
  tail.forEach((group, i) => setGroup(bytes, 8 - tail.length + i, group));
  return bytes;
}

function splitGroups(text: string): number[] | null {
  if (text === "") return [];
  const groups = text.split(":");
  return groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group)) ? groups.map((group) => Number.parseInt(group, 16)) : null;
}

function setGroup(bytes: Uint8Array, index: number, group: number): void {
  bytes[2 * index] = group >> 8;
  bytes[2 * index + 1] = group & 255;
}

/** Four bytes for IPv4, sixteen for IPv6, null for anything else. */
export function parseIp(text: string): Uint8Array<ArrayBuffer> | null {
  return parseIpv4(text) ?? parseIpv6(text);
}

/** Canonical text of an address of four or sixteen bytes from `offset`. IPv6 as RFC 5952; v4-mapped with a dotted tail. */
export function formatIp(bytes: Uint8Array, offset: number, length: 4 | 16): string {
  if (length === 4) return `${bytes[offset] ?? 0}.${bytes[offset + 1] ?? 0}.${bytes[offset + 2] ?? 0}.${bytes[offset + 3] ?? 0}`;
  if (isV4Mapped(bytes, offset)) return "::ffff:" + formatIp(bytes, offset + 12, 4);
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[offset + i] ?? 0) << 8 | (bytes[offset + i + 1] ?? 0));
  const run = longestZeroRun(groups);
  const text = (from: number, to: number) => groups.slice(from, to).map((group) => group.toString(16)).join(":");
  return run.length < 2 ? text(0, 8) : text(0, run.start) + "::" + text(run.start + run.length, 8);
}

/** The first of the longest runs of zero groups (RFC 5952 §4.2.3). */
function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}

/** Whether the sixteen bytes from `offset` are `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2). */
export function isV4Mapped(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < 10; i++) {
    if (bytes[offset + i] !== 0) return false;
  }
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
}

/** `ip:port` or `[ip]:port`. */
export function formatSocketAddress(address: SocketAddress): string {
  return address.ip.includes(":") ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
}

export interface PortOptions {
  /** 0 is a port too: "any free one". Only where something is bound. */
  readonly zero?: boolean;
}

/** A port number: decimal, no sign, no leading zeros, 1 to 65535 (0 only if asked for). */
export function parsePort(text: string, options: PortOptions = {}): Parsed<number> {
  const isNumber = /^(?:0|[1-9][0-9]{0,4})$/.test(text);
  const port = Number(text), least = options.zero === true ? 0 : 1;
  if (!isNumber || port > 65535 || port < least) return { ok: false, why: `needs a port number of ${least} to 65535` };
  return { ok: true, value: port };
}

export interface HostPort {
  /** Canonical text of an address without brackets, or a name in lower case. */
  readonly host: string;
  readonly port: number;
  readonly kind: "ipv4" | "ipv6" | "name";
}

export interface HostPortOptions extends PortOptions {
  /** The port of a text that names none. Without it a port is required. */
  readonly defaultPort?: number;
}

/**
 * `host:port`, `a.b.c.d:port` or `[v6]:port`. A name that ends in a number (`1.2.3`, `1.2.3.256`, `01.2.3.4`) is a wrong
 * address, not a name; an IPv6 address without brackets is refused because its port would be ambiguous.
 */
export function parseHostPort(text: string, options: HostPortOptions = {}): Parsed<HostPort> {
  if (parseIpv6(text) !== null) return wrong("needs brackets round the IPv6 address: [address]:port");
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text);
  if (match === null) return wrong("must be host:port or [IPv6]:port");
  const host = match[1] === undefined ? parseHost(match[2] ?? "") : parseBracketed(match[1]);
  if (!host.ok) return host;
  if (match[3] === undefined) {
    return options.defaultPort === undefined
      ? wrong("needs a port: host:port")
      : { ok: true, value: { ...host.value, port: options.defaultPort } };
  }
  const port = parsePort(match[3], options);
  return port.ok ? { ok: true, value: { ...host.value, port: port.value } } : port;
}

function parseBracketed(text: string): Parsed<Omit<HostPort, "port">> {
  const bytes = parseIpv6(text);
  return bytes === null
    ? wrong("has something else than an IPv6 address in brackets")
    : { ok: true, value: { host: formatIp(bytes, 0, 16), kind: "ipv6" } };
}

/** An address or a name without a port: `a.b.c.d`, a DNS name (RFC 1123 §2.1, `_` taken too). For IPv6 see {@linkcode parseIp}. */
export function parseHost(text: string): Parsed<Omit<HostPort, "port">> {
  if (text === "") return wrong("needs a host before the port");
  if (parseIpv4(text) !== null) return { ok: true, value: { host: text, kind: "ipv4" } };
  const labels = text.split(".");
  if (/^(?:[0-9]+|0[xX][0-9a-fA-F]*)$/.test(labels.at(-1) ?? "")) {
    return wrong("is not an IPv4 address: four numbers of 0 to 255 without leading zeros");
  }
  const isName = text.length <= 253 && labels.every((label) => /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label));
  return isName ? { ok: true, value: { host: text.toLowerCase(), kind: "name" } } : wrong("is not a host name");
}

function wrong(why: string): { readonly ok: false; readonly why: string } {
  return { ok: false, why };
}
