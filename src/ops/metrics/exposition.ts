/**
 * The text formats that scrapers read: Prometheus 0.0.4 and OpenMetrics 1.0. Samples are grouped by name into families; the same
 * name and labels from several workers are one sample, their values added up.
 *
 * Two counters of earlier ztna-v1 peers have no `_total`. They keep their names and are exposed without a type, because a counter of
 * that name is an error to linters and cannot be said in OpenMetrics.
 */
import type { MetricDefinition, MetricSample } from "../../base/mod.ts";

export type ExpositionFormat = "prometheus" | "openmetrics";

export const EXPOSITION_TYPES: Readonly<Record<ExpositionFormat, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

interface Family {
  /** With `_total`, as Prometheus names it. */
  readonly name: string;
  readonly type: "counter" | "gauge" | "untyped";
  readonly help: string;
  /** Label text to value. */
  readonly samples: Map<string, number>;
}

/** Units that a name may end in (before `_total`), as OpenMetrics wants them told. */
const UNITS = ["seconds", "bytes", "ratio"] as const;

/** Picks the format by the Accept header field (RFC 9110 §12.5.1); OpenMetrics only for who prefers it by name. */
export function chooseFormat(accept: string | undefined): ExpositionFormat {
  let openmetrics = -1, prometheus = -1;
  for (const part of (accept ?? "").split(",").slice(0, 32)) {
    const [type = "", ...parameters] = part.split(";").map((word) => word.trim().toLowerCase());
    const quality = Number(parameters.find((word) => word.startsWith("q="))?.slice(2) ?? "1");
    if (!Number.isFinite(quality)) continue;
    if (type === "application/openmetrics-text") openmetrics = Math.max(openmetrics, quality);
    else if (type === "text/plain") prometheus = Math.max(prometheus, quality);
  }
  return openmetrics > 0 && openmetrics >= prometheus ? "openmetrics" : "prometheus";
}

/** The whole exposition. Families stand in the order in which they first came. */
export function formatExposition(samples: Iterable<MetricSample>, format: ExpositionFormat): string {
  let text = "";
  for (const family of families(samples).values()) {
    text += format === "prometheus" ? prometheusText(family) : openmetricsText(family);
  }
  return format === "prometheus" ? text : text + "# EOF\n";
}

function families(samples: Iterable<MetricSample>): Map<string, Family> {
  const found = new Map<string, Family>();
  for (const { definition, value } of samples) {
    const isOldCounter = definition.kind === "counter" && !definition.name.endsWith("_total");
    add(found, definition, isOldCounter ? "untyped" : definition.kind, value);
  }
  return found;
}

function add(found: Map<string, Family>, definition: MetricDefinition, type: Family["type"], value: number): void {
  let family = found.get(definition.name);
  if (family === undefined) {
    family = { name: definition.name, type, help: definition.help, samples: new Map() };
    found.set(definition.name, family);
  }
  const labels = labelText(definition.labels);
  family.samples.set(labels, (family.samples.get(labels) ?? 0) + value);
}

function prometheusText({ name, type, help, samples }: Family): string {
  let text = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
  for (const [labels, value] of samples) text += `${name}${labels} ${formatValue(value)}\n`;
  return text;
}

function openmetricsText({ name, type, help, samples }: Family): string {
  // OpenMetrics names the family of a counter without `_total` and its samples with it.
  const family = type === "counter" ? name.slice(0, -"_total".length) : name;
  const unit = UNITS.find((word) => family.endsWith(`_${word}`));
  let text = `# TYPE ${family} ${type === "untyped" ? "unknown" : type}\n`;
  if (unit !== undefined) text += `# UNIT ${family} ${unit}\n`;
  text += `# HELP ${family} ${escapeLabel(help)}\n`;
  for (const [labels, value] of samples) text += `${name}${labels} ${formatValue(value)}\n`;
  return text;
}

function labelText(labels: Readonly<Record<string, string>> | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function formatValue(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return Number.isNaN(value) ? "NaN" : String(value);
}
