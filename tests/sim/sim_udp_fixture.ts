/**
 * UDP in memory: sockets that speak `sendmmsg` with segmentation and `recvmmsg` with coalescing, hosts with interfaces, NAT, and
 * links between the hosts that lose, double, delay, hold back and spoil packets.
 *
 * What a link does to its n-th packet follows from the world's seed, the link's name and n, and from nothing else.
 */
import type { Arena } from "../../src/core/quic/engine.ts";
import { readSockaddr, SOCKADDR_SLOT_BYTES, writeSockaddr } from "../../src/io/mod.ts";
import type { SimEvents } from "./sim_events_fixture.ts";
import { EADDRINUSE, EAGAIN, EINVAL, POLLERR, POLLIN, POLLOUT, type SimFile, Waiters } from "./sim_file_fixture.ts";
import type { SimRandom, SimTrace } from "./sim_random_fixture.ts";

const SOL_SOCKET = 1, SO_ERROR = 4, SO_RCVBUF = 8, SOL_UDP = 17, UDP_SEGMENT = 103, UDP_GRO = 104;
const EIO = 5, EMSGSIZE = 90, ENETUNREACH = 101, EADDRNOTAVAIL = 99, EDESTADDRREQ = 89, ECONNREFUSED = 111;
const AF_INET = 2;
const MMSGHDR_BYTES = 64;
const SEGMENTS_MAX = 64;
const PAYLOAD_BYTES_MAX = 65_507;
const HEADER_BYTES = { v4: 28, v6: 48 } as const;
const EPHEMERAL_FIRST = 40_000;

/** One machine. Its first address of a family is what its unbound sockets send from. */
export interface SimHost {
  readonly name: string;
  readonly addresses: readonly string[];
  /** The largest IP packet that leaves. */
  interfaceMtu: number;
  /** Whether the interface takes segmentation offload; without it a train fails with EIO. */
  takesSegments: boolean;
  /** Received bytes that a socket holds; what comes beyond is dropped. */
  receiveBufferBytes: number;
  /** How long its ICMP errors take. */
  readonly icmpMs: number;
  /** Chance that a send finds the socket's buffer full. */
  sendBlocks: number;
  nat: SimNat | null;
}

export interface LinkFaults {
  readonly delayMs: number;
  readonly jitterMs: number;
  /** Chances of a packet, each in [0, 1]. */
  readonly loss: number;
  readonly duplicate: number;
  readonly corrupt: number;
  /** Chance to be held back by up to `reorderMs`. */
  readonly reorder: number;
  readonly reorderMs: number;
  /** The largest UDP payload that passes. */
  readonly payloadBytesMax: number;
  /** Bytes a millisecond; what would wait longer than `queueMs` is dropped. */
  readonly bytesPerMs: number;
  readonly queueMs: number;
}

export const CLEAN_LINK: LinkFaults = {
  delayMs: 1,
  jitterMs: 0,
  loss: 0,
  duplicate: 0,
  corrupt: 0,
  reorder: 0,
  reorderMs: 0,
  payloadBytesMax: PAYLOAD_BYTES_MAX,
  bytesPerMs: Infinity,
  queueMs: 100,
};

/** One direction between two hosts. */
export interface SimLink {
  readonly name: string;
  readonly random: SimRandom;
  faults: LinkFaults;
  isCut: boolean;
  packets: number;
  lost: number;
  busyUntilMs: number;
}

/** An address translator in front of one host: a port of its own for each socket, until it forgets. */
export class SimNat {
  readonly address: string;
  readonly #outside = new Map<string, number>();
  readonly #inside = new Map<number, string>();
  #nextPort: number;

  constructor(address: string, firstPort: number) {
    this.address = address;
    this.#nextPort = firstPort;
  }

  /** The source as the world sees it. */
  outbound(source: string): string {
    let port = this.#outside.get(source);
    if (port === undefined) {
      port = this.#nextPort++;
      this.#outside.set(source, port);
      this.#inside.set(port, source);
    }
    return `${this.address}|${port}`;
  }

