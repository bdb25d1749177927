/** The short form of a long run; `deno task soak kills` kills a hundred times. */
import { assert, assertEquals } from "@std/assert";
import { runSoak, SOAKS } from "../bench/soak/mod.ts";

const SCALE = 0.03;

Deno.test("server and connector are killed under traffic: all services come back, transfers end truly, nothing grows", async () => {
  const soak = SOAKS.find(({ name }) => name === "kills");
  assert(soak !== undefined);
  const { checks, isOk } = await runSoak(soak, SCALE, () => {});
  assertEquals(checks.filter((check) => !check.isOk), []);
  assert(isOk);
});
