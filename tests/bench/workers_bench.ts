/**
 * What a second worker costs: the same pairs of an agent and a connector on a server of one worker and on one of two, in turns. All
 * workers of a server share one core and the load has the other, so this is the price of a datagram; no gain can show here. A pair whose
 * ends are on different workers crosses: about half of them do, since connections are placed by chance.
 */
import { Gateway } from "../e2e/gateway_fixture.ts";
import { runPostern } from "../e2e/processes_fixture.ts";
import { cpuSecondsExactly, pin, scriptLines, threadSeconds } from "./children.ts";
import { ANY_SERVICE } from "./datagrams_bench.ts";
import { OPEN_LIMITS } from "./load/peers_load.ts";
import type { BenchTable, BenchTarget } from "./report.ts";

const ROUNDS = 5, PAIRS = 16, SIZE = 1200;
const WARM_SECONDS = 4;

interface Target {
  readonly workers: number;
  readonly gateway: Gateway;
  readonly pid: number;
}

interface Figure {
  readonly microseconds: number;
  readonly perSecond: number;
  readonly lostPercent: number;
  /** Datagrams that came after one that their agent had sent later. */
  readonly reordered: number;
  /** Of all connections, those of the first worker; of all pairs, those that cross. Percent. */
  readonly firstPercent: number;
  readonly crossingPercent: number;
  /** Of the CPU time of all workers, the first one's. Percent. */
  readonly firstCpuPercent: number;
}

/** One table: a row for each number of workers. */
export async function measureWorkers(seconds: number, isShort: boolean): Promise<BenchTable[]> {
  await using resources = new AsyncDisposableStack();
  const targets: Target[] = [];
  for (const workers of [1, 2]) targets.push(await start(workers, resources));
  for (const target of targets) await measure(target, WARM_SECONDS);
  const rounds = targets.map((): Figure[] => []);
  for (let round = 0; round < (isShort ? 3 : ROUNDS); round++) {
    for (const [i, target] of targets.entries()) rounds[i]?.push(await measure(target, seconds));
  }
  const [one, two] = rounds.map(medians);
  if (one === undefined || two === undefined) throw new Error("nothing was measured");
  const rows = [one, two].map((figure, i): BenchTable["rows"][number] => [
    `${i + 1} worker${i > 0 ? "s" : ""}`,
    figure.microseconds,
    figure.microseconds / one.microseconds,
    figure.perSecond,
    figure.lostPercent,
    figure.crossingPercent,
    figure.firstPercent,
    figure.firstCpuPercent,
    figure.reordered,
  ]);
  return [{
    title: "Several workers",
    columns: [
      "",
      "CPU us/datagram",
      "of one",
      "datagrams/s",
      "lost %",
      "pairs across %",
      "first's connections %",
      "first's CPU %",
      "reordered",
    ],
    rows,
    notes: [
      `${PAIRS} pairs, ${SIZE} bytes, ${seconds} s a round, medians of rounds in turns; all workers on one core, load on the other.`,
    ],
    targets: targetsOf(one, two),
  }];
}

function targetsOf(one: Figure, two: Figure): BenchTarget[] {
  const uneven = Math.abs(two.firstPercent - 50) / 50;
  return [
    { what: "CPU per datagram, two workers over one", value: two.microseconds / one.microseconds, bound: 1.25, kind: "most" },
    { what: "connections of two workers, off the even split", value: uneven, bound: 0.2, kind: "most" },
    { what: "datagrams that came out of order", value: one.reordered + two.reordered, bound: 0, kind: "most" },
  ];
}

async function start(workers: number, resources: AsyncDisposableStack): Promise<Target> {
  const gateway = resources.use(await Gateway.empty());
  const unlimited = ["datagrams-per-connection=off", "bytes-per-connection=off"].flatMap((limit) => ["--limit", limit]);
  const { pid } = await gateway.startServer(...OPEN_LIMITS, ...unlimited, "--workers", `${workers}`);
  await gateway.pki.issue(ANY_SERVICE.connector, { dns: ["connector.*.ztna"] });
  pin(pid, 0);
  return { workers, gateway, pid };
}

/** The load dials anew in each round: its connections are placed anew. */
async function measure(target: Target, seconds: number): Promise<Figure> {
  const { gateway, pid } = target;
  const args = ["--relay", gateway.serverAddress, "--pki", gateway.pki.folder, "--seconds", `${seconds}`, "--size", `${SIZE}`];
  args.push("--agents", `${PAIRS}`, "--connectors", `${PAIRS}`, "--sockets", `${2 * PAIRS}`);
  args.push("--apart", "--agent", ANY_SERVICE.agent, "--connector", ANY_SERVICE.connector);
  let before = 0,
    threads = new Map<string, number>(),
    figure: Figure | null = null,
    placed = { firstPercent: NaN, crossingPercent: NaN };
  for await (const line of scriptLines("./load/datagrams.ts", args, { core: 1 })) {
    const report = JSON.parse(line);
    if (report.event === "begin") {
      before = cpuSecondsExactly(pid);
      threads = threadSeconds(pid);
      // Now, as long as they are there.
      placed = await placement(target);
      continue;
    }
    const microseconds = (cpuSecondsExactly(pid) - before) / report.received * 1e6;
    const spent = [...threadSeconds(pid)].filter(([name]) => name.startsWith("worker-")).map(([name, used]) =>
      [name, used - (threads.get(name) ?? 0)] as const
    );
    const all = spent.reduce((sum, [, used]) => sum + used, 0), first = spent.find(([name]) => name === "worker-1")?.[1] ?? NaN;
    figure = {
      microseconds,
      perSecond: report.received / report.seconds,
      lostPercent: (report.sent - report.received) / report.sent * 100,
      reordered: report.reordered,
      firstCpuPercent: 100 * first / all,
      ...placed,
    };
  }
  if (figure === null) throw new Error(`the load on ${target.workers} workers ended without a report`);
  return figure;
}

/** Who carries whom, by the numbers of the connections: the workers count theirs in turns. */
async function placement({ gateway, workers }: Target): Promise<Pick<Figure, "firstPercent" | "crossingPercent">> {
  const { path } = await gateway.server.until("admin-listening");
  const { stdout, said, code } = await runPostern(
    ["peers", "--json", "--unix-socket-path", String(path)],
    gateway.folder,
  );
  if (code !== 0) throw new Error(said);
  const { peers } = JSON.parse(stdout) as {
    readonly peers: readonly { readonly id: string; readonly services: readonly string[] }[];
  };
  const pairs = new Map<string, number[]>();
  const placed = peers.map(({ id, services }) => {
    const worker = (Number(id) - 1) % workers;
    for (const service of services) pairs.set(service, [...pairs.get(service) ?? [], worker]);
    return worker;
  });
  const across = [...pairs.values()].filter((ends) => new Set(ends).size > 1).length;
  return {
    firstPercent: 100 * placed.filter((worker) => worker === 0).length / placed.length,
    crossingPercent: 100 * across / pairs.size,
  };
}

function medians(figures: readonly Figure[]): Figure {
  const keys = Object.keys(figures[0] ?? {}) as (keyof Figure)[];
  const middle = (key: keyof Figure) => figures.map((figure) => figure[key]).sort((a, b) => a - b)[figures.length >> 1] ?? NaN;
  const all = Object.fromEntries(keys.map((key) => [key, middle(key)])) as unknown as Figure;
  // One that came out of order is one too many, whichever round it was in.
  return { ...all, reordered: figures.reduce((sum, { reordered }) => sum + reordered, 0) };
}
