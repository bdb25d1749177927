/**
 * {@linkcode Libc} over the C library. One object per isolate: errno belongs to the thread that made the call.
 *
 * A failed call's errno is read at once, by a call that cannot fail, so that nothing comes between.
 */
import type { Arena } from "../../src/core/quic/engine.ts";
import type { Libc } from "../../src/io/native.ts";
import { MACHINE } from "../../src/io/native_machine.ts";
import { AddressTable, big } from "../address.ts";
import { LIBC_SYMBOLS } from "./symbols.ts";

const SOCK_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const EAGAIN = 11;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const EPOLL_CLOEXEC = 0o2000000;

/** Bytes of arena that {@linkcode createLibc} needs for itself. */
export const LIBC_SCRATCH_BYTES = 64;

/** Binds the C library to `arena`; `scratch` is the offset of {@linkcode LIBC_SCRATCH_BYTES} bytes that only it uses. */
export function createLibc(arena: Arena, scratch: number): Libc {
  const c = Deno.dlopen("libc.so.6", LIBC_SYMBOLS).symbols;
  const address = new AddressTable(arena);
  const { view } = arena;
  const { epollTokenAt } = MACHINE;
  const valueAt = scratch, lengthAt = scratch + 16, eventAt = scratch + 32;
  const value = address.at(valueAt), length = address.at(lengthAt), event = address.at(eventAt);
  const errnoPointer = c.__errno_location();
  if (errnoPointer === null) throw new Error("postern: internal error: no errno");
  const errno = new Deno.UnsafePointerView(errnoPointer);
  // A failure without a number would look like success: then "try again" is the harmless reading.
  const result = (n: number) => n >= 0 ? n : -(errno.getInt32(0) || EAGAIN);

  return {
    arena,
    socket: (domain, type) => result(c.socket(domain, type | SOCK_NONBLOCK_CLOEXEC, 0)),
    bind: (fd, at, bytes) => result(c.bind(fd, address.at(at), bytes)),
    connect: (fd, at, bytes) => result(c.connect(fd, address.at(at), bytes)),
    listen: (fd, backlog) => result(c.listen(fd, backlog)),
    accept(fd, at) {
      view.setUint32(lengthAt, 28, true);
      return result(c.accept4(fd, address.at(at), length, SOCK_NONBLOCK_CLOEXEC));
    },
    close: (fd) => result(c.close(fd)),
    shutdown: (fd, how) => result(c.shutdown(fd, how)),
    setsockoptInt(fd, level, option, number) {
      view.setInt32(valueAt, number, true);
      return result(c.setsockopt(fd, level, option, value, 4));
    },
    setsockopt: (fd, level, option, at, bytes) => result(c.setsockopt(fd, level, option, address.at(at), bytes)),
    getsockoptInt(fd, level, option) {
      view.setInt32(valueAt, 0, true);
      view.setUint32(lengthAt, 4, true);
      const failed = result(c.getsockopt(fd, level, option, value, length));
      return failed < 0 ? failed : view.getInt32(valueAt, true);
    },
    setLingerZero(fd) {
      view.setInt32(valueAt, 1, true);
      view.setInt32(valueAt + 4, 0, true);
      return result(c.setsockopt(fd, SOL_SOCKET, SO_LINGER, value, 8));
    },
    getsockname(fd, at) {
      view.setUint32(lengthAt, 28, true);
      return result(c.getsockname(fd, address.at(at), length));
    },
    recv: (fd, offset, bytes) => result(c.recv(fd, address.at(offset), big(bytes), MSG_DONTWAIT)),
    send: (fd, offset, bytes) => result(c.send(fd, address.at(offset), big(bytes), MSG_DONTWAIT | MSG_NOSIGNAL)),
    recvmmsg: (fd, headers, count) => result(c.recvmmsg(fd, address.at(headers), count, MSG_DONTWAIT, 0n)),
    sendmmsg: (fd, headers, count) => result(c.sendmmsg(fd, address.at(headers), count, MSG_DONTWAIT)),
    epollCreate: () => result(c.epoll_create1(EPOLL_CLOEXEC)),
    epollControl(epoll, operation, fd, events, token) {
      view.setUint32(eventAt, events, true);
      view.setUint32(eventAt + epollTokenAt, token, true);
      view.setUint32(eventAt + epollTokenAt + 4, 0, true);
      return result(c.epoll_ctl(epoll, operation, fd, event));
    },
    epollWait: (epoll, events, maximum, timeoutMs) => result(c.epoll_wait(epoll, address.at(events), maximum, timeoutMs)),
    eventfd: () => result(c.eventfd(0, EFD_NONBLOCK_CLOEXEC)),
    eventfdSignal: (fd) => result(c.eventfd_write(fd, 1n)),
    eventfdDrain: (fd) => result(c.eventfd_read(fd, value)),
  };
}
