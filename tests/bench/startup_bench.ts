/** From the start of the compiled binary to its `ready` event, and the memory that it has then, idle. */
import { Gateway } from "../e2e/gateway_fixture.ts";
import type { BenchTable } from "./report.ts";

interface StartupFigure {
  readonly readyMs: number;
  readonly residentMiB: number;
}

/** The median of `rounds` starts of the server. */
export async function measureStartup(rounds: number): Promise<BenchTable[]> {
  const figures: StartupFigure[] = [];
  for (let round = 0; round < rounds; round++) {
    await using gateway = await Gateway.empty();
    const begin = performance.now();
    const server = await gateway.startServer();
    const readyMs = performance.now() - begin;
    figures.push({ readyMs, residentMiB: server.residentMiB() });
  }
  const { readyMs, residentMiB } = figures.sort((a, b) => a.readyMs - b.readyMs)[rounds >> 1] as StartupFigure;
  return [{
    title: "Start",
    columns: ["", "ms to ready", "MiB resident"],
    rows: [["server", readyMs, residentMiB]],
    notes: [`The median of ${rounds} starts.`],
    targets: [],
  }];
}
