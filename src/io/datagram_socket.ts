/**
 * A small UDP socket that is connected to one address: the kernel drops what comes from elsewhere. For flows, of which there
 * are many with little traffic each; `udp_socket` is for the few that carry much.
 */
import type { Libc } from "./native.ts";
import { EPOLLERR, EPOLLIN, type EventSource, type Reactor } from "./reactor.ts";
import { sockaddrBytes } from "./sockaddr.ts";

const SOL_SOCKET = 1, SO_ERROR = 4;
const EAGAIN = 11, EINTR = 4, ENOBUFS = 105;

/** The datagram was not taken because the kernel has no room now. */
export const DATAGRAM_AGAIN = -1;

/** What happens on the socket. */
export interface DatagramOwner {
  /** Something can be read. It is called again in the next turn while that is so. */
  onReadable(nowMs: number): void;
  /** The other end cannot be reached, with a positive errno; 111 says that nobody listens there. The socket stays open. */
  onError(errno: number, nowMs: number): void;
}

export class DatagramSocket implements EventSource {
  readonly #reactor: Reactor;
  readonly #libc: Libc;
  readonly #owner: DatagramOwner;
  #fd: number;
  #token = -1;

  private constructor(reactor: Reactor, fd: number, owner: DatagramOwner) {
    this.#reactor = reactor;
    this.#libc = reactor.libc;
    this.#fd = fd;
    this.#owner = owner;
    this.#token = reactor.add(fd, EPOLLIN, this);
  }

  /** Opens a socket to the address in the slot. Returns it or a positive errno. */
  static connect(reactor: Reactor, addressSlot: number, owner: DatagramOwner): DatagramSocket | number {
    const { libc } = reactor;
    const fd = libc.socket(libc.arena.bytes[addressSlot] as number, 2);
    if (fd < 0) return -fd;
    const failed = libc.connect(fd, addressSlot, sockaddrBytes(libc.arena, addressSlot));
    if (failed < 0) {
      libc.close(fd);
      return -failed;
    }
    const socket = new DatagramSocket(reactor, fd, owner);
    if (socket.#token >= 0) return socket;
    libc.close(fd);
    return -socket.#token;
  }

  onEvents(events: number, nowMs: number): void {
    if (this.#fd < 0) return;
    if ((events & EPOLLERR) !== 0) {
      const errno = this.#libc.getsockoptInt(this.#fd, SOL_SOCKET, SO_ERROR);
      if (errno > 0) this.#owner.onError(errno, nowMs);
    }
    if (this.#fd >= 0 && (events & EPOLLIN) !== 0) this.#owner.onReadable(nowMs);
  }

  /** Sets an option (setsockopt(2)). Returns 0 or a positive errno. */
  setOption(level: number, option: number, value: number): number {
    return this.#fd < 0 ? 0 : -Math.min(0, this.#libc.setsockoptInt(this.#fd, level, option, value));
  }

  /** Sends one datagram, which may be empty. Returns 0, {@linkcode DATAGRAM_AGAIN}, or a positive errno. */
  send(offset: number, length: number): number {
    if (this.#fd < 0) return DATAGRAM_AGAIN;
    const sent = this.#libc.send(this.#fd, offset, length);
    if (sent >= 0) return 0;
    return sent === -EAGAIN || sent === -ENOBUFS ? DATAGRAM_AGAIN : -sent;
  }

  /** Reads one datagram of at most `capacity` bytes (the rest is cut off): its length, or -1 when none waits. */
  receive(offset: number, capacity: number, nowMs: number): number {
    if (this.#fd < 0) return -1;
    const count = this.#libc.recv(this.#fd, offset, capacity);
    if (count >= 0) return count;
    if (count !== -EAGAIN && count !== -EINTR) this.#owner.onError(-count, nowMs);
    return -1;
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#reactor.remove(this.#fd, this.#token);
    this.#libc.close(this.#fd);
    this.#fd = -1;
  }
}
