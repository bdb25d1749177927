/** 10,000,000 random and spoilt packets into the network stack: nothing throws, what leaves holds, memory stays within its bounds. */
import { join, resolve } from "node:path";
import type { Soak, SoakRun } from "./soak.ts";

const PACKETS = 10_000_000;
const ROOT = resolve(import.meta.dirname ?? ".", "..", "..", "..");

export const fuzz: Soak = {
  name: "fuzz",
  usual: "2 min",
  about: "10,000,000 random and spoilt packets into the network stack: nothing throws, nothing grows",
  run: soakFuzz,
};

async function soakFuzz(run: SoakRun): Promise<void> {
  const packets = Math.ceil(PACKETS * run.scale);
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 1;
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "--allow-all", "--no-check", join(ROOT, "tests", "fuzz", "netstack_fuzz_test.ts")],
    cwd: ROOT,
    env: { POSTERN_FUZZ_PACKETS: `${packets}`, POSTERN_FUZZ_SEED: `${seed}`, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).output();
  run.figure("packets", packets, "");
  run.figure("seed", seed, "");
  run.check("nothing throws and nothing grows", code === 0, new TextDecoder().decode(stdout).trim().slice(-2_000));
}
