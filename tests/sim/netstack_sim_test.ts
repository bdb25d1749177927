/**
 * Seeded transfers between two stacks over bad links. Every seed makes its own link, programs, limits and number of sessions;
 * what is asked is always the same: each byte once and in order, both ends heard, nothing hangs, nothing stays behind.
 */
import { assert, assertEquals } from "@std/assert";
import { PLAIN_PROGRAM, Program, type ProgramOptions } from "./netstack_program_fixture.ts";
import { runSeeds } from "./sim_seeds_fixture.ts";
import { type LinkOptions, type Random, randomFrom, type Side, World } from "./netstack_world_fixture.ts";

const SEEDS = 300;
/** No transfer of these sizes over these links may take longer, in virtual time. */
const LIMIT_MS = 3_600_000;

interface Scenario {
  readonly link: Partial<LinkOptions>;
  readonly pathMaxBytes: number;
  readonly shrinksTo: number | null;
  readonly bufferBytes: number;
  readonly totalBytes: number;
  readonly isIpv6: boolean;
  readonly hasSack: boolean;
  readonly hasScale: boolean;
  readonly sessions: readonly {
    readonly client: ProgramOptions;
    readonly server: ProgramOptions;
    readonly acceptAfterMs: number;
  }[];
}

function scenarioOf(seed: number): Scenario {
  const random = randomFrom(seed * 7919 + 17);
  const one = <T>(...values: readonly [T, ...T[]]): T => values[Math.floor(random() * values.length)] ?? values[0];
  const isBad = random() < 0.8;
  const sessions = Array.from({ length: one(1, 1, 1, 2, 5) }, (_, i) => ({
    client: programOf(random, one, 2 * i + 1),
    server: programOf(random, one, 2 * i + 2),
    acceptAfterMs: one(0, 0, 5, 800),
  }));
  return {
    link: {
      delayMs: one(0, 1, 10, 40, 150),
      jitterMs: one(0, 0, 5),
      loss: isBad ? one(0, 0.01, 0.03, 0.1) : 0,
      duplicate: isBad ? one(0, 0.02, 0.2) : 0,
      corrupt: isBad ? one(0, 0.01, 0.05) : 0,
      reorder: isBad ? one(0, 0.02, 0.3) : 0,
      reorderMs: one(2, 20, 100),
      bytesPerMs: one(Infinity, Infinity, 100, 1000),
    },
    pathMaxBytes: one(1266, 1280, 576, 300, 1500),
    shrinksTo: one(null, null, null, 500, 256),
    bufferBytes: one(4096, 16_384, 65_536, 524_288),
    totalBytes: one(1, 200_000, 1 << 26),
    isIpv6: random() < 0.25,
    hasSack: random() < 0.7,
    hasScale: random() < 0.7,
    sessions,
  };
}

function programOf(random: Random, one: <T>(...values: readonly [T, ...T[]]) => T, stream: number): ProgramOptions {
  return {
    sendBytes: Math.floor(one(0, 1, 1, 100, 3_000, 40_000, 150_000) * (0.5 + random())),
    stream,
    slow: one(0, 0, 0, 0.05, 0.5),
    pauseMs: one(1, 20, 400, 3_000),
    waitsForFin: random() < 0.15,
    chunkMaxBytes: one(1, 10, 1_000, 16_384, 65_536),
  };
}

/** Runs the seed's transfers and returns what is wrong, or null. */
function runSeed(seed: number): string | null {
  const scenario = scenarioOf(seed);
  const servers: Program[] = [];
  const world = new World({
    seed,
    link: scenario.link,
    pathMaxBytes: scenario.pathMaxBytes,
    limits: {
      sendBufferMaxBytes: scenario.bufferBytes,
      receiveBufferMaxBytes: scenario.bufferBytes,
      buffersTotalMaxBytes: scenario.totalBytes,
      handshakeMs: 300_000,
      userTimeoutMs: 600_000,
      timeWaitMs: 120_000,
      drainMs: Infinity,
    },
    onSyn: (session, at) => {
      const plan = scenario.sessions[session.remotePort - 40_000];
      if (plan === undefined) return null;
      const program = new Program(at, at.server, plan.server, plan.client.stream);
      servers.push(program);
      if (plan.acceptAfterMs === 0) at.server.stack.accept(session, at.nowMs);
      else at.after(plan.acceptAfterMs, () => at.server.stack.accept(session, at.nowMs));
      return program;
    },
  });
  const clients = scenario.sessions.map(({ client, server }, i) => {
    // Two programs that wait for each other's end would wait for ever.
    const options = { ...client, waitsForFin: client.waitsForFin && !server.waitsForFin };
    const program = new Program(world, world.client, options, server.stream);
    const session = world.connect(program, 40_000 + i, scenario.isIpv6);
    session.offersSack = scenario.hasSack;
    session.offersScale = scenario.hasScale;
    return program;
  });
  const { shrinksTo } = scenario;
  if (shrinksTo !== null) {
    world.after(300, () => {
      world.client.path.maxBytes = Math.min(shrinksTo, scenario.pathMaxBytes);
      world.server.path.maxBytes = Math.min(shrinksTo, scenario.pathMaxBytes);
    });
  }
  const all = () => [...clients, ...servers];
  const isOver = () =>
    servers.length === clients.length && all().every((program) => program.closed !== null || program.fault !== null);
  const inTime = world.run(isOver, LIMIT_MS);
  const faults = all().map((program) => program.fault).filter((fault) => fault !== null);
  if (faults.length > 0) return faults.join("; ");
  if (!inTime) return "not over in time: " + describe(world, clients, servers);
  for (const program of all()) {
    if (program.closed !== "finished" || !program.hasFin) return `ended by ${program.closed}: ` + describe(world, clients, servers);
  }
  for (const [i, { client, server }] of scenario.sessions.entries()) {
    if (clients[i]?.received !== server.sendBytes) return `client ${i} received ${clients[i]?.received} of ${server.sendBytes}`;
    if (!servers.some((program) => program.received === client.sendBytes && program.options.stream === server.stream)) {
      return `server ${i} did not receive ${client.sendBytes}`;
    }
  }
  return leftovers(world, world.client) ?? leftovers(world, world.server);
}

