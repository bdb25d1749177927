/** Runs worlds by their seeds, and says how to see one again that went wrong. */
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
  /** How many, unless POSTERN_SIM_SEEDS says otherwise. */
  readonly seeds: number;
  readonly run: (seed: number, show?: (line: string) => void) => SeedRun;
}

/** What is shown of failures. */
const FAILURES_MAX = 5;
const WORDS_MAX = 4;

/** Fails with the seeds that went wrong. With POSTERN_SIM_SEED only that one runs, and its story is printed. */
export function runSeeds({ name, file, seeds, run }: SeedsOptions): void {
  const one = Deno.env.get("POSTERN_SIM_SEED");
  const count = Number(Deno.env.get("POSTERN_SIM_SEEDS") ?? seeds);
  const numbers = one === undefined ? Array.from({ length: count }, (_, at) => at + 1) : [Number(one)];
  const failed: string[] = [];
  for (const seed of numbers) {
    const wrong = outcomeOf(() => run(seed, one === undefined ? undefined : (line) => console.log(line)).wrong());
    if (wrong.length === 0) continue;
    failed.push(`seed ${seed}: ${wrong.slice(0, WORDS_MAX).join("; ")}`);
    failed.push(`  again: POSTERN_SIM_SEED=${seed} deno test -A --no-check --filter "${name}" tests/sim/${file}`);
    if (failed.length >= 2 * FAILURES_MAX) break;
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
