/**
 * Every decoder of packets and streams with inputs that nobody would send in good faith: nothing throws that is not a refusal, and what is taken is what was
 * sent. POSTERN_FUZZ_RUNS for another number of inputs for each, POSTERN_FUZZ_SEED for others.
 */
import { wireTargets } from "./decoder_targets.ts";
import { fuzz, FUZZ_RUNS, FUZZ_SEED } from "./fuzz.ts";

for (const target of wireTargets()) {
  Deno.test(`${target.name}: ${FUZZ_RUNS} inputs (seed ${FUZZ_SEED})`, () => fuzz(target, { runs: FUZZ_RUNS, seed: FUZZ_SEED }));
}
