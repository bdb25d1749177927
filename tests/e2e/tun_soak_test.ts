/** The short form of the long run over both paths; `deno task soak cycles` runs the long form. */
import { assert, assertEquals } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { runSoak, SOAKS } from "../bench/soak/mod.ts";
import { TUN_NEEDS } from "./tun_fixture.ts";

const SCALE = 0.05;

Deno.test(needing(TUN_NEEDS, "connections opened and closed as packets and as streams leave nothing behind", async () => {
  const soak = SOAKS.find(({ name }) => name === "cycles");
  assert(soak !== undefined);
  const { checks, isOk } = await runSoak(soak, SCALE, () => {});
  assertEquals(checks.filter((check) => !check.isOk), []);
  assert(isOk);
}));
