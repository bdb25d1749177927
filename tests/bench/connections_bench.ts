/**
 * What a client costs that only stands there: its handshake with certificates on both sides, its memory and its CPU time while it is
 * idle, beside the native floor in the same run. Server and floor have one core, the load has another.
 */
import { Gateway } from "../e2e/gateway_fixture.ts";
import { sleep } from "../e2e/tcp_fixture.ts";
import { cpuSecondsExactly, ONE_WORKER, pin } from "./children.ts";
import { Floor } from "./load/floor.ts";
import { OPEN_LIMITS, PeersLoad, residentMiB } from "./load/peers_load.ts";
import type { BenchTable, BenchTarget } from "./report.ts";

/**
 * Connected in the first round, whose memory counts, and in the others, whose time does: memory that a round gave back would be used
 * again, and a process that was just started still learns its work. What the first round's handshakes cost is told apart.
 */
const HELD = 2_000, OTHERS = 1_000, WARM = 200;
const ROUNDS = 4, HANDSHAKES_AT_ONCE = 64;
const SETTLE_MS = 3_000, IDLE_MS = 6_000;
/** Longer than anything is held here: what is measured is a connection on which nothing happens. */
const KEEPALIVE_MS = 28_000;

/** Of a second: what counts as no CPU time, a thousandth of a percent of a core. */
const IDLE_MOST_MICROSECONDS = 10;

interface Relay {
  readonly name: string;
  readonly address: string;
  readonly pid: number;
}

interface Round {
  readonly perSecond: number;
  readonly cpuMs: number;
  readonly kibPerConnection: number;
  /** CPU time of the process in a second of rest, in microseconds. */
  readonly idleMicroseconds: number;
  readonly lost: number;
}

export async function measureConnections(isShort: boolean): Promise<BenchTable[]> {
  await using resources = new AsyncDisposableStack();
  const gateway = resources.use(await Gateway.empty());
  const server = await gateway.startServer(...ONE_WORKER, ...OPEN_LIMITS);
  const { pki } = gateway;
  const relays: Relay[] = [{ name: "postern server", address: gateway.serverAddress, pid: server.pid }];
  const floor = await Floor.start(pki.server.cert, pki.server.key, pki.caCert);
  if (floor === null) console.error("the native floor is left out: it needs a Rust tool chain");
  else relays.push({ name: "native floor", address: `127.0.0.1:${resources.use(floor).port}`, pid: floor.pid });
  for (const { pid } of relays) pin(pid, 0);

  const held = isShort ? HELD / 4 : HELD;
  for (const relay of relays) await round(relay, pki.folder, WARM, 0);
  const empty: number[] = [];
  for (const { pid } of relays) empty.push(await idleCost(pid, IDLE_MS));
  const rounds = relays.map((): Round[] => []);
  for (let i = 0; i < (isShort ? 2 : ROUNDS); i++) {
    for (const [at, relay] of relays.entries()) {
      rounds[at]?.push(await round(relay, pki.folder, i === 0 ? held : OTHERS, i === 0 ? IDLE_MS : 0));
    }
  }
  return [tableOf(relays, rounds, empty, held)];
}

/** Connects so many, looks at them for a while, and lets them go. */
async function round({ address, pid }: Relay, pki: string, count: number, idleMs: number): Promise<Round> {
  const crowd = new PeersLoad({ server: address, pki, count, window: HANDSHAKES_AT_ONCE, keepaliveMs: KEEPALIVE_MS, core: 1 });
  await using _ = crowd;
  const [cpu, memory] = [cpuSecondsExactly(pid), residentMiB(pid)];
  const { seconds, lost } = await crowd.registered();
  const used = cpuSecondsExactly(pid) - cpu;
  await sleep(SETTLE_MS);
  return {
    perSecond: count / seconds,
    cpuMs: used * 1000 / count,
    kibPerConnection: (residentMiB(pid) - memory) * 1024 / count,
    idleMicroseconds: idleMs === 0 ? NaN : await idleCost(pid, idleMs),
    lost,
  };
}

async function idleCost(pid: number, forMs: number): Promise<number> {
  const before = cpuSecondsExactly(pid);
  await sleep(forMs);
  return (cpuSecondsExactly(pid) - before) * 1e6 / (forMs / 1000);
}

function tableOf(
  relays: readonly Relay[],
  rounds: readonly Round[][],
  empty: readonly number[],
  held: number,
): BenchTable {
  const figures = rounds.map((each, i) => ({
    perSecond: median(each.slice(1).map((one) => one.perSecond)),
    cpuMs: median(each.slice(1).map((one) => one.cpuMs)),
    kib: each[0]?.kibPerConnection ?? NaN,
    idle: each[0]?.idleMicroseconds ?? NaN,
    empty: empty[i] ?? NaN,
    lost: each.reduce((sum, one) => sum + one.lost, 0),
  }));
  const [ours, floor] = figures;
  const targets: BenchTarget[] = [];
  if (ours !== undefined) {
    targets.push({ what: "KiB of an idle connection", value: ours.kib, bound: 45, kind: "most" });
    const idle = Math.max(0, ours.idle - ours.empty) / held;
    targets.push({ what: "CPU of an idle connection, us a second", value: idle, bound: IDLE_MOST_MICROSECONDS, kind: "most" });
  }
  if (ours !== undefined && floor !== undefined) {
    const value = ours.perSecond / floor.perSecond;
    targets.push({ what: "handshakes per second, server over floor", value, bound: 0.8, kind: "least" });
    // Where the load is the slower end the rates say little; the server alone could do one over its CPU time.
    const cost = ours.cpuMs / floor.cpuMs;
    targets.push({ what: "CPU of a handshake, server over floor", value: cost, bound: 1.25, kind: "most" });
  }
  return {
    title: "Connections",
    columns: ["", "handshakes/s", "CPU s/1,000 handshakes", "KiB/idle connection", "CPU us/s, all idle", "CPU us/s, none", "lost"],
    rows: relays.map(({ name }, i): BenchTable["rows"][number] => {
      const { perSecond, cpuMs, kib, idle, empty, lost } = figures[i] ?? NONE;
      return [name, perSecond, cpuMs, kib, idle, empty, lost];
    }),
    notes: [
      `Mutual TLS 1.3 in QUIC after a Retry, with registration; ${held} agents held, ${HANDSHAKES_AT_ONCE} handshakes at one time.`,
      `Handshakes are those of ${OTHERS} agents after them; the first ${held} cost ${costsOf(rounds)} CPU s/1,000 handshakes.`,
      "Idle: nothing is sent by either end; agents send a keepalive every ten seconds, which is not in it.",
    ],
    targets,
  };
}

function costsOf(rounds: readonly Round[][]): string {
  return rounds.map(([first]) => (first?.cpuMs ?? NaN).toFixed(2)).join(" and ");
}

const NONE = { perSecond: NaN, cpuMs: NaN, kib: NaN, idle: NaN, empty: NaN, lost: NaN };

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}
