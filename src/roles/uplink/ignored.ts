/** What came to a client's UDP ports and led nowhere: the endpoint's own counts among the metrics of the role, by reason. */
import type { EndpointCounters } from "../../core/quic/mod.ts";
import type { MetricCells, MetricDefinition } from "../../base/mod.ts";

/** The keys of these metrics in a role's table. */
type IgnoredKey = "ignoredMalformed" | "ignoredVersion" | "ignoredUnknown" | "ignoredRetiredId" | "ignoredUndecryptable";

type IgnoredTable = Readonly<Record<IgnoredKey, MetricDefinition>>;

/** The rows of the table; `prefix` is what the role's metrics begin with. */
export function ignoredMetrics(prefix: string): IgnoredTable {
  const ignored = (reason: string): MetricDefinition => ({
    name: `${prefix}_packets_ignored_total`,
    kind: "counter",
    help: "UDP payloads that led nowhere, by reason.",
    labels: { reason },
  });
  return {
    ignoredMalformed: ignored("malformed"),
    ignoredVersion: ignored("other-version"),
    ignoredUnknown: ignored("unknown-connection"),
    ignoredRetiredId: ignored("retired-id"),
    ignoredUndecryptable: ignored("undecryptable"),
  };
}

/** Brings the counts up to date. Cheap enough for every turn. */
export function publishIgnored(counters: EndpointCounters, { cells, index }: MetricCells<IgnoredTable>): void {
  cells[index.ignoredMalformed] = counters.malformed;
  cells[index.ignoredVersion] = counters.otherVersion;
  cells[index.ignoredUnknown] = counters.unknownConnection;
  cells[index.ignoredRetiredId] = counters.retiredId;
  cells[index.ignoredUndecryptable] = counters.undecryptable;
}
