/** From the start of the compiled binary to its `ready` event, and the memory that it has then, idle. */
import { Gateway } from "../e2e/gateway_fixture.ts";

export interface StartupFigure {
  readonly role: string;
  readonly readyMs: number;
  readonly residentMiB: number;
}

/** The median of `rounds` starts of the server. */
export async function measureStartup(rounds: number): Promise<StartupFigure> {
  const figures: StartupFigure[] = [];
  for (let round = 0; round < rounds; round++) {
    await using gateway = await Gateway.empty();
    const begin = performance.now();
    const server = await gateway.startServer();
    const readyMs = performance.now() - begin;
    figures.push({ role: "server", readyMs, residentMiB: server.residentMiB() });
  }
  return figures.sort((a, b) => a.readyMs - b.readyMs)[rounds >> 1] as StartupFigure;
}
