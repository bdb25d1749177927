/** How long things take through the tunnel: the first byte of new connections, and round trips on one connection. */
import { readExactly, writeAll } from "./stream.ts";

/** Before anything is counted: code is compiled, caches and windows are warm. */
const WARM_UP = 20;
const PING_BYTES = 64;

/** Times in milliseconds, of `count` trials. */
export interface Times {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** New connections, one after the other: from the connect to the first byte that comes back from the service. */
export async function measureFirstByte(port: number, count: number): Promise<Times> {
  const request = new TextEncoder().encode("echo\n!");
  return await measure(count, async () => {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await writeAll(connection, request);
    await readExactly(connection, 1);
  });
}

/** Messages of 64 bytes there and back, one after the other on one connection. */
export async function measureRoundTrip(port: number, count: number): Promise<Times> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await writeAll(connection, new TextEncoder().encode("echo\n"));
  const ping = new Uint8Array(PING_BYTES);
  return await measure(count, async () => {
    await writeAll(connection, ping);
    await readExactly(connection, PING_BYTES);
  });
}

async function measure(count: number, trial: () => Promise<void>): Promise<Times> {
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + count; i++) {
    const started = performance.now();
    await trial();
    if (i >= WARM_UP) times.push(performance.now() - started);
  }
  return timesOf(times);
}

/** The nearest-rank percentiles of some times. */
export function timesOf(times: readonly number[]): Times {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99) };
}
