/**
 * One data plane in a simulated process: the real reactor, sockets, endpoint and role over simulated system calls and whichever
 * engine the world has. It is driven turn by turn, can be told to stop, frozen, or killed.
 */
import { type MetricCells, metricCells, type MetricTable } from "../../src/base/mod.ts";
import type { Arena, Engine } from "../../src/core/quic/mod.ts";
import { ArenaLayout, createPlaneCrypto, Reactor } from "../../src/io/mod.ts";
import {
  type BoundAddress,
  CommandWriter,
  createCommandChannel,
  Plane,
  type PlaneCommand,
  type PlaneMessage,
  type PlaneStart,
  type PlaneStatus,
  type RolePlan,
  type RolePlane,
} from "../../src/roles/control/mod.ts";
import { AGENT_METRICS } from "../../src/roles/agent/mod.ts";
import { CONNECTOR_METRICS } from "../../src/roles/connector/mod.ts";
import { createRolePlane, ROLE_ARENA_BYTES } from "../../src/roles/mod.ts";
import { SERVER_METRICS } from "../../src/roles/server/mod.ts";
import { type SimKernel, SimProcess } from "./sim_kernel_fixture.ts";
import type { SimRandom } from "./sim_random_fixture.ts";
import type { SimHost } from "./sim_udp_fixture.ts";

/** Where a plane's engine comes from, and its memory. */
export interface SimEngineKit {
  takeArena(bytes: number): Arena;
  giveArena(arena: Arena): void;
  createEngine(parts: SimEngineParts): Engine;
}

export interface SimEngineParts {
  readonly arena: Arena;
  readonly layout: ArenaLayout;
  readonly random: SimRandom;
  readonly clock: () => number;
  readonly wallClock: () => number;
}

/** What runs in a process: a role of the product, or something of a test's own. */
export interface SimProgram {
  readonly arenaBytes: number;
  readonly metrics: MetricTable;
  create(plane: Plane, cells: SharedArrayBuffer): RolePlane;
}

const ROLE_METRICS: Readonly<Record<RolePlan["role"], MetricTable>> = {
  server: SERVER_METRICS,
  connector: CONNECTOR_METRICS,
  agent: AGENT_METRICS,
};

/** The program that is one of the roles. */
export function roleProgram(plan: RolePlan): SimProgram {
  const { role } = plan;
  return {
    arenaBytes: ROLE_ARENA_BYTES[role],
    metrics: ROLE_METRICS[role],
    create: (plane, cells) => createRolePlane(plane, { plan, cells } as PlaneStart),
  };
}

export type SimPlaneState = "running" | "stopped" | "killed" | "thrown";

export class SimPlane {
  readonly name: string;
  readonly host: SimHost;
  readonly process: SimProcess;
  readonly engine: Engine;
  readonly role: RolePlane;
  state: SimPlaneState = "running";
  /** What it threw, or said that it failed with. */
  failure: string | null = null;
  addresses: readonly BoundAddress[] = [];
  status: PlaneStatus | null = null;
  /** Turns, and those of them for which there was no event. */
  turns = 0;
  frozenUntilMs = 0;
  readonly #kernel: SimKernel;
  readonly #kit: SimEngineKit;
  readonly #arena: Arena;
  readonly #reactor: Reactor;
  readonly #commands: CommandWriter;
  readonly #metrics: MetricCells<MetricTable>;
  readonly #onResolve: (plane: SimPlane, host: string) => void;
  /** How far its clock is ahead of the world's. */
  #clockAheadMs: number;

