/**
 * What the C library's interface has different from one processor to the other, and nothing else does: every other number and struct
 * that the foreign calls use is the same on all of them. `tests/abi/machine_test.ts` asks a C compiler.
 */

/** One processor on Linux with glibc. */
export interface Machine {
  /** As in the names of releases and of the folders in lib. */
  readonly name: "linux-x64" | "linux-arm64";
  /** `sizeof(struct epoll_event)`: packed on x86-64 only. */
  readonly epollEventBytes: number;
  /** Of its `data` the offset; `events` is the first field. */
  readonly epollTokenAt: number;
  /** `O_NOFOLLOW` of open(2). */
  readonly openNoFollow: number;
}

/** By the names that Deno has for them. */
export const MACHINES: Readonly<Record<typeof Deno.build.arch, Machine>> = {
  x86_64: { name: "linux-x64", epollEventBytes: 12, epollTokenAt: 4, openNoFollow: 0o400000 },
  aarch64: { name: "linux-arm64", epollEventBytes: 16, epollTokenAt: 8, openNoFollow: 0o100000 },
};

/** The one that this program runs on. */
export const MACHINE: Machine = MACHINES[Deno.build.arch];
