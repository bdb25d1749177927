/**
 * Non-blocking TCP sockets in the reactor: one end of a proxied connection, and the local listener. Edge-triggered: the
 * owner reads or writes until the kernel says "not now" and is called again when that changes.
 */
import type { Libc } from "./native.ts";
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, type EventSource, type Reactor } from "./reactor.ts";
import type { ArenaLayout } from "./arena.ts";
import {
  AF_INET6,
  formatEndpoint,
  type IpEndpoint,
  readSockaddr,
  SOCKADDR_SLOT_BYTES,
  sockaddrBytes,
  writeSockaddr,
} from "./sockaddr.ts";
import { PosternError, Timer } from "../base/mod.ts";
import { errnoText } from "./errno.ts";

const SOL_SOCKET = 1, SO_REUSEADDR = 2, SO_ERROR = 4, SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6, TCP_NODELAY = 1;
const IPPROTO_IPV6 = 41, IPV6_V6ONLY = 26;
const EAGAIN = 11, EMFILE = 24, ENFILE = 23, EINPROGRESS = 115;
const SHUT_WR = 1;

/** What happens on a connected socket. Calls come at most once per turn. */
export interface TcpOwner {
  /** The connection stands (outgoing) after {@linkcode TcpSocket.connect}. */
  onConnected(nowMs: number): void;
  /** Bytes, or the end, can be read, or writing is possible again. */
  onReady(nowMs: number): void;
  /** The connection is gone: refused, reset or failed, with a positive errno. The socket is closed already. */
  onError(errno: number, nowMs: number): void;
}

/** Results of {@linkcode TcpSocket.read} and {@linkcode TcpSocket.write} besides byte counts. */
export const TCP_END = 0;
export const TCP_AGAIN = -1;
export const TCP_BROKEN = -2;

export class TcpSocket implements EventSource {
  readonly #reactor: Reactor;
  readonly #libc: Libc;
  readonly #owner: TcpOwner;
  #fd: number;
  #token = -1;
  #isConnecting: boolean;
  #readable = true;
  #writable = true;
  /** The kernel announced the peer's FIN: a short read does not mean that nothing follows. */
  #endAnnounced = false;

