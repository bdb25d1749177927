/**
 * A listening Unix socket whose callers the kernel identifies. It is bound under umask 177, so there is no moment in which
 * somebody else could connect; a lock beside it makes sure that a live socket is never replaced and a stale one always can be.
 */
import { messageOf, PosternError } from "../../base/mod.ts";
import { errnoText } from "../errno.ts";
import type { PeerCredentials } from "../native_process.ts";
import { acceptLoop } from "./accept_loop.ts";
import { FdStream } from "./fd_stream.ts";
import type { Poller, Watch } from "./poller.ts";
import type { ByteStream } from "./stream.ts";

const AF_UNIX = 1, SOCK_STREAM = 1;
const EAGAIN = 11, EADDRINUSE = 98, ECONNREFUSED = 111, ENOENT = 2;
const PATH_BYTES_MAX = 107;
const BACKLOG = 64;

export interface UnixListenerOptions {
  readonly path: string;
  /** Others than this user may connect (and are then judged by their credentials): socket 0666, folder 0711, else 0600 and 0700. */
  readonly isShared: boolean;
}

export interface UnixConnection {
  readonly stream: ByteStream;
  readonly credentials: PeerCredentials;
}

export class UnixListener {
  readonly path: string;
  readonly #poller: Poller;
  readonly #watch: Watch;
  readonly #lockFd: number;
  readonly #inode: number | null;
  #closed = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(poller: Poller, path: string, watch: Watch, lockFd: number) {
    this.#poller = poller;
    this.path = path;
    this.#watch = watch;
    this.#lockFd = lockFd;
    this.#inode = Deno.lstatSync(path).ino;
  }

  /** Binds the socket. Throws a PosternError: `socket-live` when another process serves it, `socket` for everything else. */
  static open(poller: Poller, options: UnixListenerOptions): UnixListener {
    const { path } = options;
    const address = writeUnixAddress(poller, path);
    prepareFolder(path, options.isShared);
    const lockFd = poller.native.lockFile(`${path}.lock`);
    if (lockFd === -EAGAIN) throw liveSocket(path);
    if (lockFd < 0) throw socketError(path, `its lock file cannot be opened: ${errnoText(-lockFd)}`);
    try {
      removeStale(poller, path, address);
      return new UnixListener(poller, path, bind(poller, path, address, options.isShared), lockFd);
    } catch (error) {
      poller.native.unlockFile(lockFd);
      throw error;
    }
  }

  /**
   * Hands on connections until {@linkcode close}. A caller whose credentials the kernel does not know is dropped, and so is one over
   * `connectionsMax`; `onDropped` hears of it.
   */
  serve(connectionsMax: number, onConnection: (connection: UnixConnection) => Promise<void>, onDropped: () => void): void {
    let open = 0;
    const take = (fd: number) => {
      const credentials = open < connectionsMax ? this.#poller.native.peerCredentials(fd) : null;
      const stream = FdStream.open(this.#poller, fd);
      if (credentials === null || stream === null) {
        stream?.close();
        onDropped();
        return;
      }
      open++;
      onConnection({ stream, credentials }).finally(() => {
        stream.close();
        open--;
      });
    };
    this.#ended = acceptLoop(this.#poller, this.#watch, () => this.#closed, take, onDropped);
  }

  /** Stops accepting and removes the socket, if the path still is the one that was bound. Open connections go on. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (Deno.lstatSync(this.path).ino === this.#inode) Deno.removeSync(this.path);
    } catch {
      // Removed by somebody else: then it is gone, which is what was wanted.
    }
    this.#poller.closeWatched(this.#watch);
    await this.#ended;
    this.#poller.native.unlockFile(this.#lockFd);
  }
}

/** Writes a sockaddr_un to the bounce buffer and returns its length. */
function writeUnixAddress(poller: Poller, path: string): number {
  const name = new TextEncoder().encode(path);
  if (!path.startsWith("/")) throw socketError(path, "the path is not absolute");
  if (name.length > PATH_BYTES_MAX) throw socketError(path, `the path is longer than ${PATH_BYTES_MAX} bytes`);
  if (name.includes(0)) throw socketError(path, "the path has a NUL");
  const { bytes } = poller.libc.arena;
  bytes.fill(0, poller.bounceAt, poller.bounceAt + 2 + PATH_BYTES_MAX + 1);
  bytes[poller.bounceAt] = AF_UNIX;
  bytes.set(name, poller.bounceAt + 2);
  return 2 + name.length + 1;
}

function prepareFolder(path: string, isShared: boolean): void {
  const folder = path.slice(0, path.lastIndexOf("/")) || "/";
  const mask = Deno.umask(isShared ? 0o066 : 0o077);
  try {
    Deno.mkdirSync(folder, { recursive: true });
    const stat = Deno.statSync(folder);
    const mode = stat.mode ?? 0;
    // In a folder that everybody may write and nobody protects (no sticky bit), anyone could put another socket at our path.
    if ((mode & 0o022) !== 0 && (mode & 0o1000) === 0) throw socketError(path, `others may write in its folder ${folder}`);
    if (isShared && (mode & 0o011) !== 0o011) Deno.chmodSync(folder, (mode & 0o7777) | 0o011);
  } catch (error) {
    if (error instanceof PosternError) throw error;
    throw socketError(path, `its folder cannot be made: ${messageOf(error)}`);
  } finally {
    Deno.umask(mask);
  }
}

/** Removes what an ended process left behind. The lock is held, so nobody else is doing the same. */
function removeStale(poller: Poller, path: string, addressBytes: number): void {
  let found: Deno.FileInfo;
  try {
    found = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw socketError(path, messageOf(error));
  }
  if (!found.isSocket) throw socketError(path, "there is something at that path which is not a socket");
  const { libc } = poller;
  const probe = libc.socket(AF_UNIX, SOCK_STREAM);
  if (probe < 0) throw socketError(path, errnoText(-probe));
  const answer = libc.connect(probe, poller.bounceAt, addressBytes);
  libc.close(probe);
  if (answer !== -ECONNREFUSED && answer !== -ENOENT) throw liveSocket(path);
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw socketError(path, `the stale socket cannot be removed: ${messageOf(error)}`);
    }
  }
}

function bind(poller: Poller, path: string, addressBytes: number, isShared: boolean): Watch {
  const { libc } = poller;
  const fd = libc.socket(AF_UNIX, SOCK_STREAM);
  if (fd < 0) throw socketError(path, errnoText(-fd));
  const mask = Deno.umask(0o177);
  const bound = libc.bind(fd, poller.bounceAt, addressBytes);
  Deno.umask(mask);
  if (bound < 0) {
    libc.close(fd);
    throw bound === -EADDRINUSE ? liveSocket(path) : socketError(path, errnoText(-bound));
  }
  if (isShared) Deno.chmodSync(path, 0o666);
  const listening = libc.listen(fd, BACKLOG);
  const watch = listening < 0 ? null : poller.watch(fd);
  if (watch === null) {
    libc.close(fd);
    throw socketError(path, listening < 0 ? errnoText(-listening) : "it cannot be watched");
  }
  return watch;
}

function liveSocket(path: string): PosternError {
  return new PosternError(`another process serves the admin socket ${path}`, {
    code: "socket-live",
    hint: "end that process, or give this one another --unix-socket-path",
  });
}

function socketError(path: string, why: string): PosternError {
  return new PosternError(`cannot serve the admin socket ${path}: ${why}`, {
    code: "socket",
    hint: "give --unix-socket-path a path in a folder that only this user may write",
  });
}
