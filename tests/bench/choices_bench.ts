/**
 * What another choice would give: one connection of the product's engine and endpoint over a path of 50 Mbit/s with loss and distance,
 * with the limits that the roles have and with one of them changed. A stream that is never empty shows what gets through, datagrams
 * beside it how much waits in front of them.
 */
import { runScript } from "./children.ts";
import type { OverPath, OverPathFigure } from "./load/over_path.ts";
import type { BenchTable } from "./report.ts";

const BYTES_PER_SECOND = 6_250_000, QUEUE_BYTES = 256 * 1024, SEED = 7;
const LOSSES = [0, 0.01, 0.05], ROUND_TRIPS_MS = [10, 100];
const MIB = 1024 * 1024;

type Choice = Pick<OverPath, "transport" | "kernelBufferBytes"> & { readonly name: string };

const KEPT: Choice = { name: "as the roles have it" };
/** Compared on every path; the others where nothing is lost. */
const CONTROLS: readonly Choice[] = [
  { name: "CUBIC", transport: { congestionControl: "cubic" } },
  { name: "BBR2", transport: { congestionControl: "bbr2" } },
];
const OTHERS: readonly Choice[] = [
  KEPT,
  { name: "a stream's first window 64 KiB", transport: { streamWindowBytes: 64 * 1024 } },
  { name: "a stream's first window 4 MiB", transport: { streamWindowBytes: 4 * MIB } },
  { name: "a stream's window at most 512 KiB", transport: { streamWindowBytes: 256 * 1024, streamWindowMaxBytes: 512 * 1024 } },
  { name: "kernel buffers of 512 KiB", kernelBufferBytes: 512 * 1024 },
  { name: "kernel buffers of 64 KiB", kernelBufferBytes: 64 * 1024 },
];

export async function measureChoices({ seconds }: { readonly seconds: number }): Promise<BenchTable[]> {
  const notes = [
    `${BYTES_PER_SECOND * 8 / 1e6} Mbit/s each way with a queue of ${
      QUEUE_BYTES / 1024
    } KiB in front; ${seconds} s each, a fifth more before it counts.`,
  ];
  const controls: BenchTable["rows"][number][] = [], others: BenchTable["rows"][number][] = [];
  for (const roundTripMs of ROUND_TRIPS_MS) {
    for (const loss of LOSSES) {
      for (const choice of CONTROLS) controls.push(await row(choice, loss, roundTripMs, seconds));
    }
    for (const choice of OTHERS) others.push(await row(choice, 0, roundTripMs, seconds));
  }
  const columns = ["", "Mbit/s", "datagram p50 ms", "p99 ms"];
  return [
    { title: "Congestion control over bad paths", columns, rows: controls, notes, targets: [] },
    { title: "Windows and kernel buffers over slow paths", columns, rows: others, notes, targets: [] },
  ];
}

async function row(choice: Choice, loss: number, roundTripMs: number, seconds: number): Promise<BenchTable["rows"][number]> {
  const { name, ...changed } = choice;
  const path = { seed: SEED, loss, delayMs: roundTripMs / 2, bytesPerSecond: BYTES_PER_SECOND, queueBytes: QUEUE_BYTES };
  const order: OverPath = { path, seconds, ...changed };
  const what = `${roundTripMs} ms, ${loss * 100} % lost, ${name}`;
  try {
    const [line = "{}"] = await runScript("./load/over_path.ts", [JSON.stringify(order)]);
    const { bytesPerSecond, p50Ms, p99Ms } = JSON.parse(line) as OverPathFigure;
    return [what, bytesPerSecond * 8 / 1e6, p50Ms, p99Ms];
  } catch (error) {
    // One path that does not come up leaves the others their figures.
    console.error(`${what}: ${error instanceof Error ? error.message : error}`);
    return [what, null, null, null];
  }
}
