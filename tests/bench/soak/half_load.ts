/**
 * Twenty minutes at half of what the server relays at most, while agents come and go and connections of TCP are opened and closed beside
 * it: memory comes to rest, descriptors are given back, datagrams of the last tenth are as quick as those of the first.
 */
import { measure, type RelayTarget } from "../datagrams_bench.ts";
import { Gateway } from "../../e2e/gateway_fixture.ts";
import { Backend, echo, readToEnd, sleep, writeAll } from "../../e2e/tcp_fixture.ts";
import { ONE_WORKER, pin } from "../children.ts";
import { OPEN_LIMITS, PeersLoad, residentMiB } from "../load/peers_load.ts";
import { ProcessWatch } from "./process_watch.ts";
import type { Soak, SoakRun } from "./soak.ts";

const SECONDS = 1_200, PARTS = 10;
const DATAGRAM_BYTES = 1_200;
/** Before the most is looked for, and while it is: what is hot is compiled then. */
const WARM_SECONDS = 6, FULL_SECONDS = 4;
/** Agents that come together, and how long they stay. */
const CROWD = 100, STAY_MS = 3_000;
const TRANSFER_BYTES = 64 * 1024;
const SAMPLE_MS = 1_000, SETTLE_MS = 3_000;
/** The last tenth's p99 over the first one's; what a busy machine does to one of two may not count. */
const SLOWER_MOST = 1.5;
/** In a quarter of the time nothing can be said about the time on the way, nor about what is lost when a machine is busy. */
const JUDGED_SCALE = 0.25;
const LOST_MOST_PERCENT = 0.1;

export const halfLoad: Soak = {
  name: "halfload",
  usual: "21 min",
  about: "half of the most that the server relays, agents and connections coming and going: memory, descriptors, p99 stay",
  run: soakHalfLoad,
};

async function soakHalfLoad(run: SoakRun): Promise<void> {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty();
  const unlimited = ["datagrams-per-connection=off", "bytes-per-connection=off"].flatMap((limit) => ["--limit", limit]);
  const server = await gateway.startServer(...ONE_WORKER, ...OPEN_LIMITS, ...unlimited);
  const { pki } = gateway;
  const issue = (name: string, role: string) => pki.issue(name, { dns: [`${role}.echo.ztna`], eku: ["clientAuth"] });
  const connector = await gateway.startConnector({ echo: backend.port }, await issue("soak-connector", "connector"));
  const agent = await gateway.startAgent(["echo"], await issue("soak-agent", "agent"));
  pin(server.pid, 0);
  const relay: RelayTarget = { name: "server", address: gateway.serverAddress, pid: server.pid, pki: pki.folder };

  run.say("looking for the most");
  await measure(relay, { pairs: 1, sizes: [DATAGRAM_BYTES], rates: null }, Math.max(1, WARM_SECONDS * run.scale));
  const full = await measure(relay, { pairs: 1, sizes: [DATAGRAM_BYTES], rates: null }, Math.max(1, FULL_SECONDS * run.scale));
  const half = Math.max(1, Math.round((full[0]?.perSecond ?? 0) / 2));
  run.figure("datagrams, half of the most", half, "/s");
  using agents = new Coming(() => comeAndGo(gateway, Math.ceil(CROWD * Math.min(1, run.scale * 10))));
  using transfers = new Coming(() => transfer(gateway));
  await Promise.all([agents.once(), transfers.once()]);

  using watches = new DisposableStack();
  const all = ([["server", server], ["connector", connector], ["agent", agent]] as const)
    .map(([name, role]) => watches.use(new ProcessWatch(name, role)));
  const memory = new MemorySlope(server.pid);
  run.say(`${half} datagrams a second`);
  agents.begin();
  transfers.begin();
  const rates = Array.from({ length: PARTS }, () => half);
  const parts = await measure(relay, { pairs: 1, sizes: [DATAGRAM_BYTES], rates }, SECONDS * run.scale / PARTS);
  await Promise.all([agents.end(), transfers.end()]);
  const slope = memory.end();
  await sleep(SETTLE_MS);

  for (const [i, { perSecond, p50Ms, p99Ms, lostPercent }] of parts.entries()) {
    run.figure(`part ${i + 1} of ${PARTS}: datagrams`, perSecond, `/s; p50 ${p50Ms} ms, p99 ${p99Ms} ms, lost ${lostPercent} %`);
  }
  run.figure("server: memory's slope over the second half", slope, "MiB/h");
  const slower = (parts.at(-1)?.p99Ms ?? NaN) / (parts[0]?.p99Ms ?? NaN);
  const lost = Math.max(...parts.map(({ lostPercent }) => lostPercent));
  run.figure("p99 of the last tenth over the first", slower, "");
  if (run.scale >= JUDGED_SCALE) {
    run.check("the last tenth is as quick as the first", slower <= SLOWER_MOST, `${slower.toFixed(2)} of at most ${SLOWER_MOST}`);
    run.check("next to nothing is lost", lost <= LOST_MOST_PERCENT, `at most ${lost.toFixed(4)} % in a tenth`);
  }
  run.check(
    "datagrams arrive to the end",
    parts.length === PARTS && parts.every(({ perSecond }) => perSecond > 0),
    `${PARTS} parts`,
  );
  run.check("agents come and go", agents.problem === null && agents.times > 0, agents.problem ?? `${agents.times} times`);
  run.check(
    "connections come and go",
    transfers.problem === null && transfers.times > 0,
    transfers.problem ?? `${transfers.times} times`,
  );
  for (const watch of all) watch.report(run);
}

