/** {@linkcode DeviceCalls} over the C library, for the isolate that calls it: errno belongs to its thread. */
import type { Arena } from "../../src/core/quic/engine.ts";
import type { DeviceCalls } from "../../src/io/native.ts";
import { AddressTable, big } from "../address.ts";
import { DEVICE_SYMBOLS } from "./symbols.ts";

const O_RDWR_NONBLOCK_CLOEXEC = 0o2 | 0o4000 | 0o2000000;
const EAGAIN = 11;

/** Binds the C library's calls for devices to `arena`. */
export function createDeviceCalls(arena: Arena): DeviceCalls {
  const c = Deno.dlopen("libc.so.6", DEVICE_SYMBOLS).symbols;
  const address = new AddressTable(arena);
  const errnoPointer = c.__errno_location();
  if (errnoPointer === null) throw new Error("postern: internal error: no errno");
  const errno = new Deno.UnsafePointerView(errnoPointer);
  const result = (n: number) => n >= 0 ? n : -(errno.getInt32(0) || EAGAIN);
  return {
    open: (path) => result(c.open(address.at(path), O_RDWR_NONBLOCK_CLOEXEC)),
    ioctl: (fd, request, argument) => result(c.ioctl(fd, big(request), address.at(argument))),
    read: (fd, offset, length) => result(c.read(fd, address.at(offset), big(length))),
    write: (fd, offset, length) => result(c.write(fd, address.at(offset), big(length))),
    addressOf: (offset) => address.at(offset),
  };
}
