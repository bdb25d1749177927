/** The counters and gauges of each role, without their data planes: the control plane needs the names alone. */
import type { MetricTable } from "../base/mod.ts";
import { AGENT_METRICS } from "./agent/metrics.ts";
import { CONNECTOR_METRICS } from "./connector/metrics.ts";
import type { RolePlan } from "./control/mod.ts";
import { SERVER_METRICS } from "./server/metrics.ts";

export const ROLE_METRICS: Readonly<Record<RolePlan["role"], MetricTable>> = {
  server: SERVER_METRICS,
  connector: CONNECTOR_METRICS,
  agent: AGENT_METRICS,
};
