/** The three roles: which data plane a plan starts, and what each counts. `control` is how their two isolates talk. */
import { metricCells } from "../base/mod.ts";
import { AGENT_ARENA_BYTES, AGENT_METRICS, AgentPlane } from "./agent/mod.ts";
import { CONNECTOR_ARENA_BYTES, CONNECTOR_METRICS, ConnectorPlane } from "./connector/mod.ts";
import type { Plane, PlaneStart, RolePlan, RolePlane } from "./control/mod.ts";
import { CarrierPlane, SERVER_ARENA_BYTES, SERVER_METRICS, ServerPlane } from "./server/mod.ts";

/** Memory of each role's data plane. */
export const ROLE_ARENA_BYTES: Readonly<Record<RolePlan["role"], number>> = {
  server: SERVER_ARENA_BYTES,
  connector: CONNECTOR_ARENA_BYTES,
  agent: AGENT_ARENA_BYTES,
};

/** Builds the data plane of a role. Throws when it cannot bind, or the TLS material does not fit. */
export function createRolePlane(plane: Plane, { plan, cells, group }: PlaneStart): RolePlane {
  switch (plan.role) {
    case "server":
      return group === undefined || group.worker === 0
        ? new ServerPlane(plane, plan, metricCells(SERVER_METRICS, cells), group)
        : new CarrierPlane(plane, plan, metricCells(SERVER_METRICS, cells), group);
    case "connector":
      return new ConnectorPlane(plane, plan, metricCells(CONNECTOR_METRICS, cells));
    case "agent":
      return new AgentPlane(plane, plan, metricCells(AGENT_METRICS, cells));
  }
}
