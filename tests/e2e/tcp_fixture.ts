/**
 * TCP as applications use it, in the test's own process: writing everything, reading to the end, telling a reset from an end,
 * backends whose accepted connections the test holds in its hands, and raw sockets for what Deno cannot do: send a reset at will, and
 * listen without ever accepting.
 */
import { createHash } from "node:crypto";
import { createArena, createLibc, LIBC_SCRATCH_BYTES } from "../../ffi/mod.ts";
import { ArenaLayout, readSockaddr, SOCKADDR_SLOT_BYTES, writeSockaddr } from "../../src/io/mod.ts";

const WAIT_MS = 20_000;

/** How reading from a connection ended. */
export type ReadEnd = "end" | "reset";

/** Fails, with the words, what takes longer. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Writes all of it. */
export async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Reads until the end or a reset. */
export async function readToEnd(
  connection: Deno.Conn,
  ms = WAIT_MS,
): Promise<{ readonly bytes: Uint8Array; readonly end: ReadEnd }> {
  const chunks: Uint8Array[] = [];
  const end = await within(ms, "the end of the connection", drain(connection, (chunk) => void chunks.push(chunk.slice())));
  return { bytes: concat(chunks), end };
}

/** Connects to a port of this machine, says `bytes`, ends, and reads what comes back to its end. */
export async function exchange(port: number, bytes: Uint8Array) {
  using client = await Deno.connect({ hostname: "127.0.0.1", port });
  const writing = writeAll(client, bytes).then(() => client.closeWrite());
  const heard = await readToEnd(client, 60_000);
  await writing.catch(() => {});
  return heard;
}

/** Reads until the end or a reset, handing each chunk over; the chunk is reused. */
export async function drain(connection: Deno.Conn, take: (chunk: Uint8Array) => void): Promise<ReadEnd> {
  const buffer = new Uint8Array(256 * 1024);
  try {
    for (let count; (count = await connection.read(buffer)) !== null;) take(buffer.subarray(0, count));
    return "end";
  } catch (error) {
    if (isReset(error)) return "reset";
    throw error;
  }
}

/** Reads exactly so many bytes. */
export async function readExactly(connection: Deno.Conn, count: number, ms = WAIT_MS): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  const reading = (async () => {
    for (let at = 0; at < count;) {
      const got = await connection.read(bytes.subarray(at));
      if (got === null) throw new Error(`the connection ended after ${at} of ${count} bytes`);
      at += got;
    }
    return bytes;
  })();
  return await within(ms, `${count} bytes`, reading);
}

/** Whether an error of Deno says that the other end reset the connection. */
export function isReset(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe;
}

/** Whether an error of Deno says that we closed it ourselves. */
export function isClosed(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
}

export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** Fails unless these bytes arrived and the connection ended like that; says where the first difference is. */
export function assertArrived(
  got: { readonly bytes: Uint8Array; readonly end: ReadEnd },
  bytes: Uint8Array,
  end: ReadEnd = "end",
): void {
  const length = Math.min(got.bytes.length, bytes.length);
  let same = 0;
  while (same < length && got.bytes[same] === bytes[same]) same++;
  if (same === bytes.length && got.bytes.length === bytes.length && got.end === end) return;
  throw new Error(`expected ${bytes.length} bytes and ${end}, got ${got.bytes.length} and ${got.end}; the first ${same} are right`);
}

/** Bytes that repeat nowhere soon and are the same for the same seed (xorshift32). */
export class Pattern {
  readonly #words: Uint32Array<ArrayBuffer>;
  #state: number;

  constructor(seed: number, chunkBytes = 64 * 1024) {
    this.#words = new Uint32Array(chunkBytes / 4);
    this.#state = (seed * 2_654_435_761 + 1) | 0;
  }

