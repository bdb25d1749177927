/**
 * Goodput of TCP through agent, server and connector on loopback, beside the bare loopback and beside stunnel with mutual TLS, in
 * one run: seconds, Gbit/s, CPU seconds per GB of the processes in the middle.
 */
import { Gateway } from "../e2e/gateway_fixture.ts";
import { cpuSeconds, runScript, startScript, stopProcess } from "./children.ts";
import type { BenchTable } from "./report.ts";
import { Stunnel } from "./stunnel.ts";

const ROUNDS = 3;

interface StreamFigure {
  readonly path: string;
  readonly connections: number;
  readonly gbitPerSecond: number;
  /** CPU seconds per 10^9 bytes of everything between source and sink. */
  readonly cpuPerGb: number;
}

/** The median of {@linkcode ROUNDS} rounds for each path and number of connections; the paths take turns and share the noise. */
export async function measureStreams(bytes: number, isShort: boolean): Promise<BenchTable[]> {
  const figures = await streamFigures(bytes, isShort ? [1, 8] : [1, 8, 64]);
  return [...new Set(figures.map((figure) => figure.connections))].map((connections) => {
    const rows = figures.filter((figure) => figure.connections === connections);
    const bare = rows[0]?.gbitPerSecond ?? NaN;
    return {
      title: `TCP through streams, ${connections} connection${connections > 1 ? "s" : ""}`,
      columns: ["", "Gbit/s", "of bare", "CPU s/GB"],
      rows: rows.map(({ path, gbitPerSecond, cpuPerGb }) => [path, gbitPerSecond, gbitPerSecond / bare, cpuPerGb]),
      notes: [`${bytes} bytes a round, CPU of all processes in between, the median of ${ROUNDS} rounds.`],
      targets: [],
    };
  });
}

async function streamFigures(bytes: number, counts: readonly number[]): Promise<StreamFigure[]> {
  const sink = await startScript("./blast.ts", ["sink"]);
  const sinkPort = Number(sink.firstLine);
  try {
    await using gateway = await Gateway.start({ services: { web: sinkPort } });
    await using stunnel = await Stunnel.here(gateway, sinkPort);
    const paths = [
      { name: "bare loopback", port: sinkPort, pids: [] as number[] },
      ...(stunnel === null ? [] : [{ name: "stunnel, mutual TLS, one hop", port: stunnel.port, pids: stunnel.pids }]),
      {
        name: "postern, agent-server-connector",
        port: gateway.portOf("web"),
        pids: [gateway.agent.pid, gateway.server.pid, gateway.connector.pid],
      },
    ];
    const figures: StreamFigure[] = [];
    for (const connections of counts) {
      const rounds = paths.map((): StreamFigure[] => []);
      for (let round = 0; round < ROUNDS; round++) {
        for (const [i, path] of paths.entries()) {
          const before = total(path.pids);
          const [line = "{}"] = await runScript("./blast.ts", ["source", `${path.port}`, `${bytes}`, `${connections}`]);
          const { seconds, bytes: moved } = JSON.parse(line);
          rounds[i]?.push({
            path: path.name,
            connections,
            gbitPerSecond: moved * 8 / seconds / 1e9,
            cpuPerGb: (total(path.pids) - before) / (moved / 1e9),
          });
        }
      }
      for (const each of rounds) figures.push(each.sort((a, b) => a.gbitPerSecond - b.gbitPerSecond)[ROUNDS >> 1] as StreamFigure);
    }
    return figures;
  } finally {
    await stopProcess(sink.process);
  }
}

function total(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
}
