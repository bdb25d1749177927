/** A process that limits itself as a role does, says what it found, and waits to be ended. Its arguments are the capabilities it keeps. */
import { createHardeningNative } from "../../ffi/process/mod.ts";
import type { CapabilityName } from "../../src/io/native_process.ts";
import { hardenProcess } from "../../src/ops/privileges/mod.ts";

const result = hardenProcess(createHardeningNative(), Deno.args as CapabilityName[]);
const prctl = Deno.dlopen("libc.so.6", { prctl: { parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" } });
const PR_GET_DUMPABLE = 3;
console.log(JSON.stringify({
  ...result,
  args: Deno.args,
  dumpable: prctl.symbols.prctl(PR_GET_DUMPABLE, 0n, 0n, 0n, 0n),
  marker: Deno.env.get("POSTERN_EXECUTED") ?? null,
  given: Deno.env.get("OPS_CHILD") ?? null,
}));
// A worker, so that threads which are started later are looked at as well.
new Worker(import.meta.resolve("./ops_child_worker.ts"), { type: "module" });
setInterval(() => {}, 1_000_000);
