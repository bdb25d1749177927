/**
 * The interfaces that the data plane's sockets need from the operating system, and the TLS end. `ffi/libc` and `ffi/tls`
 * implement them; nothing else in `src` knows that a foreign function is behind them.
 *
 * All calls are synchronous and never block, except {@linkcode Libc.epollWait}. A result below zero is `-errno`.
 */
import type { Arena } from "../core/quic/engine.ts";

/** Linux system calls over arena offsets. Every result below zero is the negated errno. */
export interface Libc {
  readonly arena: Arena;
  /** `domain` 2 IPv4, 10 IPv6, 1 Unix; `type` 1 stream, 2 datagram; always non-blocking and close-on-exec. */
  socket(domain: number, type: number): number;
  bind(fd: number, address: number, length: number): number;
  connect(fd: number, address: number, length: number): number;
  listen(fd: number, backlog: number): number;
  /** Accepts one connection, non-blocking and close-on-exec, its peer's address at `address` (28 bytes). */
  accept(fd: number, address: number): number;
  close(fd: number): number;
  /** `how` 0 read, 1 write, 2 both. */
  shutdown(fd: number, how: number): number;
  setsockoptInt(fd: number, level: number, option: number, value: number): number;
  /** With `length` bytes at `offset` as the value. */
  setsockopt(fd: number, level: number, option: number, offset: number, length: number): number;
  getsockoptInt(fd: number, level: number, option: number): number;
  /** Sets SO_LINGER {1, 0}: the next close sends RST. */
  setLingerZero(fd: number): number;
  getsockname(fd: number, address: number): number;
  recv(fd: number, offset: number, length: number): number;
  /** Never raises SIGPIPE. */
  send(fd: number, offset: number, length: number): number;
  /** `headers` is the offset of `count` struct mmsghdr. */
  recvmmsg(fd: number, headers: number, count: number): number;
  sendmmsg(fd: number, headers: number, count: number): number;
  epollCreate(): number;
  /** `operation` 1 add, 2 delete, 3 modify; `token` comes back in the event's data (low 32 bits). */
  epollControl(epoll: number, operation: number, fd: number, events: number, token: number): number;
  /** Blocks up to `timeoutMs` (-1 for ever); events are written at `events` (struct epoll_event, see `native_machine.ts`). Returns their count. */
  epollWait(epoll: number, events: number, maximum: number, timeoutMs: number): number;
  eventfd(): number;
  /** Adds 1 to the eventfd. Callable from any isolate. */
  eventfdSignal(fd: number): number;
  /** Resets the eventfd to 0. */
  eventfdDrain(fd: number): number;
}

/** Character devices and their network interfaces: what a TUN device needs beside {@linkcode Libc}. Results below zero are `-errno`. */
export interface DeviceCalls {
  /** Opens for reading and writing, non-blocking and close-on-exec; the path ends with a zero byte at `path`. */
  open(path: number): number;
  /** `argument` is the offset of the structure that `request` (ioctl(2)) takes. */
  ioctl(fd: number, request: number, argument: number): number;
  read(fd: number, offset: number, length: number): number;
  write(fd: number, offset: number, length: number): number;
  /** The address of an offset, for structures that hold a pointer. */
  addressOf(offset: number): bigint;
}
