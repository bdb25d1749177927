/**
 * Seeded worlds in which a whole gateway runs: the real roles, sockets and endpoints, over simulated system calls, networks and a
 * QUIC engine in memory. Every seed makes its own story; what is asked is always the same.
 */
import { assertEquals } from "@std/assert";
import { runSeeds, type SeedRun } from "./sim_seeds_fixture.ts";
import { Gateway } from "./tunnel_gateway_fixture.ts";
import { scenarioOf, type Weather } from "./tunnel_scenario_fixture.ts";

const SEEDS = 110;
const FILE = "tunnel_sim_test.ts";

function runIn(weather: Weather): (seed: number, show?: (line: string) => void) => SeedRun {
  return (seed, show) => {
    const scenario = scenarioOf(seed, weather);
    show?.(JSON.stringify(scenario, null, 1));
    const gateway = new Gateway(scenario, show);
    return { wrong: () => gateway.run(), print: () => gateway.world.trace.print };
  };
}

const CALM = "over bad links connections are whole, end as their programs end them, and leave nothing behind";
Deno.test(CALM, () => runSeeds({ name: CALM, file: FILE, seeds: SEEDS, run: runIn("calm") }));

const ROUGH = "when processes, links and clocks fail, nothing is false, nothing hangs, and everybody comes back";
Deno.test(ROUGH, () => runSeeds({ name: ROUGH, file: FILE, seeds: SEEDS, run: runIn("rough") }));

Deno.test("a seed tells the same story twice", () => {
  const print = (seed: number, weather: Weather) => {
    const { wrong, print } = runIn(weather)(seed);
    wrong();
    return print();
  };
  for (const seed of [3, 14]) {
    assertEquals(print(seed, "rough"), print(seed, "rough"));
    assertEquals(print(seed, "calm") === print(seed + 1, "calm"), false);
  }
});
