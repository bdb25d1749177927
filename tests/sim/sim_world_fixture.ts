/**
 * A world: hosts, networks and processes under one clock, in one thread. Whose turn it is among those that can go on is chance of
 * the seed; when nobody can, the clock goes to the next thing that will happen. With real time it waits for it instead.
 */
import { SimEvents } from "./sim_events_fixture.ts";
import type { SimKernel } from "./sim_kernel_fixture.ts";
import { type SimEngineKit, SimPlane, type SimProgram } from "./sim_plane_fixture.ts";
import { SimRandom, SimTrace } from "./sim_random_fixture.ts";
import { SimTcpNetwork } from "./sim_tcp_fixture.ts";
import { type SimHost, type SimNat, SimNetwork } from "./sim_udp_fixture.ts";

/** What a turn of a plane costs in the world's time, at most: a plane that never sleeps cannot stop the clock. */
const TURN_MS = 0.02;
/** Turns in which nothing else happens, after which a plane counts as spinning. */
const SPIN_TURNS_MAX = 20_000;
const RESOLVE_MS = 20;

export interface SimWorldOptions {
  readonly seed: number;
  readonly kit: SimEngineKit;
  /** Waits for real time to pass: for an engine that reads the real clock. */
  readonly isRealTime?: boolean;
  /** Gets every line of the trace. */
  readonly show?: (line: string) => void;
}

export class SimWorld implements SimKernel {
  readonly events = new SimEvents();
  readonly trace: SimTrace;
  readonly network: SimNetwork;
  readonly tcp: SimTcpNetwork;
  readonly random: SimRandom;
  readonly planes: SimPlane[] = [];
  readonly wallStartMs: number;
  /** What names resolve to. */
  readonly names = new Map<string, readonly string[]>();
  readonly #kit: SimEngineKit;
  readonly #turnRandom: SimRandom;
  readonly #isRealTime: boolean;
  readonly #startedMs = performance.now();
  #lastPlane: SimPlane | null = null;
  #spins = 0;

  constructor(options: SimWorldOptions) {
    this.random = new SimRandom(options.seed);
    this.trace = new SimTrace(options.show ?? null);
    this.network = new SimNetwork(this.events, this.trace, this.random.fork("network"));
    this.tcp = new SimTcpNetwork(this.events, this.trace, this.random.fork("tcp"));
    this.#turnRandom = this.random.fork("turns");
    this.#kit = options.kit;
    this.#isRealTime = options.isRealTime ?? false;
    this.wallStartMs = this.#isRealTime ? Date.now() : WALL_START_MS;
  }

  get nowMs(): number {
    return this.events.nowMs;
  }

  host(name: string, addresses: readonly string[], nat: SimNat | null = null): SimHost {
    return this.network.addHost({
      name,
      addresses,
      interfaceMtu: 65_536,
      takesSegments: true,
      receiveBufferBytes: 16 * 1024 * 1024,
      icmpMs: 1,
      sendBlocks: 0,
      nat,
    });
  }

  /** Starts a program in a process of its own. */
  start(name: string, host: SimHost, program: SimProgram): SimPlane {
    this.trace.note(this.nowMs, `${name} starts`);
    const plane = new SimPlane(
      name,
      host,
      program,
      this,
      this.#kit,
      this.random.fork(`${name} ${this.planes.length}`),
      (asking, of) => {
        const addresses = this.names.get(of);
        if (addresses !== undefined) this.events.after(RESOLVE_MS, () => asking.command({ type: "resolved", host: of, addresses }));
      },
    );
    this.planes.push(plane);
    return plane;
  }

  /** Lets the world go on until `untilMs`, or until `isDone`. Returns whether it is done. */
  run(untilMs: number, isDone: () => boolean = () => false): boolean {
    for (;;) {
      this.#passTime();
      this.events.runDue();
      if (isDone()) return true;
      const ready = this.#chooseReady();
      if (ready !== null) {
        this.#turn(ready);
        continue;
      }
      let nextMs = this.events.nextMs;
      for (const { wakeAtMs } of this.planes) nextMs = Math.min(nextMs, wakeAtMs);
      if (nextMs > untilMs) {
        this.#passTime(untilMs);
        return isDone();
      }
      this.#passTime(nextMs);
    }
  }

  /** One of those that can go on, each as likely as the others. */
  #chooseReady(): SimPlane | null {
    let chosen: SimPlane | null = null;
    let count = 0;
    for (const plane of this.planes) {
      if (plane.isRunnable && (++count === 1 || this.#turnRandom.next() * count < 1)) chosen = plane;
    }
    return chosen;
  }

  #turn(plane: SimPlane): void {
    this.#spins = plane === this.#lastPlane ? this.#spins + 1 : 0;
    this.#lastPlane = plane;
    if (this.#spins > SPIN_TURNS_MAX) throw new Error(`${plane.name} spins at ${this.nowMs.toFixed(3)}`);
    plane.turn();
    if (!this.#isRealTime) this.events.nowMs += this.#turnRandom.next() * TURN_MS;
  }

  /** To `untilMs`, or in real time to now. */
  #passTime(untilMs = 0): void {
    if (!this.#isRealTime) {
      this.events.nowMs = Math.max(this.events.nowMs, untilMs);
      return;
    }
    const now = () => performance.now() - this.#startedMs;
    const waitMs = untilMs - now();
    if (waitMs > 0) Atomics.wait(SLEEPER, 0, 0, Math.min(waitMs, 1_000));
    this.events.nowMs = Math.max(this.events.nowMs, now());
  }
}

/** On which day a world begins that has a time of its own. */
const WALL_START_MS = Date.UTC(2030, 0, 1);

/** Nobody ever writes to it: waiting for it to change is sleep. */
const SLEEPER = new Int32Array(new SharedArrayBuffer(4));
