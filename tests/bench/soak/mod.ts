/** The table of long runs. A new one is a file beside this with a {@linkcode Soak} in it, and its line here. */
import { scrapes } from "./scrapes.ts";
import type { Soak } from "./soak.ts";

export const SOAKS: readonly Soak[] = [scrapes];

export { formatReport, runSoak, type Soak, type SoakReport, type SoakRun } from "./soak.ts";
