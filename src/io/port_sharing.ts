/**
 * Several sockets of one process on one port, and a program in the kernel that picks one of them for each packet (socket(7),
 * `SO_REUSEPORT` and `SO_ATTACH_REUSEPORT_CBPF`).
 */
import { AF_INET } from "./sockaddr.ts";
import type { Libc } from "./native.ts";

const SOL_SOCKET = 1, SO_REUSEPORT = 15, SO_ATTACH_REUSEPORT_CBPF = 51, SOCK_DGRAM = 2;
const SOCK_FILTER_BYTES = 8, SOCK_FPROG_BYTES = 16;
/** `BPF_RET | BPF_K` 0: always the first socket. */
const SMALLEST_PROGRAM = Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 0);

/** Bytes of arena that {@linkcode attachProgram} needs for a program of `bytes`. */
export function programRoom(bytes: number): number {
  return SOCK_FPROG_BYTES + bytes;
}

/** From now on others may bind the socket's port too. Negative: the kernel's error. */
export function sharePort(libc: Libc, fd: number): number {
  return libc.setsockoptInt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

/** Has the kernel run `program` for all sockets of the port; `at` is the offset of {@linkcode programRoom}. Negative: the kernel's error. */
export function attachProgram(libc: Libc, fd: number, program: Uint8Array, at: number): number {
  const { bytes, view, address } = libc.arena;
  const filtersAt = at + SOCK_FPROG_BYTES;
  bytes.set(program, filtersAt);
  view.setBigUint64(at, BigInt(program.length / SOCK_FILTER_BYTES), true);
  view.setBigUint64(at + 8, address + BigInt(filtersAt), true);
  return libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, at, SOCK_FPROG_BYTES);
}

/** Whether this kernel does both. Sandboxes that play a kernel often do not. `at` is the offset of {@linkcode SHARING_TRIAL_BYTES}. */
export function canSharePorts(libc: Libc, at: number): boolean {
  const fd = libc.socket(AF_INET, SOCK_DGRAM);
  if (fd < 0) return false;
  const can = sharePort(libc, fd) >= 0 && attachProgram(libc, fd, SMALLEST_PROGRAM, at) >= 0;
  libc.close(fd);
  return can;
}

export const SHARING_TRIAL_BYTES = programRoom(SMALLEST_PROGRAM.length);
