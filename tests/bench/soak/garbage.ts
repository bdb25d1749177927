/** 500,000 payloads of garbage at an agent's port from strangers, and as many in the server's name. */
import type { Soak } from "./soak.ts";
import { runTestFile } from "./test_file.ts";

const PAYLOADS = 500_000;

export const garbage: Soak = {
  name: "garbage",
  usual: "1 min",
  about: "1,000,000 payloads of garbage at an agent with a direct path: both of its connections go on, nothing grows",
  run: (run) =>
    runTestFile(run, "tests/security/client_garbage_test.ts", {
      what: "payloads of each speaker",
      count: Math.max(1_000, Math.ceil(PAYLOADS * run.scale / 1_000) * 1_000),
      setting: "POSTERN_GARBAGE_PAYLOADS",
      promise: "both connections go on and nothing grows",
    }),
};