  inbound(port: number): string | undefined {
    return this.#inside.get(port);
  }

  /** Forgets every mapping: the next packet of a socket comes from a new port, and answers to the old one go nowhere. */
  rebind(): void {
    this.#outside.clear();
    this.#inside.clear();
  }
}

export interface Datagram {
  /** `address|port`. */
  readonly from: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What takes datagrams at an address. */
export interface UdpReceiver {
  receive(datagram: Datagram): void;
}

export class SimNetwork {
  /** Chance that neighbouring datagrams of one sender are handed over as one buffer. */
  coalesces = 0.8;
  defaults: LinkFaults = CLEAN_LINK;
  readonly #events: SimEvents;
  readonly #trace: SimTrace;
  readonly #random: SimRandom;
  readonly #hosts = new Map<string, SimHost>();
  readonly #sockets = new Map<string, UdpReceiver>();
  readonly #links = new Map<SimHost, Map<SimHost, SimLink>>();

  constructor(events: SimEvents, trace: SimTrace, random: SimRandom) {
    this.#events = events;
    this.#trace = trace;
    this.#random = random;
  }

  addHost(host: SimHost): SimHost {
    for (const address of host.addresses) this.#hosts.set(address, host);
    if (host.nat !== null) this.#hosts.set(host.nat.address, host);
    return host;
  }

  link(from: SimHost, to: SimHost): SimLink {
    let links = this.#links.get(from);
    if (links === undefined) this.#links.set(from, links = new Map());
    let link = links.get(to);
    if (link === undefined) {
      const name = `${from.name}>${to.name}`;
      link = { name, random: this.#random.fork(name), faults: this.defaults, isCut: false, packets: 0, lost: 0, busyUntilMs: 0 };
      links.set(to, link);
    }
    return link;
  }

  get links(): readonly SimLink[] {
    return [...this.#links.values()].flatMap((links) => [...links.values()]);
  }

  /** Cuts or heals both directions between two hosts. */
  cut(a: SimHost, b: SimHost, isCut: boolean): void {
    this.link(a, b).isCut = isCut;
    this.link(b, a).isCut = isCut;
  }

  /** Takes a free port when `port` is 0. Returns the port, or 0 when it is taken. */
  bind(socket: UdpReceiver, addresses: readonly string[], port: number): number {
    let chosen = port === 0 ? EPHEMERAL_FIRST : port;
    while (addresses.some((address) => this.#sockets.has(`${address}|${chosen}`))) {
      if (port !== 0) return 0;
      chosen++;
    }
    for (const address of addresses) this.#sockets.set(`${address}|${chosen}`, socket);
    return chosen;
  }

  release(addresses: readonly string[], port: number): void {
    for (const address of addresses) this.#sockets.delete(`${address}|${port}`);
  }

  send(from: SimHost, source: string, to: string, bytes: Uint8Array<ArrayBuffer>): void {
    const host = this.#hosts.get(to.slice(0, to.indexOf("|")));
    if (host === undefined) return;
    const seen = from.nat?.outbound(source) ?? source;
    const link = this.link(from, host);
    const { faults, random } = link;
    const number = link.packets++;
    // Always the same draws, so that what happens to packet n does not depend on what happened to the ones before.
    const [isLost, isDouble, isHeld, isSpoilt, jitter, place] = [
      random.chance(faults.loss),
      random.chance(faults.duplicate),
      random.chance(faults.reorder),
      random.chance(faults.corrupt),
      random.next(),
      random.next(),
    ];
    const sentAtMs = this.#queue(link, bytes.length);
    if (link.isCut || isLost || bytes.length > faults.payloadBytesMax || sentAtMs < 0) {
      link.lost++;
      this.#trace.packet(this.#events.nowMs, link.name, number, bytes.length, -1);
      return;
    }
    if (isSpoilt) {
      const bit = Math.floor(place * bytes.length * 8);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    }
    const delayMs = faults.delayMs + jitter * faults.jitterMs + (isHeld ? place * faults.reorderMs : 0);
    this.#trace.packet(this.#events.nowMs, link.name, number, bytes.length, delayMs);
    const arrive = () => {
      if (!link.isCut) this.#deliver(host, to, { from: seen, bytes });
    };
    this.#events.at(sentAtMs + delayMs, arrive);
    if (isDouble) this.#events.at(sentAtMs + delayMs + jitter * 3, arrive);
  }

  /** When the packet is on its way through a link of limited speed, or -1 when its queue is full. */
  #queue(link: SimLink, length: number): number {
    const { bytesPerMs, queueMs } = link.faults;
    const nowMs = this.#events.nowMs;
    if (bytesPerMs === Infinity) return nowMs;
    const startMs = Math.max(nowMs, link.busyUntilMs);
    if (startMs - nowMs > queueMs) return -1;
    link.busyUntilMs = startMs + length / bytesPerMs;
    return link.busyUntilMs;
  }

  #deliver(host: SimHost, to: string, datagram: Datagram): void {
    const { nat } = host;
    const isOutside = nat !== null && to.startsWith(`${nat.address}|`);
    const inner = isOutside ? nat.inbound(Number(to.slice(to.indexOf("|") + 1))) : to;
    const receiver = inner === undefined ? undefined : this.#sockets.get(inner);
    if (receiver !== undefined) return receiver.receive(datagram);
    // Nobody is there: ICMP says so, which only connected sockets hear.
    const sender = this.#sockets.get(datagram.from);
    if (sender instanceof SimUdpSocket) this.#events.after(host.icmpMs, () => sender.refuse(to));
  }
}

export class SimUdpSocket implements SimFile {
  readonly waiters = new Waiters();
  readonly #network: SimNetwork;
  readonly #host: SimHost;
  readonly #events: SimEvents;
  readonly #random: SimRandom;
  readonly #queue: Datagram[] = [];
  #queuedBytes = 0;
  #addresses: readonly string[] = [];
  #bound = { address: "", port: 0 };
  /** What its packets come from, by family. */
  #sources: { readonly v4: string | null; readonly v6: string | null } = { v4: null, v6: null };
  #coalesces = false;
  #blockedUntilMs = 0;
  /** The only address that it hears, once it is connected. */
  #peer: string | null = null;
  #error = 0;

