/** Starts a role's data plane, or several of a server. */
import type { MetricTable } from "../../base/mod.ts";
import { startGroupHost } from "./group_host.ts";
import { Host, type HostLog, type HostPlatform, readyRecord, type RoleHost, type Surroundings } from "./host.ts";
import type { RolePlan } from "./messages.ts";

/** Resolves when every address is bound; rejects with the reason when one cannot be. */
export async function startHost(
  platform: HostPlatform,
  plan: RolePlan,
  table: MetricTable,
  log: HostLog,
  surroundings: Surroundings,
): Promise<RoleHost> {
  if (plan.role === "server" && (plan.workers ?? 1) > 1) return await startGroupHost(platform, plan, table, log, surroundings);
  const host = new Host(platform, plan, table, log, surroundings);
  await host.ready;
  log.sink(readyRecord(host.addresses, surroundings.listening));
  return host;
}
