/**
 * Thousands of seeded worlds: gateways over bad links, with failing processes and clocks, packets of agents who collide, and TCP in
 * the network stack. The seeds are others in every run; a seed that goes wrong is named, with the command that runs it again.
 */
import { join, resolve } from "node:path";
import type { Soak, SoakRun } from "./soak.ts";

const SEEDS_PER_KIND = 1_500;
const ROOT = resolve(import.meta.dirname ?? ".", "..", "..", "..");
/** Kinds of worlds in each file. */
const FILES = [["tunnel_sim_test.ts", 2], ["packet_sim_test.ts", 1], ["netstack_sim_test.ts", 1]] as const;

export const sim: Soak = {
  name: "sim",
  usual: "15 min",
  about: "6,000 seeded worlds: nothing is false, nothing hangs, nobody gets what is another's, everybody comes back",
  run: soakSim,
};

async function soakSim(run: SoakRun): Promise<void> {
  const seeds = Math.ceil(SEEDS_PER_KIND * run.scale);
  const from = Number(Deno.env.get("POSTERN_SIM_FROM") ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 1);
  run.say(`${seeds} seeds of each kind from ${from}`);
  run.figure("first seed", from, "");
  let worlds = 0;
  for (const [file, kinds] of FILES) {
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--allow-all", "--no-check", join(ROOT, "tests", "sim", file)],
      cwd: ROOT,
      env: { POSTERN_SIM_SEEDS: `${seeds}`, POSTERN_SIM_FROM: `${from}`, NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).output();
    worlds += seeds * kinds;
    run.say(`${file}: ${code === 0 ? "ok" : "FAILED"}`);
    run.check(file, code === 0, new TextDecoder().decode(stdout).trim().slice(-4_000));
  }
  run.figure("worlds", worlds, "");
}
