/**
 * A UDP socket that works in batches: packets come in trains (udp_receiving.ts), and those that are written one behind the other into
 * the send buffer leave as GSO trains by `sendmmsg`.
 *
 * Not a queue: when the kernel's send buffer is full, {@linkcode UdpSocket.room} says so and the caller keeps its packets.
 */
import type { Libc } from "./native.ts";
import type { ArenaLayout } from "./arena.ts";
import { attachProgram, programRoom, sharePort } from "./port_sharing.ts";
import { EPOLLIN, EPOLLOUT, type EventSource, type Reactor } from "./reactor.ts";
import { AF_INET, AF_INET6, type IpEndpoint, readSockaddr, SOCKADDR_SLOT_BYTES, sockaddrBytes, writeSockaddr } from "./sockaddr.ts";
import { PosternError } from "../base/mod.ts";
import { errnoText } from "./errno.ts";
import { UdpReceiving, type UdpReceivingLimits } from "./udp_receiving.ts";

const SOL_SOCKET = 1, SO_RCVBUF = 8, SO_SNDBUF = 7, SO_RCVBUFFORCE = 33, SO_SNDBUFFORCE = 32;
const SOL_UDP = 17, UDP_SEGMENT = 103, UDP_GRO = 104;
const IPPROTO_IP = 0, IP_MTU_DISCOVER = 10, IPPROTO_IPV6 = 41, IPV6_V6ONLY = 26, IPV6_MTU_DISCOVER = 23, PMTUDISC_PROBE = 3;
const EAGAIN = 11, EIO = 5, EINVAL = 22, EMSGSIZE = 90;

const MMSGHDR_BYTES = 64, IOVEC_BYTES = 16, TX_CONTROL_BYTES = 32;
/** GSO limits of the kernel: segments in one train, and bytes (an IP datagram less its headers). */
const SEGMENTS_MAX = 64;
const TRAIN_BYTES_MAX = 65_000;
const TWO_POW_32 = 4_294_967_296;

/** The sizes of one socket's part of the arena. */
export interface UdpSocketLimits extends UdpReceivingLimits {
  /** Trains in one `sendmmsg`. */
  readonly sendTrains: number;
  readonly sendBufferBytes: number;
  /** What is asked of the kernel by SO_RCVBUF and SO_SNDBUF; it may grant less. */
  readonly kernelBufferBytes: number;
}

/**
 * One address for several sockets, in the order in which they are bound: the first binds for itself alone, so that no other process has
 * the address, and then lets the others join. Those bring the program (classic BPF) that says which socket gets a packet.
 */
export type SocketSharing = { readonly kind: "first" } | { readonly kind: "joins"; readonly program: Uint8Array };

/** Takes one packet. `offset` is valid during the call. */
export type PacketHandler = (socket: UdpSocket, offset: number, length: number, fromAddress: number) => void;

export class UdpSocket implements EventSource {
  /** Offset of the sockaddr slot with the bound address. */
  readonly localAddress: number;
  readonly family: number;
  /** Socket errors on sending, and trains given up because of them. */
  sendErrors = 0;
  /** Packets that were larger than the interface takes: how a probe for a larger path MTU fails. */
  oversized = 0;
  /** The kernel refused a GSO train; since then segments are sent one by one. */
  gsoOff = false;
  /** The kernel hands over trains of packets as one (GRO). */
  takesTrains = false;
  /** The receive buffer that the kernel granted, in bytes as it counts them. */
  grantedReceiveBytes = 0;
  /** The same of the send buffer. */
  grantedSendBytes = 0;

