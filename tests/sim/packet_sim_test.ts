/**
 * Seeded worlds of IP packets in DATAGRAMs: agents and connectors of both versions around the real server, with the product's
 * connector or one that turns packets round. No packet reaches an agent that did not ask, and answers come as they were asked for,
 * also while addresses change, clocks jump, connectors fail, certificates are revoked by a reload, and somebody floods.
 */
import { assertEquals } from "@std/assert";
import { packetScenarioOf } from "./packet_scenario_fixture.ts";
import { PacketWorld } from "./packet_world_fixture.ts";
import { runSeeds, type SeedRun } from "./sim_seeds_fixture.ts";

const SEEDS = 80;

function run(seed: number, show?: (line: string) => void): SeedRun {
  const scenario = packetScenarioOf(seed);
  show?.(JSON.stringify(scenario, null, 1));
  const world = new PacketWorld(scenario, show);
  return { wrong: () => world.run(), print: () => world.world.trace.print };
}

const NAME = "packets reach the agent that asked and no other, with the addresses that it used";
Deno.test(NAME, () => runSeeds({ name: NAME, file: "packet_sim_test.ts", seeds: SEEDS, run }));

Deno.test("a world of packets happens twice in the same way", () => {
  const prints = [7, 7, 8].map((seed) => {
    const { wrong, print } = run(seed);
    assertEquals(wrong(), []);
    return print();
  });
  assertEquals(prints[0], prints[1]);
  assertEquals(prints[0] === prints[2], false);
});
