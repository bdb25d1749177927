/**
 * Grafana's dashboard out of the metric catalogue: every family that a role has gets a panel, in rows by role, below a few panels that
 * say how things stand. Pure; tests/e2e/ops_manual_test.ts compares deploy/observability/dashboard.json with it.
 */

/** One row of panels: a role, and what it counts. */
export interface DashboardRow {
  readonly title: string;
  readonly metrics: readonly DashboardMetric[];
}

export interface DashboardMetric {
  readonly name: string;
  readonly kind: "counter" | "gauge";
  readonly help: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** A family: all definitions of one name. */
interface Family {
  readonly name: string;
  readonly kind: "counter" | "gauge";
  readonly help: string;
  readonly labels: readonly string[];
}

interface Target {
  readonly expr: string;
  readonly legend: string;
}

interface PanelText {
  readonly title: string;
  readonly description: string;
  readonly unit: string;
  readonly targets: readonly Target[];
}

const COLUMNS = 3;
const WIDTH = 8;
const HEIGHT = 7;
const SOURCE = { type: "prometheus", uid: "${datasource}" };
const CHOSEN = 'job=~"$job",instance=~"$instance"';

/** How things stand: names are those of the catalogue, which is asserted. */
const GLANCE: readonly (PanelText & { readonly names: readonly string[] })[] = [
  {
    title: "Up",
    description: "1 where a role answers Prometheus.",
    unit: "none",
    names: [],
    targets: [{ expr: `up{${CHOSEN}}`, legend: "{{instance}}" }],
  },
  {
    title: "Connections to servers",
    description: "1 while a connector or an agent is connected.",
    unit: "none",
    names: ["ztna_connector_uplink_up", "ztna_agent_uplink_up"],
    targets: [
      { expr: `ztna_connector_uplink_up{${CHOSEN}}`, legend: "connector {{instance}}" },
      { expr: `ztna_agent_uplink_up{${CHOSEN}}`, legend: "agent {{instance}}" },
    ],
  },
  {
    title: "Certificates end in",
    description: "The one of each purpose that ends first.",
    unit: "s",
    names: ["postern_certificate_expiry_seconds"],
    targets: [{
      expr: `min by (instance, purpose) (postern_certificate_expiry_seconds{${CHOSEN}})`,
      legend: "{{instance}} {{purpose}}",
    }],
  },
  {
    title: "Relayed",
    description: "Bytes on streams and in datagrams through servers.",
    unit: "Bps",
    names: ["ztna_stream_bytes_total", "ztna_relay_bytes_total"],
    targets: [
      { expr: rate("ztna_stream_bytes_total", ["direction"]), legend: "{{instance}} streams {{direction}}" },
      { expr: rate("ztna_relay_bytes_total", []), legend: "{{instance}} datagrams" },
    ],
  },
  {
    title: "Refused",
    description: "Opens that servers refused, and clients that they turned away at a limit.",
    unit: "cps",
    names: ["ztna_streams_refused_total", "ztna_limited_total"],
    targets: [
      { expr: `${rate("ztna_streams_refused_total", ["code"])} > 0`, legend: "{{instance}} {{code}}" },
      { expr: `${rate("ztna_limited_total", ["limit"])} > 0`, legend: "{{instance}} limit {{limit}}" },
    ],
  },
  {
    title: "Security events",
    description: "By type; those of every day are left out.",
    unit: "cps",
    names: ["postern_security_events_total"],
    targets: [{
      expr: `${rate("postern_security_events_total", ["type"], ',type!="tls_connection"')} > 0`,
      legend: "{{instance}} {{type}}",
    }],
  },
];

/** The dashboard as the text of its file. Throws when it names a metric that the catalogue does not have. */
export function formatDashboard(rows: readonly DashboardRow[]): string {
  const known = new Set(rows.flatMap(({ metrics }) => metrics.map(({ name }) => name)));
  for (const name of GLANCE.flatMap(({ names }) => names)) if (!known.has(name)) throw new Error(`there is no metric ${name}`);
  const panels: unknown[] = [];
  let id = 0, y = 0;
  const place = (texts: readonly PanelText[], top: number) =>
    texts.map((text, i) =>
      panel(++id, text, { x: i % COLUMNS * WIDTH, y: top + Math.floor(i / COLUMNS) * HEIGHT, w: WIDTH, h: HEIGHT })
    );
  panels.push(...place(GLANCE, y));
  y += Math.ceil(GLANCE.length / COLUMNS) * HEIGHT;
  const shown = new Set<string>();
  for (const { title, metrics } of rows) {
    const families = familiesOf(metrics).filter(({ name }) => !shown.has(name));
    for (const { name } of families) shown.add(name);
    const row = { id: ++id, type: "row", title, collapsed: true, gridPos: { x: 0, y: y++, w: COLUMNS * WIDTH, h: 1 } };
    panels.push({ ...row, panels: place(panelTexts(families), y) });
  }
  return JSON.stringify({ ...FRAME, panels }, null, 2) + "\n";
}

const FRAME = {
  uid: "postern",
  title: "Postern",
  tags: ["postern"],
  editable: true,
  graphTooltip: 1,
  schemaVersion: 39,
  refresh: "30s",
  time: { from: "now-6h", to: "now" },
  templating: {
    list: [
      { name: "datasource", type: "datasource", query: "prometheus", label: "Data source" },
      { ...choice("job", "label_values(postern_build_info, job)"), label: "Job" },
      { ...choice("instance", 'label_values(postern_build_info{job=~"$job"}, instance)'), label: "Instance" },
    ],
  },
};

function choice(name: string, query: string) {
  const all = { includeAll: true, multi: true, current: { text: "All", value: "$__all" }, refresh: 2, sort: 1 };
  return { name, type: "query", datasource: SOURCE, query: { query, refId: name }, definition: query, ...all };
}

function panel(id: number, { title, description, unit, targets }: PanelText, gridPos: Readonly<Record<string, number>>) {
  return {
    id,
    type: "timeseries",
    title,
    description,
    datasource: SOURCE,
    gridPos,
    fieldConfig: { defaults: { unit, min: 0, custom: { fillOpacity: 8, showPoints: "never" } }, overrides: [] },
    options: { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi", sort: "desc" } },
    targets: targets.map(({ expr, legend }, i) => ({ refId: refOf(i), datasource: SOURCE, expr, legendFormat: legend })),
  };
}

/** A, B, ..., Z, A1, B1, ... */
function refOf(at: number): string {
  return String.fromCharCode(65 + at % 26) + (at < 26 ? "" : Math.floor(at / 26));
}

/** A panel for each family; of the many counters of the network stack one for each of its parts. */
function panelTexts(families: readonly Family[]): PanelText[] {
  const parts = new Map<string, Family[]>();
  for (const family of families) {
    const part = /^postern_netstack_[a-z]+/.exec(family.name)?.[0] ?? family.name;
    parts.set(part, [...parts.get(part) ?? [], family]);
  }
  return [...parts].map(([part, members]) => {
    const [first] = members;
    if (first === undefined) throw new Error(part);
    if (members.length === 1) {
      return { title: first.name, description: first.help, unit: unitOf(first), targets: [targetOf(first)] };
    }
    const targets = members.map((family) => ({
      ...targetOf(family),
      legend: `{{instance}} ${family.name.slice(part.length + 1)}`,
    }));
    return {
      title: `${part}_*`,
      description: members.map(({ name, help }) => `${name}: ${help}`).join("\n"),
      unit: "cps",
      targets,
    };
  });
}

function targetOf({ name, kind, labels }: Family): Target {
  const legend = ["{{instance}}", ...labels.map((label) => `{{${label}}}`)].join(" ");
  if (kind === "counter") return { expr: rate(name, labels), legend };
  // A moment says nothing on an axis that begins with 0: how long ago it was does.
  return { expr: name.endsWith("_start_time_seconds") ? `time() - ${name}{${CHOSEN}}` : `${name}{${CHOSEN}}`, legend };
}

function rate(name: string, labels: readonly string[], further = ""): string {
  return `sum by (${["instance", ...labels].join(", ")}) (rate(${name}{${CHOSEN}${further}}[$__rate_interval]))`;
}

function unitOf({ name, kind }: Family): string {
  if (/_bytes(_total)?$/.test(name)) return kind === "counter" ? "Bps" : "bytes";
  if (/_seconds$/.test(name)) return "s";
  if (/_seconds_total$/.test(name)) return "percentunit";
  return kind === "counter" ? "cps" : "none";
}

function familiesOf(metrics: readonly DashboardMetric[]): Family[] {
  const families = new Map<string, { readonly first: DashboardMetric; readonly labels: Set<string> }>();
  for (const metric of metrics) {
    const family = families.get(metric.name) ?? { first: metric, labels: new Set<string>() };
    families.set(metric.name, family);
    for (const label of Object.keys(metric.labels ?? {})) family.labels.add(label);
  }
  return [...families.values()].map(({ first: { name, kind, help }, labels }) => ({ name, kind, help, labels: [...labels] }));
}