  constructor(network: SimNetwork, host: SimHost, events: SimEvents, random: SimRandom) {
    this.#network = network;
    this.#host = host;
    this.#events = events;
    this.#random = random;
  }

  poll(): number {
    return (this.#queue.length > 0 ? POLLIN : 0) | (this.#isBlocked ? 0 : POLLOUT) | (this.#error === 0 ? 0 : POLLERR);
  }

  close(): void {
    this.#network.release(this.#addresses, this.#bound.port);
  }

  bind(arena: Arena, at: number): number {
    const wanted = readSockaddr(arena, at);
    if (wanted === null) return -EINVAL;
    const { address, port } = wanted;
    const family = address.includes(":");
    const all = this.#host.addresses.filter((own) => own.includes(":") === family);
    const isAny = address === "0.0.0.0" || address === "::";
    if (!isAny && !all.includes(address)) return -EADDRNOTAVAIL;
    const addresses = isAny ? all : [address];
    const chosen = this.#network.bind(this, addresses, port);
    if (chosen === 0) return -EADDRINUSE;
    this.#addresses = addresses;
    this.#bound = { address, port: chosen };
    const sourceOf = (isIpv6: boolean) => {
      const own = addresses.find((one) => one.includes(":") === isIpv6);
      return own === undefined ? null : `${own}|${chosen}`;
    };
    this.#sources = { v4: sourceOf(false), v6: sourceOf(true) };
    return 0;
  }

  /** Binds to a free port and hears only the address in the slot from now on. */
  connect(arena: Arena, at: number): number {
    const peer = readAddress(arena, at);
    const address = this.#host.addresses.find((own) => own.includes(":") === peer?.includes(":"));
    if (peer === null || address === undefined) return -ENETUNREACH;
    const port = this.#network.bind(this, [address], 0);
    this.#addresses = [address];
    this.#bound = { address, port };
    this.#peer = peer;
    return 0;
  }

  send(bytes: Uint8Array, offset: number, length: number): number {
    const errno = this.#takeError();
    if (errno !== 0) return -errno;
    if (this.#peer === null) return -EDESTADDRREQ;
    if (this.#isBlocked || this.#blocks()) return -EAGAIN;
    const { address, port } = this.#bound;
    this.#network.send(this.#host, `${address}|${port}`, this.#peer, bytes.slice(offset, offset + length));
    return length;
  }

  recv(bytes: Uint8Array, offset: number, length: number): number {
    const errno = this.#takeError();
    if (errno !== 0) return -errno;
    const first = this.#queue.shift();
    if (first === undefined) return -EAGAIN;
    this.#queuedBytes -= first.bytes.length;
    const part = first.bytes.subarray(0, length);
    bytes.set(part, offset);
    return part.length;
  }

  /** Nobody listens where it sent to. */
  refuse(by: string): void {
    if (by !== this.#peer) return;
    this.#error = ECONNREFUSED;
    this.waiters.wake();
  }

  #takeError(): number {
    const errno = this.#error;
    this.#error = 0;
    return errno;
  }

  name(arena: Arena, at: number): number {
    return writeSockaddr(arena, at, this.#bound) === 0 ? -EINVAL : 0;
  }

  setOption(level: number, option: number, value: number): number {
    if (level === SOL_UDP && option === UDP_GRO) this.#coalesces = value !== 0;
    return 0;
  }

  getOption(level: number, option: number): number {
    if (level === SOL_SOCKET && option === SO_ERROR) return this.#takeError();
    return level === SOL_SOCKET && option === SO_RCVBUF ? this.#host.receiveBufferBytes : 0;
  }

  receive(datagram: Datagram): void {
    if (this.#peer !== null && datagram.from !== this.#peer) return;
    if (this.#queuedBytes + datagram.bytes.length > this.#host.receiveBufferBytes) return;
    this.#queue.push(datagram);
    this.#queuedBytes += datagram.bytes.length;
    this.waiters.wake();
  }

  sendmmsg(arena: Arena, headers: number, count: number): number {
    for (let i = 0; i < count; i++) {
      const result = this.#isBlocked || this.#blocks() ? -EAGAIN : this.#sendOne(arena, headers + i * MMSGHDR_BYTES);
      if (result < 0) return i > 0 ? i : result;
    }
    return count;
  }

  recvmmsg(arena: Arena, headers: number, count: number): number {
    let done = 0;
    while (done < count && this.#queue.length > 0) this.#receiveOne(arena, headers + done++ * MMSGHDR_BYTES);
    return done === 0 ? -EAGAIN : done;
  }

  get #isBlocked(): boolean {
    return this.#events.nowMs < this.#blockedUntilMs;
  }

  #blocks(): boolean {
    if (this.#host.sendBlocks === 0 || !this.#random.chance(this.#host.sendBlocks)) return false;
    this.#blockedUntilMs = this.#events.nowMs + 1 + this.#random.next() * 4;
    this.#events.at(this.#blockedUntilMs, () => this.waiters.wake());
    return true;
  }

  /** One struct mmsghdr: a datagram, or a train of them with UDP_SEGMENT. */
  #sendOne(arena: Arena, header: number): number {
    const { view, bytes } = arena;
    const to = readAddress(arena, pointer(arena, header));
    const iovec = pointer(arena, header + 16);
    const start = pointer(arena, iovec);
    const total = view.getUint32(iovec + 8, true);
    let segment = total;
    if (view.getUint32(header + 40, true) > 0) {
      const control = pointer(arena, header + 32);
      const isSegment = view.getUint32(control + 8, true) === SOL_UDP && view.getUint32(control + 12, true) === UDP_SEGMENT;
      if (!isSegment || view.getUint32(control, true) !== 18) return -EINVAL;
      segment = view.getUint16(control + 16, true);
    }
    if (to === null || segment === 0) return -EINVAL;
    const isIpv6 = to.includes(":");
    const isTrain = segment < total;
    if (isTrain && !this.#host.takesSegments) return -EIO;
    if (segment + (isIpv6 ? HEADER_BYTES.v6 : HEADER_BYTES.v4) > this.#host.interfaceMtu) return isTrain ? -EINVAL : -EMSGSIZE;
    if (Math.ceil(total / segment) > SEGMENTS_MAX || total > PAYLOAD_BYTES_MAX) return -EINVAL;
    const from = isIpv6 ? this.#sources.v6 : this.#sources.v4;
    if (from === null) return -ENETUNREACH;
    for (let at = start; at < start + total; at += segment) {
      this.#network.send(this.#host, from, to, bytes.slice(at, Math.min(at + segment, start + total)));
    }
    view.setUint32(header + 56, total, true);
    return 1;
  }

  #receiveOne(arena: Arena, header: number): void {
    const { view, bytes } = arena;
    const first = this.#queue.shift() as Datagram;
    const segment = first.bytes.length;
    const iovec = pointer(arena, header + 16);
    const buffer = pointer(arena, iovec);
    const capacity = view.getUint32(iovec + 8, true);
    bytes.set(first.bytes.subarray(0, capacity), buffer);
    let length = Math.min(segment, capacity);
    let isTrain = false;
    for (let next = this.#queue[0], count = 1; this.#coalesces && next !== undefined && count < SEGMENTS_MAX; count++) {
      const extra = next.bytes.length;
      const fits = next.from === first.from && extra <= segment && length + extra <= capacity;
      if (!fits || !this.#random.chance(this.#network.coalesces)) break;
      bytes.set(next.bytes, buffer + length);
      length += extra;
      isTrain = true;
      this.#queue.shift();
      next = extra < segment ? undefined : this.#queue[0];
    }
    this.#queuedBytes -= length;
    view.setUint32(header + 8, writeAddress(arena, pointer(arena, header), first.from), true);
    view.setUint32(header + 40, isTrain ? 24 : 0, true);
    if (isTrain) {
      const control = pointer(arena, header + 32);
      view.setBigUint64(control, 20n, true);
      view.setUint32(control + 8, SOL_UDP, true);
      view.setUint32(control + 12, UDP_GRO, true);
      view.setUint32(control + 16, segment, true);
    }
    view.setUint32(header + 56, length, true);
  }
}

/** The offset that a pointer in the arena leads to. No arena is as large as 4 GiB: the lower half of the difference is all. */
function pointer(arena: Arena, at: number): number {
  if (arena !== lastArena) {
    lastArena = arena;
    lastLow = Number(arena.address & 0xffff_ffffn);
  }
  return (arena.view.getUint32(at, true) - lastLow) >>> 0;
}

let lastArena: Arena | null = null;
let lastLow = 0;

/** Addresses that were met, as text by their number and as slots by their text: making them anew is what costs. */
const textOfIpv4 = new Map<number, string>();
const slotOfText = new Map<string, Uint8Array>();

/** `address|port` of a slot, null when it holds none. */
function readAddress(arena: Arena, slot: number): string | null {
  const { bytes, view } = arena;
  const number = bytes[slot] === AF_INET ? view.getUint32(slot + 4) * 65_536 + view.getUint16(slot + 2) : -1;
  const known = textOfIpv4.get(number);
  if (known !== undefined) return known;
  const endpoint = readSockaddr(arena, slot);
  if (endpoint === null) return null;
  const text = `${endpoint.address}|${endpoint.port}`;
  if (number >= 0) textOfIpv4.set(number, text);
  return text;
}

/** Writes the slot of an `address|port`. Returns its length. */
function writeAddress(arena: Arena, slot: number, text: string): number {
  const known = slotOfText.get(text);
  if (known !== undefined) arena.bytes.set(known, slot);
  else {
    const [address, port] = text.split("|") as [string, string];
    writeSockaddr(arena, slot, { address, port: Number(port) });
    slotOfText.set(text, arena.bytes.slice(slot, slot + SOCKADDR_SLOT_BYTES));
  }
  return arena.bytes[slot] === AF_INET ? 16 : 28;
}
