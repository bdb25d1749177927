/** 10,000,000 random and spoilt packets into the network stack: nothing throws, what leaves holds, memory stays within its bounds. */
import type { Soak } from "./soak.ts";
import { runTestFile } from "./test_file.ts";

const PACKETS = 10_000_000;

export const fuzz: Soak = {
  name: "fuzz",
  usual: "2 min",
  about: "10,000,000 random and spoilt packets into the network stack: nothing throws, nothing grows",
  run: (run) =>
    runTestFile(run, "tests/fuzz/netstack_fuzz_test.ts", {
      what: "packets",
      count: Math.ceil(PACKETS * run.scale),
      setting: "POSTERN_FUZZ_PACKETS",
      promise: "nothing throws and nothing grows",
    }),
};
