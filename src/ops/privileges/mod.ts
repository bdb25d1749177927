/**
 * What a process gives up before it opens anything (`harden.ts`), and what it must keep (`wanted.ts`).
 * Imports next to nothing: it runs twice, and the first time only to execute the program anew.
 */
export { type HardeningResult, hardenProcess } from "./harden.ts";
export { capabilitiesWanted } from "./wanted.ts";
