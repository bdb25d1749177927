/**
 * The way of the native library into the process: file (on disk or embedded in the binary) → its SHA-256 is the one that
 * this source tree was built with → a sealed memory file → a path that any isolate of this process can `Deno.dlopen`.
 *
 * The memory file cannot be changed any more, so what was checked is what runs, and nothing is written to a disk where
 * somebody else could put another file first. Everything here is synchronous: a worker without an event loop may call it,
 * but it need not, since the path holds in all isolates.
 */
import { createHash } from "node:crypto";
import { messageOf, PosternError } from "../src/base/mod.ts";
import { MACHINE } from "../src/io/native_machine.ts";
import { LIBRARY_ABI_VERSION, LIBRARY_DIGESTS } from "./digest.ts";

/** The library, checked and ready to be opened. */
export interface NativeLibrary {
  /** For `Deno.dlopen`, in this process only. */
  readonly path: string;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** Of the library for this processor, lower-case hexadecimal. */
export const LIBRARY_SHA256: string = LIBRARY_DIGESTS[MACHINE.name];
const LIBRARY = `lib/${MACHINE.name}/libpostern_native.so`;

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
/** Since Linux 6.3; some hosts (`vm.memfd_noexec=2`) allow no memory file without it. It does not stop dlopen. */
const MFD_NOEXEC_SEAL = 8;
const F_ADD_SEALS = 1033;
/** F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE: nobody can change the file or its seals. */
const SEALS = 0xf;

const RTLD_NOW = 2;
const RTLD_NODELETE = 0x1000;

const LIBC = {
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" }, // name, flags
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" }, // fd, bytes, count
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" }, // fd, command, argument
  close: { parameters: ["i32"], result: "i32" }, // fd
  dlopen: { parameters: ["buffer", "i32"], result: "pointer" }, // path, flags
} as const;

let loaded: NativeLibrary | null = null;

/**
 * The native library of this process; read, checked and sealed at the first call.
 * Throws {@linkcode PosternError}: `native-platform`, `native-missing`, `native-digest` or `native-load`.
 */
export function loadNative(): NativeLibrary {
  loaded ??= loadNativeFrom(new URL(`../${LIBRARY}`, import.meta.url), LIBRARY_SHA256);
  return loaded;
}

/** As {@linkcode loadNative} for a named file and digest, without remembering: for tests of the refusals. */
export function loadNativeFrom(file: URL, sha256: string): NativeLibrary {
  if (Deno.build.os !== "linux") {
    throw new PosternError(`postern has no native library for ${Deno.build.os} on ${Deno.build.arch}`, {
      code: "native-platform",
      hint: "run it on Linux on x86-64 or arm64 with glibc 2.34 or newer",
    });
  }
  const bytes = readLibrary(file);
  const found = createHash("sha256").update(bytes).digest("hex");
  if (found !== sha256) {
    throw new PosternError(`the native library is not the one that belongs to this program: SHA-256 ${found}, expected ${sha256}`, {
      code: "native-digest",
      hint: `restore ${LIBRARY}, or rebuild it with "make native"`,
    });
  }
  const path = seal(bytes);
  keepLoaded(path);
  checkVersion(path);
  return { path, sha256 };
}

function readLibrary(file: URL): Uint8Array<ArrayBuffer> {
  try {
    // Twice as fast as Deno.readFileSync, which does not ask for the size first. A file that is embedded in the binary has a size
    // by its name only, not by its descriptor.
    const bytes = new Uint8Array(Deno.statSync(file).size);
    using source = Deno.openSync(file);
    for (let done = 0; done < bytes.length;) {
      const count = source.readSync(bytes.subarray(done));
      if (count === null) break;
      done += count;
    }
    return bytes;
  } catch (cause) {
    throw new PosternError(`the native library cannot be read: ${messageOf(cause)}`, {
      code: "native-missing",
      hint: `restore ${LIBRARY}, or build it with "make native"; the program needs --allow-read for it`,
      cause,
    });
  }
}

/** Copies the bytes into a sealed memory file and returns its path. The descriptor stays open: it is the file's only name. */
function seal(bytes: Uint8Array<ArrayBuffer>): string {
  const { memfd_create, write, fcntl, close } = openLibc().symbols;
  const name = new TextEncoder().encode("postern_native\0");
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  let fd = memfd_create(name, flags);
  if (fd < 0) fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
  if (fd < 0) throw loadError("the system gives no memory file (memfd_create)");
  for (let done = 0; done < bytes.length;) {
    const rest = bytes.subarray(done);
    const written = Number(write(fd, rest, BigInt(rest.length)));
    if (written <= 0) {
      close(fd);
      throw loadError("the memory file cannot be written");
    }
    done += written;
  }
  if (fcntl(fd, F_ADD_SEALS, SEALS) !== 0) {
    close(fd);
    throw loadError("the memory file cannot be sealed");
  }
  return `/proc/self/fd/${fd}`;
}

/**
 * Loads the library for the life of the process. Deno unmaps it with the last isolate that opened it, and BoringSSL's per-thread
 * destructors would then jump into nothing when a thread ends.
 */
function keepLoaded(path: string): void {
  openLibc().symbols.dlopen(new TextEncoder().encode(path + "\0"), RTLD_NOW | RTLD_NODELETE);
}

/** Opens the library once, so that a system that cannot run it says so here. It is never closed: threads may be inside. */
function checkVersion(path: string): void {
  let version: number;
  try {
    version = Deno.dlopen(path, { postern_abi_version: { parameters: [], result: "u32" } }).symbols.postern_abi_version();
  } catch (cause) {
    throw loadError(`the native library cannot be loaded: ${messageOf(cause)}`, cause);
  }
  if (version !== LIBRARY_ABI_VERSION) {
    throw loadError(`the native library has interface ${version}, this program needs ${LIBRARY_ABI_VERSION}`);
  }
}

function openLibc(): Deno.DynamicLibrary<typeof LIBC> {
  try {
    return Deno.dlopen("libc.so.6", LIBC);
  } catch (cause) {
    throw loadError(`the C library cannot be opened: ${messageOf(cause)}`, cause);
  }
}

function loadError(message: string, cause?: unknown): PosternError {
  return new PosternError(message, {
    code: "native-load",
    hint: "postern needs Linux on x86-64 or arm64 with glibc 2.34 or newer (not musl), and --allow-ffi",
    ...(cause === undefined ? {} : { cause }),
  });
}