  /** The next chunk; its memory is reused. */
  next(): Uint8Array<ArrayBuffer> {
    let x = this.#state;
    for (let i = 0; i < this.#words.length; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      this.#words[i] = x;
    }
    this.#state = x;
    return new Uint8Array(this.#words.buffer);
  }

  /** `count` bytes in memory of their own. */
  take(count: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const chunk = this.next().subarray(0, count - at);
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }
}

/** Writes `count` bytes of a pattern and gives their SHA-256. `onProgress` hears how many are written. */
export async function writePattern(
  connection: Deno.Conn,
  seed: number,
  count: number,
  onProgress: (written: number) => void = () => {},
): Promise<string> {
  const pattern = new Pattern(seed), hash = createHash("sha256");
  for (let at = 0; at < count;) {
    const chunk = pattern.next().slice(0, count - at);
    hash.update(chunk);
    for (let done = 0; done < chunk.length;) {
      const wrote = await connection.write(chunk.subarray(done));
      done += wrote;
      at += wrote;
      onProgress(at);
    }
  }
  return hash.digest("hex");
}

/** Reads to the end and gives count and SHA-256 of what came. */
export async function hashToEnd(
  connection: Deno.Conn,
): Promise<{ readonly count: number; readonly sha256: string; readonly end: ReadEnd }> {
  const hash = createHash("sha256");
  let count = 0;
  const end = await drain(connection, (chunk) => {
    hash.update(chunk);
    count += chunk.length;
  });
  return { count, sha256: hash.digest("hex"), end };
}

/** What a client says first, so that its connection is known at the backend. */
export const MARK = new Uint8Array([0x21]);

async function beginsWithMark(connection: Deno.Conn): Promise<boolean> {
  const first = new Uint8Array(1);
  try {
    return await connection.read(first) === 1 && first[0] === MARK[0];
  } catch (error) {
    if (isReset(error)) return false;
    throw error;
  }
}

/** A listener of the test. Each accepted connection goes to `serve`, or waits for {@linkcode Backend.next}. */
export class Backend implements AsyncDisposable {
  readonly port: number;
  accepted = 0;
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #waiting: Deno.TcpConn[] = [];
  readonly #accepting: Promise<void>;
  readonly #serving = new Set<Promise<void>>();
  #wake = Promise.withResolvers<void>();

  constructor(serve: ((connection: Deno.TcpConn) => Promise<void>) | null = null, hostname = "127.0.0.1", port = 0) {
    this.#listener = Deno.listen({ hostname, port });
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept(serve);
  }

  /**
   * The next connection that begins with {@linkcode MARK}, which is taken off: a connector also looks at its backends by connecting
   * and going away, and that is nobody's connection.
   */
  async next(ms = WAIT_MS): Promise<Deno.TcpConn> {
    for (const deadline = performance.now() + ms;;) {
      const first = this.#waiting.shift();
      if (first === undefined) await within(deadline - performance.now(), "a connection at the backend", this.#wake.promise);
      else if (await beginsWithMark(first)) return first;
      else close(first);
    }
  }

  /** Fails when a connection that begins with {@linkcode MARK} arrives within this time. */
  async nothing(ms = 300): Promise<void> {
    const came = await this.next(ms).catch(() => null);
    if (came !== null) throw new Error("a connection reached the backend");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
    await this.#accepting;
    await Promise.all(this.#serving);
  }

  async #accept(serve: ((connection: Deno.TcpConn) => Promise<void>) | null): Promise<void> {
    for (;;) {
      let connection: Deno.TcpConn;
      try {
        connection = await this.#listener.accept();
      } catch (error) {
        // One that was reset while it waited is none; a closed listener is the end.
        if (error instanceof Deno.errors.NotConnected || isReset(error)) continue;
        if (isClosed(error)) return;
        throw error;
      }
      this.accepted++;
      this.#connections.add(connection);
      if (serve === null) this.#waiting.push(connection);
      else this.#serve(connection, serve);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    }
  }

  #serve(connection: Deno.TcpConn, serve: (connection: Deno.TcpConn) => Promise<void>): void {
    const served = serve(connection).catch((error: unknown) => {
      // What a test does to its connection is seen at the other end.
      if (!isReset(error) && !isClosed(error) && !(error instanceof Deno.errors.NotConnected)) throw error;
    }).finally(() => {
      close(connection);
      this.#connections.delete(connection);
      this.#serving.delete(served);
    });
    this.#serving.add(served);
  }
}

/** Sends everything back; ends its direction when the client has ended its own. */
export async function echo(connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  for (let count; (count = await connection.read(buffer)) !== null;) await writeAll(connection, buffer.subarray(0, count));
  await connection.closeWrite();
}

/** Closes a connection that may be closed already. */
export function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** A port of this machine on which nobody listens: it was free a moment ago. */
export function closedPort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

const arena = createArena(LIBC_SCRATCH_BYTES + 4096);
const layout = new ArenaLayout(arena);
const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
const slot = layout.reserve(SOCKADDR_SLOT_BYTES);
const scratch = layout.reserve(1024);
const STREAM_SOCKET = 1, AF_INET = 2, EAGAIN = 11, SOCKADDR_IN_BYTES = 16;

/** A connected socket by its descriptor, for resets. */
export class RawConnection implements Disposable {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Connects to a port of this machine. */
  static connect(port: number): RawConnection {
    const fd = libc.socket(AF_INET, STREAM_SOCKET);
    writeSockaddr(arena, slot, { address: "127.0.0.1", port });
    // Loopback: the handshake is over when the call returns, though the socket does not block.
    libc.connect(fd, slot, SOCKADDR_IN_BYTES);
    return new RawConnection(fd);
  }

