/**
 * What a process gives up before it opens anything (`harden.ts`), and whether it must keep the right to low ports (`low_port.ts`).
 * Imports next to nothing: it runs twice, and the first time only to execute the program anew.
 */
export { type HardeningResult, hardenProcess } from "./harden.ts";
export { mayNeedLowPort } from "./low_port.ts";
