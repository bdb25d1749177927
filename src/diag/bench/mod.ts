/**
 * `postern bench`: what a service gives through a server, measured with an agent's credentials. `options.ts` reads what is wanted,
 * `datagrams.ts` and `streams.ts` are the two loads, `tally.ts` counts and times, `bench.ts` dials, runs one of them and tells.
 */
export { type BenchFlags, type BenchPlan, parseBenchFlags } from "./options.ts";
export { runBench } from "./bench.ts";
