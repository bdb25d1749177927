/**
 * What the server costs per relayed datagram and how late it hands it on, beside the native floor in the same run: a relay in Rust with
 * the same quiche and the same batching that does nothing else. Server and floor have one core, the load has another.
 */
import { Gateway } from "../e2e/gateway_fixture.ts";
import { cpuSecondsExactly, ONE_WORKER, pin, scriptLines } from "./children.ts";
import { Floor } from "./load/floor.ts";
import { OPEN_LIMITS } from "./load/peers_load.ts";
import type { BenchTable, BenchTarget } from "./report.ts";

const ROUNDS = 3;
/** Before anything counts: until then V8 has compiled what is hot, as in a server that runs for more than a minute. */
const WARM_SECONDS = 6;
const SIZES = [100, 600, 1200];
const PAIRS = [1, 8, 100, 1000];
export const ANY_SERVICE = { agent: "agent-wildcard", connector: "connector-wildcard" };
/** Datagrams per second, and shares of what the server relays at most. */
const RATES = [1_000, 5_000, 20_000], SHARES = [0.01, 0.1, 0.5];

/** A relay that already runs. */
export interface RelayTarget {
  readonly name: string;
  readonly address: string;
  readonly pid: number;
  readonly pki: string;
  /** Certificates in there that may reach and offer any service: with them each pair has a service of its own. */
  readonly anyService?: { readonly agent: string; readonly connector: string };
}

export interface DatagramOptions {
  readonly seconds: number;
  /** Relays beside the server and the floor. */
  readonly further: readonly RelayTarget[];
  /** One pair and the sizes at both ends only, no times. */
  readonly isShort: boolean;
}

/** Measured one after the other on the same connections: each size, or one size at each rate. */
interface Load {
  readonly pairs: number;
  readonly sizes: readonly number[];
  /** Null: as much as goes. */
  readonly rates: readonly number[] | null;
}

