/**
 * Many bytes through the tunnel, in one direction each, and a half-close. The times include the opening of the connection and
 * the SHA-256 at the receiving end; the sender's digest was computed before.
 */
import { DemoFailure } from "./crew.ts";
import { Pattern } from "./pattern.ts";
import { digestToEnd, readToEnd, writeAll } from "./stream.ts";

/** Nothing moved for so long: it never will. */
const STALL_MS = 20_000;
const ANSWER_BYTES_MAX = 128;

/** One transfer. */
export interface Transfer {
  readonly bytes: number;
  readonly ms: number;
  /** What the receiving end saw. */
  readonly sha256: string;
}

export type OnBytes = (bytes: number) => void;

/** Sends the pattern to the service, which answers with the digest of what it got. */
export async function sendToService(port: number, pattern: Pattern, onBytes: OnBytes): Promise<Transfer> {
  const started = performance.now();
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const answer = await whileMoving(onBytes, async (moved) => {
    await request(connection, "digest");
    let sent = 0;
    for (const piece of pattern.pieces()) {
      await writeAll(connection, piece);
      moved(sent += piece.length);
    }
    await connection.closeWrite();
    return await readAnswer(connection);
  });
  return { ...answer, ms: performance.now() - started };
}

/** Has the service send the pattern of that seed and size. */
export async function fetchFromService(port: number, seed: number, sizeBytes: number, onBytes: OnBytes): Promise<Transfer> {
  const started = performance.now();
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const got = await whileMoving(onBytes, async (moved) => {
    await request(connection, `source ${seed} ${sizeBytes}`);
    await connection.closeWrite();
    return await digestToEnd(connection, new Uint8Array(0), moved);
  });
  return { ...got, ms: performance.now() - started };
}

/** A half-close: sends everything, shuts down the write side, and only then may the answer come. */
export async function halfClose(port: number, pattern: Pattern): Promise<Transfer & { readonly wasEarly: boolean }> {
  const started = performance.now();
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await request(connection, "digest");
  let isAnswered = false;
  // Listening from the beginning: an answer that comes too early is seen.
  const answer = readAnswer(connection).finally(() => isAnswered = true);
  answer.catch(() => {});
  for (const piece of pattern.pieces()) await writeAll(connection, piece);
  const wasEarly = isAnswered;
  await connection.closeWrite();
  return { ...await answer, ms: performance.now() - started, wasEarly };
}

async function request(connection: Deno.TcpConn, line: string): Promise<void> {
  await writeAll(connection, new TextEncoder().encode(line + "\n"));
}

async function readAnswer(connection: Deno.TcpConn): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const text = new TextDecoder().decode(await readToEnd(connection, ANSWER_BYTES_MAX));
  const [, bytes, sha256] = /^(\d+) ([0-9a-f]{64})\n$/.exec(text) ?? [];
  if (bytes === undefined || sha256 === undefined) {
    throw new DemoFailure(`the service answered ${JSON.stringify(text)}, not a digest`);
  }
  return { bytes: Number(bytes), sha256 };
}

/** Runs `work`, which says how far it is; fails when it says nothing for too long. */
async function whileMoving<T>(onBytes: OnBytes, work: (moved: OnBytes) => Promise<T>): Promise<T> {
  const stalled = Promise.withResolvers<never>();
  let at = 0, movedAt = performance.now();
  const timer = setInterval(() => {
    if (performance.now() - movedAt < STALL_MS) return;
    stalled.reject(new DemoFailure(`nothing moved for ${STALL_MS / 1000} s after ${at} bytes`));
  }, 1000);
  try {
    return await Promise.race([
      work((bytes) => {
        at = bytes;
        movedAt = performance.now();
        onBytes(bytes);
      }),
      stalled.promise,
    ]);
  } finally {
    clearInterval(timer);
  }
}
