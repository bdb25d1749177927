/**
 * What others notice of one bulk sender: datagrams at an even rate, and requests over TCP, alone and beside it. The bulk sender is a
 * client of its own: datagrams to its own service, or eight transfers through its own agent. Server and floor have one core, all load
 * of datagrams the other, where the bulk sender yields to who is measured; what it takes away all the same shows beside the floor,
 * which has no queues of its own.
 */
import { Gateway } from "../e2e/gateway_fixture.ts";
import { ONE_WORKER, pin, scriptCommand, startScript, stopProcess } from "./children.ts";
import { linesOf } from "../../tools/test_output.ts";
import { measure, openRelays, type RelayTarget } from "./datagrams_bench.ts";
import { besideBulk, BULK_CONNECTIONS, percentile, requests } from "./latency_bench.ts";
import type { BenchTable, BenchTarget } from "./report.ts";

const ROUNDS = 3;
const PAIRS = 8, PER_SECOND = 2_000, DATAGRAM_BYTES = 1_200, WARM_SECONDS = 3;
/** What the bulk sender has to send in a second: a part of what a relay can, and more than anything takes. */
const BULKS = [20_000, 1_000_000_000];
const REQUESTS = 300;
/** How much later others may be. */
const LATER_MOST = 2;

interface Times {
  readonly alone: number[];
  readonly beside: number[];
}

export async function measureFairness(options: { readonly seconds: number; readonly isShort: boolean }): Promise<BenchTable[]> {
  return [await datagramTable(options), await requestTable(options)];
}

async function datagramTable({ seconds, isShort }: { readonly seconds: number; readonly isShort: boolean }): Promise<BenchTable> {
  await using resources = new AsyncDisposableStack();
  const relays = await openRelays(resources, []);
  for (const relay of relays) await measure(relay, { pairs: 1, sizes: [DATAGRAM_BYTES], rates: null }, WARM_SECONDS);
  const rows: BenchTable["rows"][number][] = [], targets: BenchTarget[] = [];
  const quiet = async (relay: RelayTarget) =>
    (await measure(relay, { pairs: PAIRS, sizes: [DATAGRAM_BYTES], rates: [PER_SECOND] }, seconds))[0] ?? null;
  const figures = relays.map(() =>
    [0, ...BULKS].map(() => ({ p50Ms: [] as number[], p99Ms: [] as number[], lost: [] as number[] }))
  );
  for (let round = 0; round < (isShort ? 1 : ROUNDS); round++) {
    for (const [i, relay] of relays.entries()) {
      for (const [at, bulk] of [0, ...BULKS].entries()) {
        await using _ = bulk === 0 ? null : await BulkSender.start(relay, bulk);
        const figure = await quiet(relay), into = figures[i]?.[at];
        if (figure === null || into === undefined) continue;
        into.p50Ms.push(figure.p50Ms);
        into.p99Ms.push(figure.p99Ms);
        into.lost.push(figure.lostPercent);
      }
    }
  }
  for (const [at, bulk] of [0, ...BULKS].entries()) {
    const name = bulk === 0 ? "alone" : bulk > 1e6 ? "beside all that goes" : `beside ${bulk}/s`;
    for (const [i, relay] of relays.entries()) {
      const alone = percentile(figures[i]?.[0]?.p99Ms ?? [], 0.5);
      const { p50Ms = [], p99Ms = [], lost = [] } = figures[i]?.[at] ?? {};
      const p99 = percentile(p99Ms, 0.5);
      rows.push([`${name}, ${relay.name}`, percentile(p50Ms, 0.5), p99, p99 / alone, percentile(lost, 0.5)]);
      if (i === 0 && bulk > 0) {
        targets.push({ what: `p99 ${name}, over alone`, value: p99 / alone, bound: LATER_MOST, kind: "most" });
      }
    }
  }
  return {
    title: "Datagrams of others beside one bulk sender",
    columns: ["", "p50 ms", "p99 ms", "p99 over alone", "lost %"],
    rows,
    notes: [
      `${PAIRS} pairs with ${PER_SECOND} datagrams a second together, of ${DATAGRAM_BYTES} bytes as the bulk sender's are; ` +
      `${seconds} s a round, the median of ${isShort ? 1 : ROUNDS} rounds in turns.`,
    ],
    targets,
  };
}

