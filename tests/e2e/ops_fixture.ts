/** What tests of the control plane's sockets share: a poller over the real C library, and clients that speak raw bytes. */
import { createArena } from "../../ffi/address.ts";
import { createLibc, LIBC_SCRATCH_BYTES } from "../../ffi/libc/libc.ts";
import { createProcessNative } from "../../ffi/process/mod.ts";
import { type HttpHandler, type HttpLimits, Poller, serveHttp, UnixListener } from "../../src/io/http/mod.ts";
import { ArenaLayout } from "../../src/io/mod.ts";

/** One library handle and one arena for the whole test process; each poller reserves its own part. */
const arena = createArena(64 * 1024 * 1024);
const layout = new ArenaLayout(arena);
const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));
export const native = createProcessNative(arena);

/** A poller of its own. Close it at the end of the test. */
export function makePoller(): Poller {
  return new Poller(libc, native, layout);
}

/** A Unix datagram socket that stands for the service manager's. */
export function datagramSocket(path: string): { next(): Promise<string>; close(): void } {
  const at = layout.reserve(4096);
  const name = new TextEncoder().encode(path);
  arena.bytes.fill(0, at, at + 128);
  arena.bytes[at] = 1;
  arena.bytes.set(name, at + 2);
  const fd = libc.socket(1, 2);
  if (libc.bind(fd, at, 2 + name.length + 1) < 0) throw new Error(`cannot bind ${path}`);
  let isClosed = false;
  const next = async () => {
    while (!isClosed) {
      const count = libc.recv(fd, at, 4096);
      if (count >= 0) return new TextDecoder().decode(arena.bytes.slice(at, at + count));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    throw new Error(`${path} was closed`);
  };
  const close = () => {
    isClosed = true;
    libc.close(fd);
  };
  return { next, close };
}

export interface HttpFixture {
  readonly path: string;
  readonly poller: Poller;
  readonly ends: string[];
  readonly failures: unknown[];
}

/** Serves `handler` on a Unix socket in a folder of its own while `use` runs. */
export async function withHttp(
  handler: HttpHandler,
  limits: HttpLimits,
  use: (fixture: HttpFixture) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const poller = makePoller();
  const fixture: HttpFixture = { path: `${folder}/test.sock`, poller, ends: [], failures: [] };
  const listener = UnixListener.open(poller, { path: fixture.path, isShared: false });
  const pending = new Set<Promise<void>>();
  listener.serve(64, ({ stream }) => {
    const served = serveHttp(stream, handler, (error) => fixture.failures.push(error), limits).then((end) =>
      void fixture.ends.push(end)
    );
    pending.add(served);
    return served.finally(() => pending.delete(served));
  }, () => fixture.ends.push("dropped"));
  try {
    await use(fixture);
  } finally {
    await listener.close();
    await poller.close();
    await Promise.all(pending);
    Deno.removeSync(folder, { recursive: true });
  }
}

const encoder = new TextEncoder(), decoder = new TextDecoder();

/** Connects, writes `text` and, unless `keepOpen`, says that nothing follows; returns everything the server sends until it closes. */
export async function exchange(path: string, text: string, options: { readonly keepOpen?: boolean } = {}): Promise<string> {
  const connection = await Deno.connect({ transport: "unix", path });
  const bytes = encoder.encode(text);
  const write = (async () => {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    if (options.keepOpen !== true) await connection.closeWrite();
  })().catch(() => {});
  let answer = "";
  const buffer = new Uint8Array(65_536);
  try {
    for (let count; (count = await connection.read(buffer)) !== null;) answer += decoder.decode(buffer.subarray(0, count));
  } catch {
    answer += "<reset>";
  }
  await write;
  connection.close();
  return answer;
}

/** The status codes of the answers in `text`. */
export function statusesOf(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map((match) => Number(match[1]));
}