  static adopt(fd: number): RawConnection {
    return new RawConnection(fd);
  }

  write(bytes: Uint8Array): void {
    arena.bytes.set(bytes, scratch);
    const sent = libc.send(this.#fd, scratch, bytes.length);
    if (sent !== bytes.length) throw new Error(`send gave ${sent}`);
  }

  /** Ends our direction. */
  closeWrite(): void {
    libc.shutdown(this.#fd, 1);
  }

  /** Sends RST, whatever is queued. */
  reset(): void {
    libc.setLingerZero(this.#fd);
    this[Symbol.dispose]();
  }

  close(): void {
    if (this.#fd >= 0) libc.close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A listener that accepts only when the test says so. */
export class RawListener implements Disposable {
  readonly port: number;
  readonly #fd: number;

  constructor(backlog = 16) {
    this.#fd = libc.socket(AF_INET, STREAM_SOCKET);
    writeSockaddr(arena, slot, { address: "127.0.0.1", port: 0 });
    if (libc.bind(this.#fd, slot, SOCKADDR_IN_BYTES) < 0 || libc.listen(this.#fd, backlog) < 0) throw new Error("cannot listen");
    libc.getsockname(this.#fd, slot);
    this.port = readSockaddr(arena, slot)?.port ?? 0;
  }

  /** The descriptor of the next connection, or below zero. */
  take(): number {
    return libc.accept(this.#fd, slot);
  }

  /** The next connection that begins with {@linkcode MARK}. */
  async accept(): Promise<RawConnection> {
    const arrived: number[] = [];
    for (const deadline = performance.now() + WAIT_MS; performance.now() < deadline; await sleep(2)) {
      const fd = this.take();
      if (fd >= 0) arrived.push(fd);
      for (const one of arrived) {
        const count = libc.recv(one, scratch, 1);
        if (count === 1 && arena.bytes[scratch] === MARK[0]) return RawConnection.adopt(one);
        if (count !== -EAGAIN) libc.close(arrived.splice(arrived.indexOf(one), 1)[0] ?? -1);
      }
    }
    throw new Error("no connection arrived");
  }

  [Symbol.dispose](): void {
    libc.close(this.#fd);
  }
}

/** A backend that reads one byte and resets, without a FIN before it as a closed socket of the runtime sends. */
export class RudeBackend implements AsyncDisposable {
  readonly #listener = new RawListener();
  readonly #serving: Promise<void>;
  #isOver = false;

  constructor() {
    this.#serving = this.#serve();
  }

  get port(): number {
    return this.#listener.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#serving;
    this.#listener[Symbol.dispose]();
  }

  async #serve(): Promise<void> {
    const open = new Set<number>();
    for (; !this.#isOver; await sleep(2)) {
      const accepted = this.#listener.take();
      if (accepted >= 0) open.add(accepted);
      for (const fd of open) {
        const count = libc.recv(fd, scratch, 1);
        if (count === -EAGAIN) continue;
        open.delete(fd);
        RawConnection.adopt(fd)[count === 1 ? "reset" : "close"]();
      }
    }
    for (const fd of open) libc.close(fd);
  }
}

/** A port where a SYN gets no answer: the listener's queue is full and nobody accepts. */
export class SilentPort implements Disposable {
  readonly port: number;
  readonly #listener = new RawListener(0);
  readonly #queued: RawConnection[];

  constructor() {
    this.port = this.#listener.port;
    // A backlog of 0 holds one connection; whoever comes later is not answered at all (listen(2), tcp_abort_on_overflow 0).
    this.#queued = [RawConnection.connect(this.port), RawConnection.connect(this.port)];
  }

  [Symbol.dispose](): void {
    for (const connection of this.#queued) connection[Symbol.dispose]();
    this.#listener[Symbol.dispose]();
  }
}
