/**
 * {@linkcode ProcessNative} and {@linkcode HardeningNative} over the C library. For the main isolate: its thread is the one whose
 * capabilities are limited and which executes the program anew.
 */
import type { Arena } from "../../src/core/quic/engine.ts";
import { MACHINE } from "../../src/io/native_machine.ts";
import type { CapabilityName, HardeningNative, PeerCredentials, ProcessNative } from "../../src/io/native_process.ts";
import { HARDENING_SYMBOLS, PROCESS_SYMBOLS } from "./symbols.ts";

const SOL_SOCKET = 1, SO_PEERCRED = 17, SO_PEERGROUPS = 59;
const AF_UNIX = 1,
  SOCK_STREAM = 1,
  SOCK_DGRAM = 2,
  SOCK_CLOEXEC = 0o2000000,
  SOCK_NONBLOCK = 0o4000,
  MSG_NOSIGNAL = 0x4000,
  MSG_DONTWAIT = 0x40;
const O_RDONLY = 0, O_RDWR = 2, O_CREAT = 0o100, O_NOFOLLOW = MACHINE.openNoFollow, O_CLOEXEC = 0o2000000;
const LOCK_EX = 2, LOCK_NB = 4;
const CLOCK_MONOTONIC = 1;
const PR_SET_DUMPABLE = 4,
  PR_SET_NAME = 15,
  PR_CAPBSET_READ = 23,
  PR_CAPBSET_DROP = 24,
  PR_SET_NO_NEW_PRIVS = 38,
  PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_RAISE = 2n, PR_CAP_AMBIENT_CLEAR_ALL = 4n;
const CAPABILITY_VERSION_3 = 0x2008_0522;
/** More groups than any account has; the kernel's own limit is 65,536. */
const GROUPS_MAX = 4096;
const EINVAL = 22;
/** More than any file of /proc that is read here. */
const SYSTEM_FILE_BYTES_MAX = 1 << 20;
const SYSTEM_FILE_BYTES_FIRST = 4096;
/** capabilities(7). */
const CAPABILITIES: Readonly<Record<CapabilityName, number>> = {
  net_bind_service: 10,
  net_admin: 12,
  net_raw: 13,
  ipc_lock: 14,
  sys_admin: 21,
};

const encoder = new TextEncoder();

type ProcessSymbols = Deno.StaticForeignLibraryInterface<typeof PROCESS_SYMBOLS>;
type HardeningSymbols = Deno.StaticForeignLibraryInterface<typeof HARDENING_SYMBOLS>;
/** What both have. */
type FileSymbols = Pick<HardeningSymbols, "open" | "read" | "close" | "__errno_location">;

/** Binds the C library. `arena` is the one in which epoll events are written. */
export function createProcessNative(arena: Arena): ProcessNative {
  const c = loadedProcess ??= Deno.dlopen(LIBC, PROCESS_SYMBOLS).symbols;
  const result = errnoReader(c);
  return {
    epollWaitLater: (epoll, events, maximum, timeoutMs) => c.epoll_wait(epoll, arena.address + BigInt(events), maximum, timeoutMs),
    peerCredentials: (fd) => readPeerCredentials(c, fd),
    lockFile(path) {
      const fd = result(c.open(cString(path), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600));
      if (fd < 0) return fd;
      const locked = result(c.flock(fd, LOCK_EX | LOCK_NB));
      if (locked < 0) c.close(fd);
      return locked < 0 ? locked : fd;
    },
    unlockFile: (fd) => void c.close(fd),
    monotonicUsec() {
      const time = new BigInt64Array(2);
      c.clock_gettime(CLOCK_MONOTONIC, new Uint8Array(time.buffer));
      return Number(time[0]) * 1e6 + Math.floor(Number(time[1]) / 1000);
    },
    readSystemFile: (path) => readSystemFile(c, path),
    countSystemFolder(path) {
      const folder = c.opendir(cString(path));
      if (folder === null) return null;
      let count = -2; // "." and ".."
      while (c.readdir(folder) !== null) count++;
      c.closedir(folder);
      return count;
    },
    sendToUnix(path, message) {
      const address = unixAddress(path);
      if (address === null) return -EINVAL;
      const fd = result(c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      if (fd < 0) return fd;
      const bytes = encoder.encode(message);
      const sent = result(c.sendto(fd, bytes, BigInt(bytes.length), MSG_NOSIGNAL | MSG_DONTWAIT, address, address.length));
      c.close(fd);
      return Math.min(sent, 0);
    },
    socketPair() {
      const ends = new Int32Array(2);
      const made = result(c.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
      return made < 0 ? made : [ends[0] ?? -1, ends[1] ?? -1];
    },
  };
}

/** Binds what limits the process. Needs no arena: it runs before anything else is built. */
export function createHardeningNative(): HardeningNative {
  const c: HardeningSymbols = Deno.dlopen(LIBC, HARDENING_SYMBOLS).symbols;
  const result = errnoReader(c);
  const prctl = (option: number, a: bigint, b = 0n) => result(c.prctl(option, a, b, 0n, 0n));
  return {
    readSystemFile: (path) => readSystemFile(c, path),
    capabilityMask: (names) => names.reduce((mask, name) => mask | 1n << BigInt(CAPABILITIES[name]), 0n),
    setNoNewPrivileges: () => prctl(PR_SET_NO_NEW_PRIVS, 1n),
    setDumpable: (on) => prctl(PR_SET_DUMPABLE, on ? 1n : 0n),
    limitCapabilities(keep) {
      const kept = keep.map((name) => CAPABILITIES[name]);
      // Without CAP_SETPCAP the bounding set stays; no-new-privileges makes it harmless, so the result does not matter.
      for (let number = 0; prctl(PR_CAPBSET_READ, BigInt(number)) >= 0; number++) {
        if (!kept.some((wanted) => wanted === number)) prctl(PR_CAPBSET_DROP, BigInt(number));
      }
      prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
      const mask = kept.reduce((bits, number) => bits | 1 << number, 0) >>> 0;
      // Effective, permitted, inheritable of capabilities 0 to 31, then of 32 to 63.
      const failed = result(c.capset(bytesOf([CAPABILITY_VERSION_3, 0]), bytesOf([mask, mask, mask, 0, 0, 0])));
      if (failed < 0) return failed;
      for (const number of kept) {
        const raised = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, BigInt(number));
        if (raised < 0) return raised;
      }
      return 0;
    },
    setName(name) {
      const text = cString(name.slice(0, 15));
      const address = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(text)));
      const named = prctl(PR_SET_NAME, address);
      return text.length > 0 ? named : 0;
    },
    execSelf(args, environment) {
      const argv = pointerTable(args), envp = pointerTable(environment);
      const failed = result(c.execve(cString("/proc/self/exe"), argv.table, envp.table));
      // Named once more, so that the strings are not collected before the call.
      return argv.strings.length + envp.strings.length > 0 ? failed : 0;
    },
  };
}

