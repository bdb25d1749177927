/** A server of several workers, seen from the control plane: its workers are played, to fail when the test says so. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { LogGate, type MetricTable } from "../../base/mod.ts";
import { RATE_LIMITS } from "../../core/ratelimit/mod.ts";
import { CommandReader } from "./command_ring.ts";
import { startGroupHost } from "./group_host.ts";
import { startHost } from "./start_host.ts";
import type { HostPlatform, RoleHost } from "./host.ts";
import type { PlaneMessage, PlaneStart, ServerPlan } from "./messages.ts";

const TABLE = {
  packets: { name: "packets_total", kind: "counter", help: "Packets." },
  off: { name: "off", kind: "gauge", help: "Whether it is off.", combine: "any" },
} satisfies MetricTable;

const PLAN: ServerPlan = {
  role: "server",
  binds: [{ address: "127.0.0.1", port: 0 }],
  tls: { certificatePem: new Uint8Array(), keyPem: new Uint8Array(), trustPem: null },
  verifyPeer: true,
  requireClientCert: true,
  allowLegacyCerts: false,
  allowAnonymous: [],
  allowLegacyServiceIds: false,
  allowConnectorTakeover: false,
  revocation: { crlPem: null, toleratesStale: false, denied: [] },
  retryKeys: [],
  resetKey: null,
  tokenIssuers: [],
  limits: RATE_LIMITS,
  cidRotationMs: 300_000,
  workers: 3,
};

/** What a host sees of a worker. */
class Actor {
  onmessage: ((event: { readonly data: PlaneMessage }) => void) | null = null;
  onerror: ((event: { readonly message: string; preventDefault(): void }) => void) | null = null;
  started: PlaneStart | null = null;
  isTerminated = false;

  postMessage(start: PlaneStart): void {
    this.started = start;
    queueMicrotask(() => this.onStart());
  }

  /** What it does when it is started. */
  onStart(): void {
    this.say({
      type: "ready",
      addresses: this.isFirst ? [{ name: "quic", transport: "udp", address: "127.0.0.1", port: 4433 }] : [],
    });
  }

  get isFirst(): boolean {
    return this.started?.group?.worker === 0;
  }

  say(message: PlaneMessage): void {
    this.onmessage?.({ data: message });
  }

  terminate(): void {
    this.isTerminated = true;
  }
}

/** Starts the actors; whatever they are told next they find in their command rings. */
function startWith(actors: readonly Actor[]): Promise<RoleHost> {
  return startGroupHost(platformOf([...actors], {}), PLAN, TABLE, LOG, { record: () => {}, listening: {} });
}

const LOG = { sink: () => {}, gate: new LogGate() };

/** `waiting` are given out one by one. */
function platformOf(waiting: Actor[], machine: Partial<Pick<HostPlatform, "cores" | "canSharePorts">>): HostPlatform {
  return {
    spawnWorker: () => waiting.shift() as unknown as Worker,
    eventfd: () => 0,
    signalEventfd: () => {},
    resolve: () => Promise.resolve([]),
    cores: 1,
    canSharePorts: () => true,
    setLinkDns: () => Promise.resolve(null),
    linkDrops: () => null,
    ...machine,
  };
}

const actors = () => [new Actor(), new Actor(), new Actor()] as const;

Deno.test("workers start one by one, behind the port that the first has got, with the same keys", async () => {
  const [first, second, third] = actors();
  const host = await startWith([first, second, third]);
  assertEquals(host.addresses.map(({ port }) => port), [4433]);
  for (const actor of [second, third]) {
    const plan = actor.started?.plan as ServerPlan, ofFirst = first.started?.plan as ServerPlan;
    assertEquals(plan.binds.map(({ port }) => port), [4433]);
    assertEquals(plan.retryKeys, ofFirst.retryKeys);
    assertEquals(plan.resetKey, ofFirst.resetKey);
    assert(plan.retryKeys?.length === 1 && plan.resetKey?.length === 32);
  }
  host.abort();
  await host.finished;
});