interface Figure {
  readonly microseconds: number;
  readonly perSecond: number;
  readonly lostPercent: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

/** Tables of cost by size and number of pairs, and of the time on the way by rate. */
export async function measureDatagrams(options: DatagramOptions): Promise<BenchTable[]> {
  await using resources = new AsyncDisposableStack();
  const relays = await openRelays(resources, options.further);
  for (const relay of relays) await measure(relay, { pairs: 1, sizes: [1200], rates: null }, WARM_SECONDS);
  const cost = await costTable(relays, options);
  return options.isShort ? [cost.table] : [cost.table, await delayTable(relays, options, cost.most)];
}

/** Our server without limits, the floor where it can be built, and further ones; each has the first core. */
export async function openRelays(resources: AsyncDisposableStack, further: readonly RelayTarget[]): Promise<RelayTarget[]> {
  const gateway = resources.use(await Gateway.empty());
  const unlimited = ["datagrams-per-connection=off", "bytes-per-connection=off"].flatMap((limit) => ["--limit", limit]);
  const server = await gateway.startServer(...ONE_WORKER, ...OPEN_LIMITS, ...unlimited);
  const { pki } = gateway;
  await pki.issue(ANY_SERVICE.connector, { dns: ["connector.*.ztna"] });
  const common = { pki: pki.folder, anyService: ANY_SERVICE };
  const relays: RelayTarget[] = [{ name: "postern server", address: gateway.serverAddress, pid: server.pid, ...common }];
  const floor = await Floor.start(pki.server.cert, pki.server.key, pki.caCert);
  if (floor === null) console.error("the native floor is left out: it needs a Rust tool chain");
  else {
    resources.use(floor);
    relays.push({ name: "native floor", address: `127.0.0.1:${floor.port}`, pid: floor.pid, ...common });
  }
  relays.push(...further);
  for (const { pid } of relays) pin(pid, 0);
  return relays;
}

/** CPU of the relay per datagram under full load; `most` is what our server relays in a second with one pair of 1200 bytes. */
async function costTable(
  relays: readonly RelayTarget[],
  { seconds, isShort }: DatagramOptions,
): Promise<{ readonly table: BenchTable; readonly most: number }> {
  const rows: BenchTable["rows"][number][] = [], targets: BenchTarget[] = [];
  const sizes = isShort ? [100, 1200] : SIZES;
  const single = new Map<number, number>();
  let most = 0;
  for (const pairs of isShort ? [1] : PAIRS) {
    // One identity stands for a service only once: without certificates for any service a relay is asked with one pair.
    const measured = relays.filter(({ anyService }) => pairs === 1 || anyService !== undefined);
    const byRelay = await medians(measured, { pairs, sizes, rates: null }, seconds);
    for (const [at, size] of sizes.entries()) {
      const figures = byRelay.map((each) => each[at] as Figure);
      const [ours, floor] = figures;
      for (const [i, figure] of figures.entries()) {
        const ratio = floor === undefined ? null : figure.microseconds / floor.microseconds;
        const name = `${pairs} pair${pairs > 1 ? "s" : ""}, ${size} bytes, ${measured[i]?.name}`;
        rows.push([name, figure.microseconds, ratio, figure.perSecond, figure.lostPercent]);
      }
      if (ours === undefined) continue;
      if (pairs === 1) single.set(size, ours.microseconds);
      if (pairs === 1 && size === 1200) most = ours.perSecond;
      targets.push(...costTargets(pairs, size, ours, floor, single.get(size) ?? NaN));
    }
  }
  return {
    most,
    table: {
      title: "Datagrams under full load",
      columns: ["", "CPU us/datagram", "of the floor", "datagrams/s", "lost %"],
      rows,
      notes: [
        `${seconds} s a round, the median of ${ROUNDS} rounds in turns; relay on one core, load on the other.`,
        "Pairs send trains of at most 64 in turn; at most 1,024 datagrams of all are on their way.",
      ],
      targets,
    },
  };
}

function costTargets(pairs: number, size: number, ours: Figure, floor: Figure | undefined, single: number): BenchTarget[] {
  if (pairs === 1 && floor !== undefined && size !== 600) {
    const what = `CPU per datagram of ${size} bytes, server over floor`;
    return [{ what, value: ours.microseconds / floor.microseconds, bound: size === 100 ? 1.4 : 1.15, kind: "most" }];
  }
  if (pairs !== 1000) return [];
  const what = `CPU per datagram of ${size} bytes, 1,000 pairs over one`;
  return [{ what, value: ours.microseconds / single, bound: 1.3, kind: "most" }];
}

/** How long datagrams are on their way through the relay at even rates, both ways of the load's own work included. */
async function delayTable(relays: readonly RelayTarget[], { seconds }: DatagramOptions, most: number): Promise<BenchTable> {
  const rows: BenchTable["rows"][number][] = [], targets: BenchTarget[] = [];
  const loads = [
    ...RATES.map((perSecond) => ({ perSecond, name: `${perSecond}/s` })),
    ...SHARES.map((share) => ({ perSecond: Math.round(most * share), name: `${share * 100} % (${Math.round(most * share)}/s)` })),
  ];
  const byRelay = await medians(relays, { pairs: 1, sizes: [1200], rates: loads.map((load) => load.perSecond) }, seconds);
  for (const [at, { perSecond, name }] of loads.entries()) {
    const figures = byRelay.map((each) => each[at] as Figure);
    const [ours, floor] = figures;
    for (const [i, { p50Ms, p99Ms, p999Ms, microseconds, lostPercent }] of figures.entries()) {
      rows.push([`${name}, ${relays[i]?.name}`, p50Ms, p99Ms, p999Ms, microseconds, lostPercent]);
    }
    if (ours === undefined || floor === undefined || !RATES.includes(perSecond)) continue;
    targets.push({ what: `p99 at ${name}, server over floor`, value: ours.p99Ms / floor.p99Ms, bound: 1.2, kind: "most" });
    if (perSecond !== 1_000) continue;
    const value = ours.microseconds / floor.microseconds;
    targets.push({ what: `CPU at ${name}, server over floor`, value, bound: 1.4, kind: "most" });
  }
  return {
    title: "Datagrams of 1200 bytes at an even rate",
    columns: ["", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/datagram", "lost %"],
    rows,
    notes: [
      `${seconds} s a round, one pair, the median of ${ROUNDS} rounds in turns; shares are of what the server relays under full load.`,
    ],
    targets,
  };
}

/** For each relay one figure for each measurement: the median of the rounds of each value. */
async function medians(relays: readonly RelayTarget[], load: Load, seconds: number): Promise<Figure[][]> {
  const rounds = relays.map((): Figure[][] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, relay] of relays.entries()) rounds[i]?.push(await measure(relay, load, seconds));
  }
  const median = (figures: readonly Figure[], key: keyof Figure) =>
    figures.map((figure) => figure[key]).sort((a, b) => a - b)[ROUNDS >> 1] ?? NaN;
  return rounds.map((each) =>
    (each[0] ?? []).map((_, at) => {
      const figures = each.map((round) => round[at] as Figure);
      return {
        microseconds: median(figures, "microseconds"),
        perSecond: median(figures, "perSecond"),
        lostPercent: median(figures, "lostPercent"),
        p50Ms: median(figures, "p50Ms"),
        p99Ms: median(figures, "p99Ms"),
        p999Ms: median(figures, "p999Ms"),
      };
    })
  );
}

/** One figure for each size or rate. The load keeps to the second core; the relay was pinned by who started it. */
export async function measure(relay: RelayTarget, { pairs, sizes, rates }: Load, seconds: number): Promise<Figure[]> {
  const args = ["--relay", relay.address, "--pki", relay.pki, "--seconds", `${seconds}`, "--size", sizes.join(",")];
  args.push("--agents", `${pairs}`, "--connectors", `${pairs}`);
  if (rates !== null) args.push("--per-second", rates.join(","));
  if (relay.anyService !== undefined && pairs > 1) {
    args.push("--apart", "--agent", relay.anyService.agent, "--connector", relay.anyService.connector);
  }
  const figures: Figure[] = [];
  let before = 0;
  for await (const line of scriptLines("./load/datagrams.ts", args, { core: 1 })) {
    const report = JSON.parse(line);
    if (report.event === "begin") before = cpuSecondsExactly(relay.pid);
    else {
      figures.push({
        microseconds: (cpuSecondsExactly(relay.pid) - before) / report.received * 1e6,
        perSecond: report.received / report.seconds,
        lostPercent: (report.sent - report.received) / report.sent * 100,
        p50Ms: report.p50Ms,
        p99Ms: report.p99Ms,
        p999Ms: report.p999Ms,
      });
    }
  }
  if (figures.length === 0) throw new Error(`the load on ${relay.name} ended without a report`);
  return figures;
}
