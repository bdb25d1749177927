/** A soak that is a test file with larger numbers and a seed of its own. */
import { join, resolve } from "node:path";
import type { SoakRun } from "./soak.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..", "..");

export interface LargerTest {
  /** What there is so many of. */
  readonly what: string;
  readonly count: number;
  /** The variable by which the test file learns of the number. */
  readonly setting: string;
  readonly promise: string;
}

/** Runs the file; it must pass. */
export async function runTestFile(run: SoakRun, file: string, { what, count, setting, promise }: LargerTest): Promise<void> {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 1;
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "--allow-all", "--no-check", join(ROOT, file)],
    cwd: ROOT,
    env: { [setting]: `${count}`, POSTERN_FUZZ_SEED: `${seed}`, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).output();
  run.figure(what, count, "");
  run.figure("seed", seed, "");
  run.check(promise, code === 0, new TextDecoder().decode(stdout).trim().slice(-2_000));
}
