/** Starts a role's data plane, or several of a server. */
import type { MetricTable } from "../../base/mod.ts";
import { startGroupHost } from "./group_host.ts";
import { Host, type HostLog, type HostPlatform, readyRecord, type RoleHost, type Surroundings } from "./host.ts";
import type { RolePlan } from "./messages.ts";

/** What passes between two of the others passes the first, so that more than a few help less than they cost. */
const WORKERS_UNASKED_MAX = 4;

/** Resolves when every address is bound; rejects with the reason when one cannot be. */
export async function startHost(
  platform: HostPlatform,
  plan: RolePlan,
  table: MetricTable,
  log: HostLog,
  surroundings: Surroundings,
): Promise<RoleHost> {
  if (plan.role === "server") {
    const workers = plan.workers ?? (platform.canSharePorts() ? Math.min(platform.cores, WORKERS_UNASKED_MAX) : 1);
    if (workers > 1) return await startGroupHost(platform, { ...plan, workers }, table, log, surroundings);
  }
  const host = new Host(platform, plan, table, log, surroundings);
  await host.ready;
  log.sink(readyRecord(host.addresses, surroundings.listening));
  return host;
}
