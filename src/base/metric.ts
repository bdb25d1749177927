/**
 * Counters and gauges as cells of one shared array. The data plane adds to a cell; the control plane reads all of them when
 * it is scraped. Each cell has one writer, so plain 64-bit stores are enough.
 */

export interface MetricDefinition {
  /** The full Prometheus name, unit last. */
  readonly name: string;
  readonly kind: "counter" | "gauge";
  readonly help: string;
  /** Fixed label set of this cell; one cell per label combination, all known in advance. */
  readonly labels?: Readonly<Record<string, string>>;
  /** How the cells of several workers become one: the sum, or 1 if any is. Default: `sum`. */
  readonly combine?: "sum" | "any";
}

/** A table of metrics: the key is the name in the code, the value says what is exposed. */
export type MetricTable = Readonly<Record<string, MetricDefinition>>;

/** The cells of one table: `cells[index.key] += 1`. */
export interface MetricCells<T extends MetricTable> {
  readonly table: T;
  readonly index: { readonly [K in keyof T]: number };
  readonly cells: Float64Array<SharedArrayBuffer>;
}

/** Lays the table out over `buffer`, or over a new shared buffer. Both isolates call this with the same table. */
export function metricCells<T extends MetricTable>(table: T, buffer?: SharedArrayBuffer): MetricCells<T> {
  const keys = Object.keys(table) as (keyof T)[];
  const cells = new Float64Array(buffer ?? new SharedArrayBuffer(keys.length * 8));
  if (cells.length !== keys.length) throw new Error("postern: internal error: metric table and cells differ in length");
  const index = Object.fromEntries(keys.map((key, i) => [key, i])) as { [K in keyof T]: number };
  return { table, index, cells };
}

/** Adds to a cell. For places that are not hot: there a cell is written in place. */
export function addToCell(metrics: MetricCells<MetricTable>, at: number, by = 1): void {
  metrics.cells[at] = (metrics.cells[at] ?? 0) + by;
}

/** One sample for an exposition. */
export interface MetricSample {
  readonly definition: MetricDefinition;
  readonly value: number;
}

/** All cells with their definitions, in table order. */
export function readMetrics<T extends MetricTable>(metrics: MetricCells<T>): MetricSample[] {
  return Object.keys(metrics.table).map((key, i) => ({
    definition: metrics.table[key] as MetricDefinition,
    value: metrics.cells[i] ?? 0,
  }));
}
