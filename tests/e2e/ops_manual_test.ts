/**
 * The manual names every log event, security event, metric and admin route that the code has, word for word; the dashboard shows every
 * metric.
 * After a change: `deno test -A tests/e2e/ops_manual_test.ts -- --update && deno fmt docs`.
 */
import { assert, assertEquals } from "@std/assert";
import { LOG_EVENTS, type MetricDefinition, SECURITY_EVENTS } from "../../src/base/mod.ts";
import { openAlerts, openEventStream } from "../../src/ops/events/mod.ts";
import { certificateExpiry, OPS_METRICS, processMetrics } from "../../src/ops/metrics/mod.ts";
import { OPS_COMMANDS } from "../../src/ops/commands/mod.ts";
import { type Route, ROUTES } from "../../src/ops/admin/mod.ts";
import { AGENT_METRICS } from "../../src/roles/agent/mod.ts";
import { CONNECTOR_METRICS } from "../../src/roles/connector/mod.ts";
import { SERVER_METRICS } from "../../src/roles/server/mod.ts";
import { formatDashboard } from "../../tools/dashboard.ts";
import { code, table, testManualBlocks } from "../../tools/manual_fixture.ts";
import { native } from "./ops_fixture.ts";

const ROLE_METRICS = { server: SERVER_METRICS, connector: CONNECTOR_METRICS, agent: AGENT_METRICS };

/** One row a family: its labels with all values that are fixed. */
function metricsTable(definitions: Iterable<MetricDefinition>): string {
  const families = new Map<string, { readonly definition: MetricDefinition; readonly labels: Map<string, Set<string>> }>();
  for (const definition of definitions) {
    const family = families.get(definition.name) ?? { definition, labels: new Map() };
    families.set(definition.name, family);
    for (const [name, value] of Object.entries(definition.labels ?? {})) {
      family.labels.set(name, (family.labels.get(name) ?? new Set()).add(value));
    }
  }
  const rows = [...families.values()].map(({ definition, labels }) => [
    code(definition.name),
    definition.kind,
    [...labels].map(([name, values]) => `${code(name)}: ${[...values].map(code).join(", ")}`).join("; ") || "-",
    definition.help,
  ]);
  return table(["Name", "Type", "Labels", "What it says"], rows);
}

function ownMetrics(): MetricDefinition[] {
  const purposes = ["identity", "ca", "metrics", "metrics-ca"].map(certificateExpiry);
  const alerts = openAlerts(null, () => {});
  const samples = [...openEventStream(() => {}).metrics(), ...alerts.metrics(), ...processMetrics(native)];
  alerts.close();
  const info: MetricDefinition = { name: "postern_build_info", kind: "gauge", help: "Always 1; role and version are its labels." };
  return [info, ...Object.values(OPS_METRICS), ...purposes, ...samples.map((sample) => sample.definition)];
}

const routes = Object.values<Route>(ROUTES).map((
  route,
) => [code(`${route.method} ${route.path}`), route.isSteering ? "token" : "-", route.summary]);
const events = Object.entries(SECURITY_EVENTS).map((
  [type, { severity, source, description }],
) => [code(type), severity, source, description]);

const BLOCKS: ReadonlyMap<string, string> = new Map([
  ["log events", table(["Event", "What it says"], Object.entries(LOG_EVENTS).map(([event, text]) => [code(event), text]))],
  ["security events", table(["Type", "Severity", "Source", "Description"], events)],
  ["metrics server", metricsTable(Object.values(ROLE_METRICS.server))],
  ["metrics connector", metricsTable(Object.values(ROLE_METRICS.connector))],
  ["metrics agent", metricsTable(Object.values(ROLE_METRICS.agent))],
  ["metrics all", metricsTable(ownMetrics())],
  ["admin routes", table(["Request", "Needs", "What it does"], routes)],
  [
    "operator commands",
    table(["Command", "What it does"], OPS_COMMANDS.map((command) => [code(`postern ${command.name}`), command.description])),
  ],
]);

testManualBlocks(BLOCKS);

Deno.test("deploy/observability/dashboard.json has a panel for every metric of the code", () => {
  const path = new URL("../../deploy/observability/dashboard.json", import.meta.url);
  const text = formatDashboard([
    { title: "Server", metrics: Object.values(ROLE_METRICS.server) },
    { title: "Connector", metrics: Object.values(ROLE_METRICS.connector) },
    { title: "Agent", metrics: Object.values(ROLE_METRICS.agent) },
    { title: "Every role", metrics: ownMetrics() },
  ]);
  if (Deno.args.includes("--update")) Deno.writeTextFileSync(path, text);
  assertEquals(JSON.parse(Deno.readTextFileSync(path)), JSON.parse(text), "run this file again with -- --update");
});

Deno.test("every metric has one kind and one help, and a name that Prometheus takes", () => {
  const seen = new Map<string, MetricDefinition>();
  const all = [...Object.values(ROLE_METRICS).flatMap((metrics) => Object.values<MetricDefinition>(metrics)), ...ownMetrics()];
  for (const definition of all) {
    const before = seen.get(definition.name);
    assert(/^[a-z][a-z0-9_]*$/.test(definition.name), definition.name);
    assert(definition.help.length > 5, definition.name);
    assertEquals(before?.kind ?? definition.kind, definition.kind, definition.name);
    seen.set(definition.name, definition);
  }
});