  readonly #libc: Libc;
  readonly #reactor: Reactor;
  readonly #fd: number;
  readonly #token: number;
  readonly #limits: UdpSocketLimits;
  readonly #onWritable: (socket: UdpSocket) => void;
  readonly #receiving: UdpReceiving;
  readonly #tx: {
    readonly headers: number;
    readonly iovecs: number;
    readonly addresses: number;
    readonly control: number;
    readonly buffer: number;
  };
  /** The address of the send buffer. */
  readonly #bufferLow: number;
  readonly #bufferHigh: number;
  /** Closed trains waiting for `sendmmsg`, and the offset in the buffer behind the last packet. */
  #trains = 0;
  #tail = 0;
  /** The open train: where it starts, its segment size and count; a count of 0 means that none is open. */
  #openStart = 0;
  #openBytes = 0;
  #openSegment = 0;
  #openCount = 0;
  #blocked = false;

  /** Binds `endpoint`. Throws {@linkcode PosternError} naming the address when the kernel refuses. */
  constructor(
    reactor: Reactor,
    layout: ArenaLayout,
    endpoint: IpEndpoint,
    limits: UdpSocketLimits,
    onPacket: PacketHandler,
    onWritable: (socket: UdpSocket) => void,
    sharing: SocketSharing | null = null,
  ) {
    this.#reactor = reactor;
    this.#libc = reactor.libc;
    this.#limits = limits;
    this.#onWritable = onWritable;
    this.localAddress = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.family = writeSockaddr(layout.arena, this.localAddress, endpoint);
    if (this.family === 0) throw new PosternError(`not an IP address: ${endpoint.address}`, { code: "bind", exitCode: 2 });
    const programAt = sharing?.kind === "joins" ? layout.reserve(programRoom(sharing.program.length)) : 0;
    this.#fd = this.#open(endpoint, sharing, programAt);
    const { sendTrains, sendBufferBytes } = limits;
    this.#receiving = new UdpReceiving(reactor, layout, this.#fd, limits, (offset, length, from) => {
      onPacket(this, offset, length, from);
    });
    this.#tx = {
      headers: layout.reserve(sendTrains * MMSGHDR_BYTES),
      iovecs: layout.reserve(sendTrains * IOVEC_BYTES),
      addresses: layout.reserve(sendTrains * SOCKADDR_SLOT_BYTES),
      control: layout.reserve(sendTrains * TX_CONTROL_BYTES),
      buffer: layout.reserve(sendBufferBytes),
    };
    const bufferAddress = layout.arena.address + BigInt(this.#tx.buffer);
    this.#bufferLow = Number(bufferAddress & 0xffff_ffffn);
    this.#bufferHigh = Number(bufferAddress >> 32n);
    this.#layoutHeaders();
    this.#token = reactor.add(this.#fd, EPOLLIN, this);
  }

  /** What was asked of the kernel for each of its two buffers. */
  get wantedBufferBytes(): number {
    return this.#limits.kernelBufferBytes;
  }

  /** Packets that were read, had to wait, and went because their sender had more than its share of what waits. */
  get arrivalsDropped(): number {
    return this.#receiving.dropped;
  }

  /** The address that the kernel bound, with the real port. */
  get bound(): IpEndpoint {
    const endpoint = readSockaddr(this.#libc.arena, this.localAddress);
    if (endpoint === null) throw new Error("postern: internal error: bound socket without an address");
    return endpoint;
  }

  onEvents(events: number, _nowMs: number): void {
    if ((events & EPOLLOUT) !== 0) this.#unblock();
    if ((events & ~EPOLLOUT) !== 0) this.#receiving.read();
  }

  /** Offset with room for one packet of `bytes`, or -1 while the kernel takes nothing: {@linkcode commit} what was written. */
  room(bytes: number): number {
    if (this.#blocked) return -1;
    // One packet can end the open train and be one of its own: both must still have their place when it is committed.
    if (this.#tail + bytes > this.#limits.sendBufferBytes || this.#trains > this.#limits.sendTrains - 2) {
      this.flush();
      if (this.#blocked) return -1;
    }
    return this.#tx.buffer + this.#tail;
  }

  /** Queues the packet of `length` bytes that was written at the last {@linkcode room}, to the address in the slot `to`. */
  commit(length: number, to: number): void {
    const extends_ = this.#openCount > 0 && length > 0 && length <= this.#openSegment && this.#openCount < SEGMENTS_MAX &&
      this.#openBytes + length <= TRAIN_BYTES_MAX && this.#sameDestination(to);
    if (!extends_) {
      this.#closeTrain();
      this.#openStart = this.#tail;
      this.#openSegment = length;
      this.#libc.arena.bytes.copyWithin(this.#openAddress(), to, to + SOCKADDR_SLOT_BYTES);
    }
    this.#tail += length;
    this.#openBytes += length;
    this.#openCount++;
    // Only the last packet of a train may be shorter than the others.
    if (length < this.#openSegment || this.gsoOff) this.#closeTrain();
  }

  /** Hands everything to the kernel. */
  flush(): void {
    this.#closeTrain();
    if (this.#trains > 0 && !this.#blocked) this.#send(0);
  }

  close(): void {
    this.#receiving.stop();
    this.#reactor.remove(this.#fd, this.#token);
    this.#libc.close(this.#fd);
  }

  #open(endpoint: IpEndpoint, sharing: SocketSharing | null, programAt: number): number {
    const libc = this.#libc;
    const fd = libc.socket(this.family, 2);
    const refuse = (step: string, errno: number): never => {
      if (fd >= 0) libc.close(fd);
      const where = endpoint.address.includes(":")
        ? `[${endpoint.address}]:${endpoint.port}`
        : `${endpoint.address}:${endpoint.port}`;
      throw new PosternError(`cannot ${step} UDP ${where}: ${errnoText(errno)}`, {
        code: "bind",
        hint: errno === 98
          ? "another process uses this port: choose another, or --bind ADDRESS:0 for any free one"
          : "check the address with `ip address`",
      });
    };
    if (fd < 0) refuse("open", -fd);
    if (this.family === AF_INET6) libc.setsockoptInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    const bytes = this.#limits.kernelBufferBytes;
    for (const [force, plain] of [[SO_RCVBUFFORCE, SO_RCVBUF], [SO_SNDBUFFORCE, SO_SNDBUF]] as const) {
      if (libc.setsockoptInt(fd, SOL_SOCKET, force, bytes) < 0) libc.setsockoptInt(fd, SOL_SOCKET, plain, bytes);
    }
    this.grantedReceiveBytes = libc.getsockoptInt(fd, SOL_SOCKET, SO_RCVBUF);
    this.grantedSendBytes = libc.getsockoptInt(fd, SOL_SOCKET, SO_SNDBUF);
    this.takesTrains = libc.setsockoptInt(fd, SOL_UDP, UDP_GRO, 1) >= 0;
    // Packets are never fragmented, and the kernel's own idea of the path's MTU does not stop probes.
    if (this.family === AF_INET) libc.setsockoptInt(fd, IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE);
    else libc.setsockoptInt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE);
    if (sharing?.kind === "joins") sharePort(libc, fd);
    const bound = libc.bind(fd, this.localAddress, sockaddrBytes(libc.arena, this.localAddress));
    if (bound < 0) refuse("bind", -bound);
    const shared = sharing === null ? 0 : this.#share(fd, sharing, programAt);
    if (shared < 0) refuse("share (more than one worker needs SO_REUSEPORT with a program: --workers 1)", -shared);
    libc.getsockname(fd, this.localAddress);
    return fd;
  }

  #share(fd: number, sharing: SocketSharing, programAt: number): number {
    return sharing.kind === "first" ? sharePort(this.#libc, fd) : attachProgram(this.#libc, fd, sharing.program, programAt);
  }

  #layoutHeaders(): void {
    const { arena } = this.#libc;
    const { view } = arena;
    const pointer = (at: number, offset: number) => view.setBigUint64(at, arena.address + BigInt(offset), true);
    for (let i = 0; i < this.#limits.sendTrains; i++) {
      const header = this.#tx.headers + i * MMSGHDR_BYTES;
      const control = this.#tx.control + i * TX_CONTROL_BYTES;
      pointer(header, this.#tx.addresses + i * SOCKADDR_SLOT_BYTES);
      pointer(header + 16, this.#tx.iovecs + i * IOVEC_BYTES);
      view.setBigUint64(header + 24, 1n, true);
      pointer(header + 32, control);
      view.setBigUint64(control, 18n, true);
      view.setUint32(control + 8, SOL_UDP, true);
      view.setUint32(control + 12, UDP_SEGMENT, true);
    }
  }

  #openAddress(): number {
    return this.#tx.addresses + this.#trains * SOCKADDR_SLOT_BYTES;
  }

  #sameDestination(to: number): boolean {
    const { view } = this.#libc.arena;
    const open = this.#openAddress();
    // Family, port and (IPv4) address in the first eight bytes; IPv6's sixteen bytes of address behind them.
    if (view.getUint32(open, true) !== view.getUint32(to, true)) return false;
    if (this.family === AF_INET) return view.getUint32(open + 4, true) === view.getUint32(to + 4, true);
    for (let i = 8; i < 24; i += 4) if (view.getUint32(open + i, true) !== view.getUint32(to + i, true)) return false;
    return true;
  }

  #closeTrain(): void {
    if (this.#openCount === 0) return;
    const { view } = this.#libc.arena;
    const header = this.#tx.headers + this.#trains * MMSGHDR_BYTES;
    const iovec = this.#tx.iovecs + this.#trains * IOVEC_BYTES;
    // In halves: the bigint would be an object for each train.
    const low = this.#bufferLow + this.#openStart;
    view.setUint32(iovec, low, true);
    view.setUint32(iovec + 4, low < TWO_POW_32 ? this.#bufferHigh : this.#bufferHigh + 1, true);
    view.setUint32(iovec + 8, this.#openBytes, true);
    view.setUint32(header + 8, this.family === AF_INET ? 16 : 28, true);
    const isTrain = this.#openBytes > this.#openSegment;
    view.setUint32(header + 40, isTrain ? 24 : 0, true);
    if (isTrain) view.setUint16(this.#tx.control + this.#trains * TX_CONTROL_BYTES + 16, this.#openSegment, true);
    this.#openBytes = 0;
    this.#openCount = 0;
    this.#trains++;
  }

  /** Sends trains from `first` on. A full kernel buffer keeps the rest until it is writable again. */
  #send(first: number): void {
    let at = first;
    while (at < this.#trains) {
      const sent = this.#libc.sendmmsg(this.#fd, this.#tx.headers + at * MMSGHDR_BYTES, this.#trains - at);
      if (sent > 0) {
        at += sent;
      } else if (sent === -EAGAIN) {
        this.#blocked = true;
        this.#blockedFrom = at;
        this.#reactor.modify(this.#fd, EPOLLIN | EPOLLOUT, this.#token);
        return;
      } else {
        this.#sendFailed(at, sent);
        at++;
      }
    }
    this.#trains = 0;
    this.#tail = 0;
  }

  #blockedFrom = 0;

  #unblock(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#reactor.modify(this.#fd, EPOLLIN, this.#token);
    this.#send(this.#blockedFrom);
    if (!this.#blocked) this.#onWritable(this);
  }

  /** One train was refused: others may follow. */
  #sendFailed(train: number, result: number): void {
    const isTrain = this.#libc.arena.view.getUint32(this.#tx.headers + train * MMSGHDR_BYTES + 40, true) > 0;
    if (isTrain && (result === -EIO || result === -EINVAL)) {
      // Some interfaces accept UDP_SEGMENT and then fail: if the segments pass one by one, they go that way from now on.
      if (this.#sendSegments(train)) this.gsoOff = true;
    } else if (result === -EMSGSIZE) this.oversized++;
    else this.sendErrors++;
  }

  /** Sends the segments of a train one by one. Returns whether any of them passed. */
  #sendSegments(train: number): boolean {
    const { view } = this.#libc.arena;
    const header = this.#tx.headers + train * MMSGHDR_BYTES;
    const iovec = this.#tx.iovecs + train * IOVEC_BYTES;
    const start = view.getBigUint64(iovec, true);
    const total = view.getUint32(iovec + 8, true);
    const segment = view.getUint16(this.#tx.control + train * TX_CONTROL_BYTES + 16, true);
    let anySent = false;
    view.setUint32(header + 40, 0, true);
    for (let at = 0; at < total; at += segment) {
      view.setBigUint64(iovec, start + BigInt(at), true);
      view.setUint32(iovec + 8, Math.min(segment, total - at), true);
      const sent = this.#libc.sendmmsg(this.#fd, header, 1);
      if (sent > 0) anySent = true;
      else if (sent === -EMSGSIZE) this.oversized++;
      else this.sendErrors++;
    }
    return anySent;
  }
}
