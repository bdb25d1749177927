/**
 * The interfaces of what the operating system knows and does about processes: who is at the other end of a Unix socket, what this
 * process may do, how it waits for many sockets without a thread for each. `ffi/process` implements them. As in `native.ts` a
 * result below zero is `-errno`, and nothing blocks but {@linkcode ProcessNative.epollWaitLater}, which does so elsewhere.
 */

/** What the kernel recorded when a Unix socket was connected (SO_PEERCRED, SO_PEERGROUPS). */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** The supplementary groups at that time. */
  readonly groups: readonly number[];
}

export interface ProcessNative {
  /** `epoll_wait` in a thread of the runtime's pool: the isolate goes on. `events` is an arena offset, as in `Libc.epollWait`. */
  epollWaitLater(epoll: number, events: number, maximum: number, timeoutMs: number): Promise<number>;
  /** Null when `fd` is not a connected Unix socket. */
  peerCredentials(fd: number): PeerCredentials | null;
  /** Opens (mode 0600, never through a symbolic link) and locks a file for the life of the descriptor; -11 when it is locked. */
  lockFile(path: string): number;
  /** Closes what {@linkcode lockFile} opened, and so unlocks it. */
  unlockFile(fd: number): void;
  /** CLOCK_MONOTONIC in microseconds, the clock of the service manager. */
  monotonicUsec(): number;
  /** Reads a file of /proc, which the runtime refuses to programs with named permissions. Null when it cannot be read. */
  readSystemFile(path: string): Uint8Array | null;
  /** The number of entries of a folder of /proc; null when it cannot be read. */
  countSystemFolder(path: string): number | null;
  /** Sends one datagram to a Unix socket; `path` beginning with `@` is an abstract name. Returns 0 or `-errno`. */
  sendToUnix(path: string, message: string): number;
  /** Two connected stream sockets without a name, non-blocking and close-on-exec; or `-errno`. */
  socketPair(): readonly [number, number] | number;
}

/** Linux capabilities that a role may keep, capabilities(7). */
export type CapabilityName = "net_bind_service" | "net_admin" | "net_raw" | "ipc_lock" | "sys_admin";

/** What binds a process for good. All but {@linkcode setDumpable} hold for the calling thread and what it starts or executes. */
export interface HardeningNative {
  readSystemFile(path: string): Uint8Array | null;
  /** The bits of the capabilities, as /proc/PID/status shows them. */
  capabilityMask(names: readonly CapabilityName[]): bigint;
  setNoNewPrivileges(): number;
  /** Leaves only `keep` in the permitted, effective, inheritable, ambient and (where allowed) bounding sets. */
  limitCapabilities(keep: readonly CapabilityName[]): number;
  /** 0 forbids core dumps, tracing and reading /proc/PID/{mem,environ,...} by others of the same user. For the whole process. */
  setDumpable(on: boolean): number;
  /** Names the calling thread, and with it the process, in lists such as that of ps(1). At most 15 bytes. */
  setName(name: string): number;
  /** Replaces the process image by its own executable. Returns only on failure. */
  execSelf(args: readonly Uint8Array[], environment: readonly Uint8Array[]): number;
}
