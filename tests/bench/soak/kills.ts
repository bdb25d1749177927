/**
 * The server and a connector are killed (SIGKILL) at moments that seeds choose, while TCP and UDP run through them, and started again as
 * a supervisor would. All services work again soon; what ran through a dead process ends in a reset, what did not arrives whole; those
 * that stay alive, the agent and another connector from the first round to the last, hold neither more memory nor more descriptors.
 */
import { randomFrom } from "../../sim/netstack_world_fixture.ts";
import { KillWorld, type Round, type Survivor, type Victim } from "./kill_world.ts";
import { ProcessWatch } from "./process_watch.ts";
import type { Soak, SoakRun } from "./soak.ts";

const ROUNDS = 100;
/** Before memory and descriptors are measured: one round in so many. */
const WARM_SHARE = 0.03;
/** Spreads the seeds, so that neighbours have nothing in common and the first three kill both. */
const SEED_STEP = 99_991;
/**
 * From the kill to the moment at which every service has done new work. A machine that is busy with other things takes its time to start a
 * process, and so long again for each of the few steps behind that.
 */
const BACK_MS = 10_000, STEPS = 3;
/** The kill comes so long after the transfers began, and the new process so long after the kill. */
const MOMENT_MS = 1_500, SUPERVISOR_MS = 1_000;
const DESCRIPTORS_LEFT = 4;

export const kills: Soak = {
  name: "kills",
  usual: "12 min",
  about: "server and connector killed 100 times under traffic: all is back within 10 s, transfers end truly, nothing grows",
  run: soakKills,
};

async function soakKills(run: SoakRun): Promise<void> {
  const rounds = Math.ceil(ROUNDS * run.scale), first = Number(Deno.env.get("POSTERN_KILLS_FROM") ?? 1);
  await using world = await KillWorld.start();
  const tally = new Tally();
  run.say("warming up");
  for (let seed = 0; seed < Math.ceil(rounds * WARM_SHARE); seed++) await playRound(world, -1 - seed, new Tally());
  using watches = new DisposableStack();
  const lasting = [["agent", world.agent], ["other connector", world.other]] as const;
  const watched = lasting.map(([name, role]) => watches.use(new ProcessWatch(name, role)));
  for (let seed = first; seed < first + rounds; seed++) {
    const said = await playRound(world, seed, tally);
    run.say(`seed ${seed}: ${said}; agent ${watched[0]?.now}`);
  }
  tally.report(run, rounds);
  for (const watch of watched) watch.report(run);
}

/** One kill. Returns what happened, for a person. */
async function playRound(world: KillWorld, seed: number, tally: Tally): Promise<string> {
  const random = randomFrom(seed * SEED_STEP);
  const victim: Victim = random() < 0.5 ? "server" : "connector";
  const round = await world.play(victim, random() * MOMENT_MS, random() * SUPERVISOR_MS, seed);
  tally.add(victim, round, world.survivors());
  return `${victim}: ready after ${(round.readyMs / 1000).toFixed(1)} s, all back after ${
    (round.backMs / 1000).toFixed(1)
  } s, transfers told after ${(round.toldMs / 1000).toFixed(1)} s, ` +
    `${round.datagrams} datagrams${round.wrong.length === 0 ? "" : `, WRONG: ${round.wrong.join(", ")}`}`;
}

/** What the rounds came to. */
class Tally {
  readonly #backMs: Record<Victim, number[]> = { server: [], connector: [] };
  readonly #wrong: string[] = [];
  #toldMs = 0;
  #growth = 0;
  #readyMs = 0;
  #behindReadyMs = 0;
  #late = 0;

  add(victim: Victim, { readyMs, backMs, toldMs, wrong }: Round, survivors: readonly Survivor[]): void {
    this.#backMs[victim].push(backMs);
    this.#readyMs = Math.max(this.#readyMs, readyMs);
    this.#behindReadyMs = Math.max(this.#behindReadyMs, backMs - readyMs);
    if (backMs > BACK_MS + STEPS * readyMs) this.#late++;
    this.#toldMs = Math.max(this.#toldMs, toldMs);
    this.#wrong.push(...wrong);
    for (const { descriptors, descriptorsBefore } of survivors) {
      this.#growth = Math.max(this.#growth, descriptors - descriptorsBefore);
    }
  }

  report(run: SoakRun, rounds: number): void {
    const all = Object.values(this.#backMs).flat();
    for (const [victim, times] of Object.entries(this.#backMs)) {
      run.figure(`${victim}: killed`, times.length, "times");
      run.figure(`${victim}: all services back, median`, quantile(times, 0.5) / 1000, "s");
      run.figure(`${victim}: all services back, slowest`, quantile(times, 1) / 1000, "s");
    }
    const slow = all.filter((ms) => ms > BACK_MS).length, slowest = quantile(all, 1);
    run.figure("rounds slower than 10 s", slow, "");
    run.figure("the killed process ready again, slowest", this.#readyMs / 1000, "s");
    run.figure("all services back behind that, slowest", this.#behindReadyMs / 1000, "s");
    run.figure("transfers through the dead, told after at most", this.#toldMs / 1000, "s");
    run.check(
      "all services are back",
      all.length === rounds && this.#late === 0,
      `${all.length} of ${rounds} rounds, the slowest after ${(slowest / 1000).toFixed(1)} s; ${slow} slower than 10 s, ` +
        `${this.#late} of them for no reason of the machine`,
    );
    run.check(
      "transfers arrive whole, or are reset where a process died",
      this.#wrong.length === 0,
      this.#wrong.join(", ") || "all",
    );
    run.check(
      "survivors of a round give descriptors back",
      this.#growth <= DESCRIPTORS_LEFT,
      `at most ${this.#growth} more than after their first round, ${DESCRIPTORS_LEFT} allowed`,
    );
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
