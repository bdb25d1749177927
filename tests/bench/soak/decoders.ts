/** Ten million inputs at every decoder, with a seed of their own: nothing throws but refusals, and what is taken is what was sent. */
import { fuzz } from "../../fuzz/fuzz.ts";
import { documentTargets, wireTargets } from "../../fuzz/decoder_targets.ts";
import { messageOf } from "../../../src/base/mod.ts";
import type { Soak, SoakRun } from "./soak.ts";

const RUNS = 10_000_000;

export const decoders: Soak = {
  name: "decoders",
  usual: "1 h",
  about: "10 million inputs at every decoder: each is refused with a reason, or is written again as it came",
  run: soakDecoders,
};

async function soakDecoders(run: SoakRun): Promise<void> {
  const runs = Math.ceil(RUNS * run.scale);
  const seed = Number(Deno.env.get("POSTERN_FUZZ_SEED") ?? Date.now() % 2 ** 31);
  run.say(`seed ${seed}`);
  for (const target of [...wireTargets(), ...await documentTargets()]) {
    const begin = performance.now();
    let detail = `${runs} inputs, seed ${seed}`, isOk = true;
    try {
      fuzz(target, { runs, seed });
    } catch (error) {
      isOk = false;
      // The cause has the input in hexadecimal: certificates are others in every run, so that a seed alone does not make it again.
      detail = error instanceof Error ? `${error.message}\n${messageOf(error.cause ?? "")}` : `${error}`;
    }
    const seconds = (performance.now() - begin) / 1000;
    run.check(target.name, isOk, detail);
    run.figure(target.name, runs / seconds, "inputs/s");
    run.say(`${target.name}: ${isOk ? "ok" : "FAILED"}, ${seconds.toFixed(0)} s`);
    // A turn for the timers of whoever waits for us.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}
