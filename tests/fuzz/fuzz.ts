/**
 * Many inputs at one decoder. fast-check draws a number for each and repeats the run of a seed; the number makes the input. The short
 * form is a test, the long one `deno task soak decoders`.
 */
import fc from "fast-check";
import { toHex } from "../../src/base/mod.ts";
import { Dice, writeInput } from "./byte_mutations.ts";
import type { FuzzTarget } from "./decoder_targets.ts";

/** Inputs never stand at the start of their memory, and what surrounds them is not zero. */
const OFFSET = 7, BEHIND = 64;

/** The short form, for tests: inputs for each target. */
export const FUZZ_RUNS = Number(Deno.env.get("POSTERN_FUZZ_RUNS") ?? 200_000);
export const FUZZ_SEED = Number(Deno.env.get("POSTERN_FUZZ_SEED") ?? 1);

export interface FuzzRun {
  readonly runs: number;
  readonly seed: number;
}

/** Throws with the input in hexadecimal when something does not hold for it. */
export function fuzz(target: FuzzTarget, { runs, seed }: FuzzRun): void {
  const memory = new Uint8Array(OFFSET + target.maxBytes + BEHIND).fill(0xa5);
  const check = (number: number) => {
    const length = writeInput(new Dice(number), target.corpus, memory, OFFSET, target.maxBytes);
    const input = memory.slice(OFFSET, OFFSET + length);
    try {
      target.check(memory, OFFSET, length);
    } catch (cause) {
      throw new Error(`${target.name}: ${cause instanceof Error ? cause.message : cause}\ninput ${toHex(input)}`, { cause });
    }
  };
  // Most inputs are refused, some by an exception: the stacks of those are most of the work.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    // Another number is another input, not a smaller one: there is nothing to shrink.
    fc.assert(fc.property(fc.noShrink(fc.integer()), check), { numRuns: runs, seed });
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
