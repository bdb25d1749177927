/**
 * Seeing and steering. A role starts it with {@linkcode startOps} and gives itself as an {@linkcode OpsSource}; from then on logs
 * (`log/`), metrics and health (`metrics/`, `watch/`, `metrics_server/`), security events (`events/`) and the admin API (`admin/`) work
 * by themselves. `process/` has the manners of the process, `commands/` what an operator types.
 *
 * The log is its own door (`log/mod.ts`), because it is wanted before anything else is loaded.
 */
export { certificateStatus, type Ops, type OpsOptions, startOps } from "./ops.ts";
export type { OpsNative } from "./native.ts";
export type { OpsSource, Steering, TrafficTotals } from "./source.ts";
export type { SecurityEventStream } from "./events/mod.ts";