/** A pair of its own that sends at a rate until it is disposed of; its processes yield to others. */
class BulkSender implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: AsyncIterableIterator<string>;
  readonly #problem: Promise<string>;

  private constructor(process: Deno.ChildProcess, lines: AsyncIterableIterator<string>, problem: Promise<string>) {
    this.#process = process;
    this.#lines = lines;
    this.#problem = problem;
  }

  static async start(relay: RelayTarget, perSecond: number): Promise<BulkSender> {
    const args = ["--relay", relay.address, "--pki", relay.pki, "--size", `${DATAGRAM_BYTES}`];
    const process = scriptCommand(
      "./load/datagrams.ts",
      [...args, "--seconds", "600", "--per-second", `${perSecond}`],
      "piped",
    ).spawn();
    pin(process.pid, 1);
    new Deno.Command("renice", { args: ["-n", "19", "-p", `${process.pid}`], stdout: "null", stderr: "null" }).outputSync();
    const lines = linesOf(process.stdout), problem = new Response(process.stderr).text();
    const { done } = await lines.next();
    if (done === true) throw new Error(`the bulk sender ended: ${await problem}`);
    return new BulkSender(process, lines, problem);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const input = this.#process.stdin.getWriter();
    await input.write(new TextEncoder().encode("\n")).catch(() => {});
    await input.close().catch(() => {});
    const late = setTimeout(() => this.#process.kill("SIGKILL"), 10_000);
    for await (const _ of this.#lines);
    await this.#process.status;
    clearTimeout(late);
    await this.#problem;
  }
}

/** Small requests through one agent beside transfers through another, to a connector of its own and to the same one. */
async function requestTable({ isShort }: { readonly isShort: boolean }): Promise<BenchTable> {
  const answering = await startScript("./round_trip.ts", ["serve"]), swallowing = await startScript("./blast.ts", ["sink"]);
  const [ask, bulk] = [Number(answering.firstLine), Number(swallowing.firstLine)];
  try {
    await using gateway = await openGateway(ask, bulk);
    const ways = [
      { name: "an agent and a connector of its own", ask: gateway.portOf("ask"), bulk: gateway.portOf("bulk") },
      { name: "an agent of its own, the same connector", ask: gateway.portOf("ask"), bulk: gateway.portOf("bulk-there") },
    ];
    const times = ways.map((): Times => ({ alone: [], beside: [] }));
    for (let round = 0; round < (isShort ? 1 : ROUNDS); round++) {
      for (const [i, way] of ways.entries()) {
        times[i]?.alone.push(...await requests(way.ask, "kept", REQUESTS));
        times[i]?.beside.push(...await besideBulk(way.bulk, () => requests(way.ask, "kept", REQUESTS)));
      }
    }
    return requestsTable(ways.map(({ name }) => name), times);
  } finally {
    await stopProcess(answering.process);
    await stopProcess(swallowing.process);
  }
}

/** Services `ask` and `bulk-there` at one connector, `bulk` at another; one agent for requests, one for transfers. */
async function openGateway(ask: number, bulk: number): Promise<Gateway> {
  const gateway = await Gateway.empty();
  try {
    pin((await gateway.startServer(...ONE_WORKER)).pid, 0);
    const issue = (name: string, role: string, services: readonly string[]) =>
      gateway.pki.issue(name, { dns: services.map((service) => `${role}.${service}.ztna`), eku: ["clientAuth"] });
    await gateway.startConnector(
      { ask, "bulk-there": bulk },
      await issue("fair-connector", "connector", ["ask", "bulk-there"]),
    );
    await gateway.startConnector({ bulk }, await issue("bulk-connector", "connector", ["bulk"]));
    await gateway.startAgent(["ask"], await issue("fair-agent", "agent", ["ask"]));
    await gateway.startAgent(["bulk", "bulk-there"], await issue("bulk-agent", "agent", ["bulk", "bulk-there"]));
    return gateway;
  } catch (error) {
    await gateway[Symbol.asyncDispose]();
    throw error;
  }
}

function requestsTable(names: readonly string[], times: readonly Times[]): BenchTable {
  const targets: BenchTarget[] = [];
  const rows = names.map((name, i): BenchTable["rows"][number] => {
    const { alone = [], beside = [] } = times[i] ?? {};
    const [quiet, busy] = [percentile(alone, 0.99), percentile(beside, 0.99)];
    targets.push({
      what: `p99 beside transfers through ${name}, over alone`,
      value: busy / quiet,
      bound: LATER_MOST,
      kind: "most",
    });
    return [name, percentile(alone, 0.5), quiet, percentile(beside, 0.5), busy, busy / quiet];
  });
  return {
    title: `Small requests beside ${BULK_CONNECTIONS} transfers through another agent`,
    columns: ["The transfers have", "alone p50 µs", "alone p99 µs", "beside p50 µs", "beside p99 µs", "p99 beside/alone"],
    rows,
    notes: [
      "The server has one core; agents, connectors, what sends and what answers share the rest, and so wait for each other too.",
    ],
    targets,
  };
}
