/** The short form of a long run, so that it is known to work; `deno task soak halfload` runs the long form. */
import { assert, assertEquals } from "@std/assert";
import { halfLoad } from "./half_load.ts";
import { runSoak } from "./soak.ts";

const SCALE = 0.003;

Deno.test("half load with agents and connections that come and go: datagrams arrive to the end, descriptors are given back", async () => {
  const { figures, checks } = await runSoak(halfLoad, SCALE, () => {});
  // A runtime that has just begun finds the size of its heap; only a long run can say whether memory comes to rest.
  assertEquals(checks.filter(({ label, isOk }) => !isOk && !label.endsWith("memory comes to rest")), []);
  assert(checks.length >= 9, `${checks.length} checks`);
  assertEquals(figures.filter(({ label }) => label.startsWith("part ")).length, 10);
});