/** After TIME-WAIT nothing is left: no session, no buffer, no timer. */
function leftovers(world: World, { stack }: Side): string | null {
  world.run(() => false, 400_000);
  if (stack.sessionCount !== 0 || stack.timeWaitCount !== 0 || stack.sessions().length !== 0) return "sessions stay behind";
  if (stack.bufferedBytes !== 0) return `${stack.bufferedBytes} bytes of buffers stay behind`;
  return stack.nextTimeoutMs() === Infinity ? null : "a timer stays armed";
}

function describe(world: World, clients: readonly Program[], servers: readonly Program[]): string {
  const one = (program: Program) =>
    `${program.session?.state} sent ${program.sent}/${program.options.sendBytes} received ${program.received} closed ${program.closed}`;
  const counted = (side: Side) =>
    Object.entries(side.stack.counters).filter(([, n]) => n > 0).map(([name, n]) => `${name}=${n}`).join(" ");
  return [
    `at ${Math.round(world.nowMs)} ms`,
    ...clients.map(one),
    ...servers.map(one),
    counted(world.client),
    counted(world.server),
  ].join("\n  ");
}

/** How long it takes to bring `bytes` over a link, in virtual milliseconds, and what the sender had to do for it. */
function timeOf(bytes: number, link: Partial<LinkOptions>): { readonly ms: number; readonly timeouts: number } {
  let server: Program | null = null;
  const world = new World({
    seed: 3,
    link,
    onSyn: (session, at) => {
      server = new Program(at, at.server, { ...PLAIN_PROGRAM, stream: 2 }, 1);
      at.server.stack.accept(session, at.nowMs);
      return server;
    },
  });
  world.connect(new Program(world, world.client, { ...PLAIN_PROGRAM, sendBytes: bytes }, 2), 40_000);
  const begunMs = world.nowMs;
  assert(world.run(() => server?.received === bytes));
  return { ms: world.nowMs - begunMs, timeouts: world.client.stack.counters.retransmitTimeouts };
}

Deno.test("netstack: a clean path is filled, and a loss does not cost a time-out", () => {
  const window = 512 * 1024;
  const clean = timeOf(10_000_000, { delayMs: 10 });
  assert(clean.ms < 1.6 * 20 * 10_000_000 / window, `a window each round trip: ${clean.ms} ms`);
  const narrow = timeOf(10_000_000, { delayMs: 20, bytesPerMs: 1_000, queueMs: 50 });
  assert(narrow.ms < 10_000 / 0.85, `85 % of a narrow link: ${narrow.ms} ms`);
  const long = timeOf(100_000_000, { delayMs: 50, bytesPerMs: 12_500, queueMs: 50 });
  assert(long.ms < 8_000 / 0.6, `60 % of a long path of 100 Mbit/s, with what the beginning costs: ${long.ms} ms`);
  const lossy = timeOf(4_000_000, { delayMs: 1, loss: 0.02 });
  assert(lossy.ms < 3_000 && lossy.timeouts <= 2, `${lossy.ms} ms, ${lossy.timeouts} time-outs`);
});

const NAME = "netstack: seeded transfers arrive whole, both ways, over bad links";
Deno.test(NAME, () =>
  runSeeds({
    name: NAME,
    file: "netstack_sim_test.ts",
    seeds: SEEDS,
    run: (seed, show) => {
      show?.(JSON.stringify(scenarioOf(seed), null, 1));
      return { wrong: () => [runSeed(seed)].filter((fault) => fault !== null) };
    },
  }));

Deno.test("netstack: the same seed tells the same story", () => {
  const story = () => {
    const world = new World({ seed: 5, link: { loss: 0.05, reorder: 0.1, reorderMs: 20 }, onSyn: () => null });
    const seen: number[] = [];
    for (let i = 0; i < 100; i++) seen.push(world.random());
    return seen;
  };
  assertEquals(story(), story());
  assertEquals(runSeed(11), runSeed(11));
});