/** The C library is never unloaded, so no handle is ever closed. */
const LIBC = "libc.so.6";
let loadedProcess: ProcessSymbols | null = null;

function errnoReader(c: FileSymbols): (n: number) => number {
  const pointer = c.__errno_location();
  if (pointer === null) throw new Error("postern: internal error: no errno");
  const errno = new Deno.UnsafePointerView(pointer);
  return (n) => n >= 0 ? n : -errno.getInt32(0);
}

function readSystemFile(c: FileSymbols, path: string): Uint8Array | null {
  const fd = c.open(cString(path), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return null;
  // Files of /proc have no size beforehand.
  let bytes = new Uint8Array(SYSTEM_FILE_BYTES_FIRST);
  let length = 0, count = 0;
  do {
    if (length === bytes.length) bytes = grown(bytes);
    count = c.read(fd, bytes.subarray(length), BigInt(bytes.length - length));
    length += Math.max(count, 0);
  } while (count > 0 && length < SYSTEM_FILE_BYTES_MAX);
  c.close(fd);
  return count < 0 ? null : bytes.slice(0, length);
}

function grown(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bytes.length * 2);
  larger.set(bytes);
  return larger;
}

function readPeerCredentials(c: ProcessSymbols, fd: number): PeerCredentials | null {
  const credentials = new Uint32Array(3);
  const length = new Uint32Array([12]);
  if (c.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, viewOf(credentials), viewOf(length)) < 0) return null;
  const [pid = 0, uid = 0, gid = 0] = credentials;
  // Pid 0 and the overflow ids come from a connection that no process of our namespaces made.
  if (pid === 0 || uid === 0xffff_ffff) return null;
  const groups = new Uint32Array(GROUPS_MAX);
  length[0] = groups.byteLength;
  const known = c.getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, viewOf(groups), viewOf(length)) === 0;
  return { pid, uid, gid, groups: known ? [...groups.subarray(0, (length[0] ?? 0) / 4)] : [] };
}

/** A sockaddr_un, exactly as long as its name; null when the name does not fit. */
function unixAddress(path: string): Uint8Array<ArrayBuffer> | null {
  const name = encoder.encode(path);
  const isAbstract = path.startsWith("@");
  if (name.length === 0 || name.length > 107 || name.includes(0)) return null;
  const address = new Uint8Array(2 + name.length + (isAbstract ? 0 : 1));
  address[0] = AF_UNIX;
  address.set(name, 2);
  if (isAbstract) address[2] = 0;
  return address;
}

function viewOf(words: Uint32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer);
}

function bytesOf(words: readonly number[]): Uint8Array<ArrayBuffer> {
  return viewOf(new Uint32Array(words));
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}

/** A null-terminated table of null-terminated strings. `strings` must stay referenced as long as the table is used. */
function pointerTable(
  texts: readonly Uint8Array[],
): { readonly table: Uint8Array<ArrayBuffer>; readonly strings: readonly Uint8Array[] } {
  const strings = texts.map((text) => {
    const terminated = new Uint8Array(text.length + 1);
    terminated.set(text);
    return terminated;
  });
  const addresses = strings.map((text) => BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(text))));
  return { table: new Uint8Array(new BigUint64Array([...addresses, 0n]).buffer), strings };
}
