/**
 * What the tunnel adds to one small request, and what a connection with small requests notices of eight bulk transfers beside it:
 * through agent, server and connector on loopback, beside a direct connection and beside stunnel with mutual TLS. The ways take turns
 * in one run and share the noise of the machine.
 */
import { Gateway } from "../e2e/gateway_fixture.ts";
import { runScript, scriptCommand, startScript, stopProcess } from "./children.ts";
import type { BenchTable } from "./report.ts";
import { Stunnel } from "./stunnel.ts";

/** Requests of each way in a round. */
interface LatencyPlan {
  readonly rounds: number;
  readonly kept: number;
  readonly fresh: number;
  readonly beside: number;
}

const WHOLE: LatencyPlan = { rounds: 7, kept: 1_000, fresh: 200, beside: 1_000 };
const SHORT: LatencyPlan = { rounds: 2, kept: 200, fresh: 50, beside: 200 };
export const BULK_CONNECTIONS = 8;
/** More than is moved before it is ended. */
const BULK_BYTES = 1e12;
/** Until bulk transfers have filled what lies in their way. */
const BULK_BEGIN_MS = 1_500;

interface Way {
  readonly name: string;
  /** Lead to what answers, and to what swallows. */
  readonly ask: number;
  readonly bulk: number;
}

export async function measureLatency(isShort: boolean): Promise<BenchTable[]> {
  const plan = isShort ? SHORT : WHOLE;
  const answering = await startScript("./round_trip.ts", ["serve"]);
  const swallowing = await startScript("./blast.ts", ["sink"]);
  const [ask, bulk] = [Number(answering.firstLine), Number(swallowing.firstLine)];
  try {
    await using gateway = await Gateway.start({ services: { ask, bulk } });
    await using askStunnel = await Stunnel.here(gateway, ask);
    await using bulkStunnel = await Stunnel.here(gateway, bulk);
    const stunnel = askStunnel === null || bulkStunnel === null ? null : { ask: askStunnel.port, bulk: bulkStunnel.port };
    const ways: Way[] = [
      { name: "direct", ask, bulk },
      ...(stunnel === null ? [] : [{ name: "stunnel, mutual TLS, one hop", ...stunnel }]),
      { name: "postern, agent-server-connector", ask: gateway.portOf("ask"), bulk: gateway.portOf("bulk") },
    ];
    return [await addedTable(ways, plan), await besideTable(ways, plan)];
  } finally {
    await stopProcess(answering.process);
    await stopProcess(swallowing.process);
  }
}

async function addedTable(ways: readonly Way[], { rounds, kept, fresh }: LatencyPlan): Promise<BenchTable> {
  const times = ways.map(() => ({ kept: [] as number[], fresh: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, { ask }] of ways.entries()) {
      times[i]?.kept.push(...await requests(ask, "kept", kept));
      times[i]?.fresh.push(...await requests(ask, "new", fresh));
    }
  }
  const direct = times[0] ?? { kept: [], fresh: [] };
  return {
    title: "Latency of one request",
    columns: [
      "",
      "p50 µs",
      "p99 µs",
      "added p50 µs",
      "added p99 µs",
      "new connection p50 µs",
      "p99 µs",
      "added p50 µs",
      "added p99 µs",
    ],
    rows: ways.map(({ name }, i) => {
      const own = times[i] ?? direct;
      const figures = ([own.kept, own.fresh] as const).flatMap((all, kind) => {
        const bare = kind === 0 ? direct.kept : direct.fresh;
        const [half, most] = [percentile(all, 0.5), percentile(all, 0.99)];
        return [half, most, ...(i === 0 ? [null, null] : [half - percentile(bare, 0.5), most - percentile(bare, 0.99)])];
      });
      return [name, ...figures];
    }),
    notes: [
      `128 bytes there and back, ${rounds} rounds of ${kept} requests on one connection and ${fresh} with a connection each.`,
    ],
    targets: [],
  };
}

async function besideTable(ways: readonly Way[], { rounds, beside }: LatencyPlan): Promise<BenchTable> {
  const times = ways.map(() => ({ alone: [] as number[], beside: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, { ask, bulk }] of ways.entries()) {
      times[i]?.alone.push(...await requests(ask, "kept", beside));
      times[i]?.beside.push(...await besideBulk(bulk, () => requests(ask, "kept", beside)));
    }
  }
  return {
    title: `One connection of small requests beside ${BULK_CONNECTIONS} bulk transfers`,
    columns: ["", "alone p50 µs", "alone p99 µs", "beside p50 µs", "beside p99 µs", "p99 beside/alone"],
    rows: ways.map(({ name }, i) => {
      const { alone = [], beside = [] } = times[i] ?? {};
      const [quiet, busy] = [percentile(alone, 0.99), percentile(beside, 0.99)];
      return [name, percentile(alone, 0.5), quiet, percentile(beside, 0.5), busy, busy / quiet];
    }),
    notes: [`The transfers go to the service, as fast as they can; ${rounds} rounds of ${beside} requests each.`],
    targets: [],
  };
}

/** Does something while bulk transfers go to a port. */
export async function besideBulk<T>(port: number, what: () => Promise<T>): Promise<T> {
  const transfers = scriptCommand("./blast.ts", ["source", `${port}`, `${BULK_BYTES}`, `${BULK_CONNECTIONS}`]).spawn();
  try {
    await new Promise((resolve) => setTimeout(resolve, BULK_BEGIN_MS));
    return await what();
  } finally {
    await stopProcess(transfers);
  }
}

/** Asks what answers there, one request after the other; microseconds of each. */
export async function requests(port: number, kind: "kept" | "new", count: number): Promise<number[]> {
  const [line = "[]"] = await runScript("./round_trip.ts", ["ask", `${port}`, kind, `${count}`]);
  return JSON.parse(line);
}

/** The value below which that share of them lies; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}
