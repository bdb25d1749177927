/**
 * Runs worlds by their seeds, and says how to see one again that went wrong. The environment says how many:
 *
 *   POSTERN_SIM_SEEDS=N   N seeds of each kind, however long they take
 *   POSTERN_SIM_FROM=N    beginning with that one instead of 1
 *   POSTERN_SIM_SEED=N    only that one, which tells its story
 */
import { assertEquals } from "@std/assert";

/** A world that is ready to run. */
export interface SeedRun {
  /** Runs it and tells what was wrong. */
  wrong(): readonly string[];
  /** Its fingerprint, after it ran. */
  print(): string;
}

export interface SeedsOptions {
  readonly name: string;
  readonly file: string;
  /** How many, unless the environment says otherwise. */
  readonly seeds: number;
  readonly run: (seed: number, show?: (line: string) => void) => Pick<SeedRun, "wrong">;
}

/** What is shown of failures. */
const FAILURES_MAX = 5;
const WORDS_MAX = 4;
/** On a slow machine the short form ends before its last seed, but not before it ran so many. */
const SECONDS_MAX = 9;
const SEEDS_MIN = 20;

/** Fails with the seeds that went wrong. */
export function runSeeds({ name, file, seeds, run }: SeedsOptions): void {
  const one = Deno.env.get("POSTERN_SIM_SEED");
  const wanted = Deno.env.get("POSTERN_SIM_SEEDS");
  const first = Number(one ?? Deno.env.get("POSTERN_SIM_FROM") ?? 1);
  const count = one === undefined ? Number(wanted ?? seeds) : 1;
  const show = one === undefined ? undefined : (line: string) => console.log(line);
  const beganMs = performance.now();
  const failed: string[] = [];
  for (let done = 0; done < count && failed.length < 2 * FAILURES_MAX; done++) {
    const isLate = performance.now() - beganMs > SECONDS_MAX * 1_000;
    if (wanted === undefined && isLate && done >= SEEDS_MIN) break;
    const seed = first + done;
    const wrong = outcomeOf(() => run(seed, show).wrong());
    if (wrong.length === 0) continue;
    failed.push(`seed ${seed}: ${wrong.slice(0, WORDS_MAX).join("; ")}`);
    failed.push(`  again: POSTERN_SIM_SEED=${seed} deno test -A --no-check --filter "${name}" tests/sim/${file}`);
  }
  assertEquals(failed, []);
}

function outcomeOf(run: () => readonly string[]): readonly string[] {
  try {
    return run();
  } catch (error) {
    return [error instanceof Error ? error.stack ?? error.message : String(error)];
  }
}