  private constructor(reactor: Reactor, fd: number, owner: TcpOwner, isConnecting: boolean) {
    this.#reactor = reactor;
    this.#libc = reactor.libc;
    this.#fd = fd;
    this.#owner = owner;
    this.#isConnecting = isConnecting;
    this.#token = reactor.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, this);
    this.#libc.setsockoptInt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    this.#libc.setsockoptInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  }

  /** Takes over an accepted descriptor. Null when the reactor cannot watch it (it is closed then). */
  static adopt(reactor: Reactor, fd: number, owner: TcpOwner): TcpSocket | null {
    const socket = new TcpSocket(reactor, fd, owner, false);
    if (socket.#token >= 0) return socket;
    reactor.libc.close(fd);
    return null;
  }

  /** Starts connecting to the address in the slot. Returns the socket or a positive errno. */
  static connect(reactor: Reactor, addressSlot: number, owner: TcpOwner): TcpSocket | number {
    const { libc } = reactor;
    const fd = libc.socket(libc.arena.bytes[addressSlot] as number, 1);
    if (fd < 0) return -fd;
    const started = libc.connect(fd, addressSlot, sockaddrBytes(libc.arena, addressSlot));
    if (started < 0 && started !== -EINPROGRESS) {
      libc.close(fd);
      return -started;
    }
    const socket = new TcpSocket(reactor, fd, owner, true);
    if (socket.#token >= 0) return socket;
    libc.close(fd);
    return -socket.#token;
  }

  get isOpen(): boolean {
    return this.#fd >= 0;
  }

  get isReadable(): boolean {
    return this.#readable;
  }

  get isWritable(): boolean {
    return this.#writable;
  }

  onEvents(events: number, nowMs: number): void {
    if (this.#fd < 0) return;
    if (this.#isConnecting) {
      this.#finishConnecting(events, nowMs);
      return;
    }
    if ((events & EPOLLERR) !== 0) {
      const errno = this.#libc.getsockoptInt(this.#fd, SOL_SOCKET, SO_ERROR);
      this.close();
      this.#owner.onError(errno > 0 ? errno : 104, nowMs);
      return;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) !== 0) this.#readable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP)) !== 0) this.#endAnnounced = true;
    if ((events & EPOLLOUT) !== 0) this.#writable = true;
    this.#owner.onReady(nowMs);
  }

  /** Reads up to `length` bytes into the arena: the count, {@linkcode TCP_END}, {@linkcode TCP_AGAIN} or {@linkcode TCP_BROKEN}. */
  read(offset: number, length: number): number {
    if (this.#fd < 0) return TCP_BROKEN;
    const count = this.#libc.recv(this.#fd, offset, length);
    if (count < 0) {
      if (count !== -EAGAIN) return TCP_BROKEN;
      this.#readable = false;
      return TCP_AGAIN;
    }
    if (count > 0 && count < length && !this.#endAnnounced) this.#readable = false;
    return count;
  }

  /** Writes: the count taken (which may be less), {@linkcode TCP_AGAIN} or {@linkcode TCP_BROKEN}. */
  write(offset: number, length: number): number {
    if (this.#fd < 0) return TCP_BROKEN;
    const count = this.#libc.send(this.#fd, offset, length);
    if (count < 0) {
      if (count !== -EAGAIN) return TCP_BROKEN;
      this.#writable = false;
      return TCP_AGAIN;
    }
    if (count < length) this.#writable = false;
    return count;
  }

  /** Sends FIN; reading goes on. */
  shutdownWrite(): void {
    if (this.#fd >= 0) this.#libc.shutdown(this.#fd, SHUT_WR);
  }

  /** Sends RST and forgets what was queued. */
  reset(): void {
    if (this.#fd >= 0) this.#libc.setLingerZero(this.#fd);
    this.close();
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#reactor.remove(this.#fd, this.#token);
    this.#libc.close(this.#fd);
    this.#fd = -1;
    this.#readable = false;
    this.#writable = false;
  }

  #finishConnecting(events: number, nowMs: number): void {
    const errno = this.#libc.getsockoptInt(this.#fd, SOL_SOCKET, SO_ERROR);
    if (errno !== 0 || (events & EPOLLERR) !== 0) {
      this.close();
      this.#owner.onError(errno > 0 ? errno : 111, nowMs);
      return;
    }
    if ((events & EPOLLOUT) === 0) return;
    this.#isConnecting = false;
    // The other end may have spoken and ended by now: these edges come only once.
    if ((events & (EPOLLRDHUP | EPOLLHUP)) !== 0) this.#endAnnounced = true;
    this.#owner.onConnected(nowMs);
  }
}

/** Connections accepted in one turn from one listener. */
const ACCEPTS_PER_TURN = 64;
const BACKLOG = 1024;
const ACCEPT_RETRY_MS = 100;

/** A local TCP listener. `onAccept` gets a descriptor that it must adopt or close, and the slot with the address of the other end. */
export class TcpListener implements EventSource {
  readonly #reactor: Reactor;
  readonly #fd: number;
  readonly #token: number;
  readonly #slot: number;
  /** Where accept writes the address of the new connection's peer. */
  readonly #peerSlot: number;
  readonly #onAccept: (fd: number, peerSlot: number) => void;
  /** Out of descriptors: the backlog waits this long before the next try. */
  readonly #retry = new Timer(() => this.pause(false));
  #paused = false;

  /** Binds and listens. Throws {@linkcode PosternError} naming the address. */
  constructor(reactor: Reactor, layout: ArenaLayout, endpoint: IpEndpoint, onAccept: (fd: number, peerSlot: number) => void) {
    const { libc } = reactor;
    this.#reactor = reactor;
    this.#onAccept = onAccept;
    this.#slot = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.#peerSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
    const family = writeSockaddr(layout.arena, this.#slot, endpoint);
    if (family === 0) throw new PosternError(`not an IP address: ${endpoint.address}`, { code: "bind", exitCode: 2 });
    this.#fd = libc.socket(family, 1);
    libc.setsockoptInt(this.#fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family === AF_INET6) libc.setsockoptInt(this.#fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    let failed = this.#fd < 0 ? this.#fd : libc.bind(this.#fd, this.#slot, sockaddrBytes(layout.arena, this.#slot));
    if (failed >= 0) failed = libc.listen(this.#fd, BACKLOG);
    if (failed < 0) {
      if (this.#fd >= 0) libc.close(this.#fd);
      throw new PosternError(`cannot listen on TCP ${formatEndpoint(endpoint)}: ${errnoText(-failed)}`, {
        code: "bind",
        hint: failed === -98
          ? "another process uses this port: choose another, or port 0 for any free one"
          : "check the address with `ip address`",
      });
    }
    libc.getsockname(this.#fd, this.#slot);
    this.#token = reactor.add(this.#fd, EPOLLIN, this);
  }

  get bound(): IpEndpoint {
    const endpoint = readSockaddr(this.#reactor.libc.arena, this.#slot);
    if (endpoint === null) throw new Error("postern: internal error: listener without an address");
    return endpoint;
  }

  onEvents(_events: number, nowMs: number): void {
    for (let i = 0; i < ACCEPTS_PER_TURN; i++) {
      const fd = this.#reactor.libc.accept(this.#fd, this.#peerSlot);
      if (fd >= 0) {
        this.#onAccept(fd, this.#peerSlot);
        continue;
      }
      if (fd === -EMFILE || fd === -ENFILE) {
        this.pause(true);
        this.#reactor.setTimer(this.#retry, nowMs + ACCEPT_RETRY_MS);
      }
      return;
    }
  }

  /** Leaves new connections in the kernel's backlog, or takes them again. */
  pause(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#reactor.modify(this.#fd, paused ? 0 : EPOLLIN, this.#token);
  }

  close(): void {
    this.#reactor.cancelTimer(this.#retry);
    this.#reactor.remove(this.#fd, this.#token);
    this.#reactor.libc.close(this.#fd);
  }
}