/** So many agents connect, register, stay for a while and leave. */
async function comeAndGo({ serverAddress, pki }: Gateway, count: number): Promise<void> {
  await using crowd = new PeersLoad({ server: serverAddress, pki: pki.folder, count, window: 16 });
  await crowd.registered();
  await sleep(STAY_MS);
}

/** One connection with some bytes there and back. */
async function transfer(gateway: Gateway): Promise<void> {
  using connection = await gateway.connect("echo");
  const answer = readToEnd(connection);
  await writeAll(connection, new Uint8Array(TRANSFER_BYTES).fill(0x62));
  await connection.closeWrite();
  const { bytes } = await answer;
  if (bytes.length !== TRANSFER_BYTES) throw new Error(`${bytes.length} of ${TRANSFER_BYTES} bytes came back`);
  await sleep(20);
}

/** Does something again and again until it is told to end, or until it fails. */
class Coming implements Disposable {
  times = 0;
  problem: string | null = null;
  readonly #what: () => Promise<void>;
  #running: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(what: () => Promise<void>) {
    this.#what = what;
  }

  async once(): Promise<void> {
    await this.#what();
  }

  begin(): void {
    this.#running = (async () => {
      try {
        for (; !this.#isOver; this.times++) await this.#what();
      } catch (error) {
        this.problem = error instanceof Error ? error.message : `${error}`;
      }
    })();
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
  }
}

/** The line through a process' memory over time. */
class MemorySlope {
  readonly #samples: { readonly hours: number; readonly mib: number }[] = [];
  readonly #timer: number;

  constructor(pid: number) {
    const begun = performance.now();
    this.#timer = setInterval(
      () => this.#samples.push({ hours: (performance.now() - begun) / 3.6e6, mib: residentMiB(pid) }),
      SAMPLE_MS,
    );
  }

  /** Of the second half, by least squares, in MiB an hour: in the first the runtime still finds its size. */
  end(): number {
    clearInterval(this.#timer);
    const half = this.#samples.slice(this.#samples.length >> 1);
    const mean = (key: "hours" | "mib") => half.reduce((sum, one) => sum + one[key], 0) / half.length;
    const [hours, mib] = [mean("hours"), mean("mib")];
    const above = half.reduce((sum, one) => sum + (one.hours - hours) * (one.mib - mib), 0);
    return above / half.reduce((sum, one) => sum + (one.hours - hours) ** 2, 0);
  }
}
