/** The table of long runs. A new one is a file beside this with a {@linkcode Soak} in it, and its line here. */
import { cycles } from "./cycles.ts";
import { decoders } from "./decoders.ts";
import { fuzz } from "./fuzz.ts";
import { garbage } from "./garbage.ts";
import { halfLoad } from "./half_load.ts";
import { kills } from "./kills.ts";
import { load } from "./load.ts";
import { nat } from "./nat.ts";
import { paths } from "./paths.ts";
import { scrapes } from "./scrapes.ts";
import { sim } from "./sim.ts";
import { transfers } from "./transfers.ts";
import type { Soak } from "./soak.ts";

export const SOAKS: readonly Soak[] = [scrapes, cycles, transfers, fuzz, garbage, decoders, sim, load, halfLoad, paths, kills, nat];

export { formatReport, runSoak, type Soak, type SoakReport, type SoakRun } from "./soak.ts";
