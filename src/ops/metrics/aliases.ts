/**
 * The families that earlier gateways had under a prefix of their own, told a second time under the prefix that the operator names, so
 * that dashboards and alerts written for those go on working.
 */
import type { MetricSample } from "../../base/mod.ts";

const OWN_PREFIX = "postern_";

/** Without prefix. */
const ALIASED: ReadonlySet<string> = new Set([
  "tls_connections_total",
  "tls_handshake_failures_total",
  "tls_version",
  "certificate_expiry_seconds",
  "certificate_rotations_total",
  "security_events_total",
  "security_alerts_total",
]);

/** The samples that have a second name, under it: `PREFIX_tls_connections_total`. Labels, kinds and values are the same. */
export function aliasSamples(samples: readonly MetricSample[], prefix: string): MetricSample[] {
  const aliases: MetricSample[] = [];
  for (const { definition, value } of samples) {
    const bare = definition.name.slice(OWN_PREFIX.length);
    if (!definition.name.startsWith(OWN_PREFIX) || !ALIASED.has(bare)) continue;
    aliases.push({ definition: { ...definition, name: `${prefix}_${bare}` }, value });
  }
  return aliases;
}