Deno.test("whichever worker fails, the server ends with its words, and so do the others", async () => {
  for (const at of [0, 1, 2]) {
    const all = actors();
    const host = await startWith(all);
    all[at]?.onerror?.({ message: "it broke", preventDefault: () => {} });
    await assertRejects(() => host.finished, Error, "internal error in the data plane: it broke");
    assertEquals(all.map(({ isTerminated }) => isTerminated), [true, true, true]);
  }
});

Deno.test("a worker that cannot begin is an end before the beginning, for all", async () => {
  const all = actors();
  all[1].onStart = () => all[1].say({ type: "failed", message: "cannot bind UDP", hint: null, code: "bind", exitCode: 1 });
  await assertRejects(() => startWith(all), Error, "cannot bind UDP");
  assertEquals(all.map(({ isTerminated }) => isTerminated), [true, true, false]);
});

Deno.test("a graceful end is worker 0's first, then the others are told", async () => {
  const all = actors();
  const host = await startWith(all);
  const commands = all.map(({ started }) => new CommandReader((started as PlaneStart).commands));
  host.stop();
  assertEquals(commands.map((reader) => reader.take()?.type ?? null), ["stop", null, null]);
  all[0].say({ type: "stopped" });
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(commands.slice(1).map((reader) => reader.take()?.type ?? null), ["stop", "stop"]);
  all[1].say({ type: "stopped" });
  all[2].say({ type: "stopped" });
  await host.finished;
});

Deno.test("what worker 0 refuses no other is asked; that another refuses what it took ends the server", async () => {
  const all = actors();
  const host = await startWith(all);
  const commands = all.map(({ started }) => new CommandReader((started as PlaneStart).commands));
  const answer = (at: number, error: string | null) => {
    const command = commands[at]?.take();
    assert(command?.type === "reload");
    all[at]?.say({ type: "answer", id: command.id, count: 0, error });
  };
  const refused = assertRejects(() => host.reload(PLAN), Error, "no such key");
  answer(0, "no such key");
  await refused;
  assertEquals(commands[1]?.take() ?? null, null);

  const disagreed = assertRejects(() => host.reload(PLAN));
  answer(0, null);
  await new Promise((resolve) => setTimeout(resolve, 0));
  answer(1, null);
  answer(2, "no such key");
  await disagreed;
  await assertRejects(() => host.finished, Error, "the workers do not agree about a reload");
  assertEquals(all.map(({ isTerminated }) => isTerminated), [true, true, true]);
});

Deno.test("counters are sums, and what is off with one worker is off", async () => {
  const all = actors();
  const host = await startWith(all);
  for (const [at, { started }] of all.entries()) {
    const cells = new Float64Array((started as PlaneStart).cells);
    cells[host.metrics.index["packets"] ?? -1] = 10 + at;
    cells[host.metrics.index["off"] ?? -1] = at === 2 ? 1 : 0;
  }
  const { cells, index } = host.metrics;
  assertEquals([cells[index["packets"] ?? -1], cells[index["off"] ?? -1]], [33, 1]);
  host.abort();
  await host.finished;
});

Deno.test("unless it is told, a server has a worker for each core that it may use, four at most, and one where ports cannot be shared", async () => {
  const { workers: _, ...unasked } = PLAN;
  const cases = [
    [unasked, 1, true, 1],
    [unasked, 2, true, 2],
    [unasked, 64, true, 4],
    [unasked, 64, false, 1],
    [{ ...PLAN, workers: 1 }, 64, true, 1],
    [{ ...PLAN, workers: 6 }, 2, true, 6],
  ] as const;
  for (const [plan, cores, shares, wanted] of cases) {
    const all = Array.from({ length: 8 }, () => new Actor());
    const platform = platformOf([...all], { cores, canSharePorts: () => shares });
    const host = await startHost(platform, plan, TABLE, LOG, { record: () => {}, listening: {} });
    assertEquals(all.filter(({ started }) => started !== null).length, wanted);
    host.abort();
    await host.finished;
  }
});