  constructor(
    name: string,
    host: SimHost,
    program: SimProgram,
    kernel: SimKernel,
    kit: SimEngineKit,
    random: SimRandom,
    onResolve: (plane: SimPlane, host: string) => void,
  ) {
    this.name = name;
    this.host = host;
    this.#kernel = kernel;
    this.#kit = kit;
    this.#onResolve = onResolve;
    this.#clockAheadMs = random.between(0, 1_000_000);
    this.#arena = kit.takeArena(program.arenaBytes);
    this.process = new SimProcess(kernel, host, this.#arena, random.fork("calls"));
    const layout = new ArenaLayout(this.#arena);
    const clock = () => kernel.events.nowMs + this.#clockAheadMs;
    this.#reactor = new Reactor(this.process.libc, layout, clock);
    const parts = {
      arena: this.#arena,
      layout,
      random: random.fork("engine"),
      clock,
      wallClock: () => kernel.wallStartMs + kernel.events.nowMs,
    };
    this.engine = kit.createEngine(parts);
    const entropy = random.fork("entropy");
    const { libc } = this.process;
    const channel = createCommandChannel(libc.eventfd());
    this.#commands = new CommandWriter(channel, () => void libc.eventfdSignal(channel.eventFd));
    this.#metrics = metricCells(program.metrics);
    const plane = new Plane({
      reactor: this.#reactor,
      layout,
      engine: this.engine,
      crypto: createPlaneCrypto(),
      entropy: (bytes) => entropy.fill(bytes),
      random: () => entropy.next(),
      wallClockMs: parts.wallClock,
      post: (message) => this.#onMessage(message),
    }, channel);
    this.role = program.create(plane, this.#metrics.cells.buffer);
    // The first wait ends the step at once: from then on the reactor is driven.
    this.#step(() => plane.run(this.role));
  }

  get isRunning(): boolean {
    return this.state === "running";
  }

  get isRunnable(): boolean {
    return this.isRunning && this.#kernel.events.nowMs >= this.frozenUntilMs && this.process.isRunnable;
  }

  /** When it must be looked at again, if nothing comes. */
  get wakeAtMs(): number {
    return this.isRunning ? Math.max(this.frozenUntilMs, this.process.wakeAtMs) : Infinity;
  }

  /** One turn of the reactor. */
  turn(): void {
    this.turns++;
    this.#step(() => this.#reactor.run());
  }

  command(command: PlaneCommand): void {
    this.#commands.send(command);
  }

  /** It was given work outside of its turns: its wait ends. */
  poke(): void {
    this.process.wakeAtMs = 0;
  }

  /** Asks for a graceful end. */
  stop(): void {
    this.command({ type: "stop" });
  }

  /** Ends it at once, as SIGKILL. */
  kill(): void {
    if (this.isRunning) this.#end("killed", null);
  }

  /** Its clock jumps ahead. */
  jump(ms: number): void {
    this.#clockAheadMs += ms;
  }

  metric(name: string): number {
    const at = (this.#metrics.index as Record<string, number>)[name];
    if (at === undefined) throw new Error(`there is no metric ${name}`);
    return this.#metrics.cells[at] ?? 0;
  }

  get openFiles(): number {
    return this.process.files.size;
  }

  #step(run: () => void): void {
    try {
      if (this.process.step(run)) this.#end("stopped", null);
    } catch (error) {
      this.#end("thrown", error instanceof Error ? error.stack ?? error.message : String(error));
    }
  }

  #end(state: SimPlaneState, failure: string | null): void {
    this.state = state;
    this.failure ??= failure;
    this.#kernel.trace.note(this.#kernel.events.nowMs, `${this.name} is ${state}`);
    this.process.exit();
    this.#kit.giveArena(this.#arena);
  }

  #onMessage(message: PlaneMessage): void {
    const { trace, events } = this.#kernel;
    switch (message.type) {
      case "log": {
        const { level, event, message: text, fields } = message.record;
        const shown = Object.entries(fields ?? {}).map(([key, value]) => ` ${key}=${value}`).join("");
        trace.note(events.nowMs, `${this.name} ${level} ${event}: ${text}${shown}`);
        return;
      }
      case "ready":
        this.addresses = message.addresses;
        return;
      case "failed":
        this.failure = message.message;
        trace.note(events.nowMs, `${this.name} failed: ${message.message}`);
        return;
      case "status":
        this.status = message.status;
        return;
      case "resolve":
        return this.#onResolve(this, message.host);
    }
  }
}
