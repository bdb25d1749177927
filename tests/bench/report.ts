/** What a benchmark says: tables with their units, targets that are ratios of one run, and both as text, Markdown and JSON. */

export interface BenchTable {
  readonly title: string;
  /** The first names the row; each other one says its unit. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly [name: string, ...values: (number | null)[]])[];
  /** What is left out, and why; how it was measured. */
  readonly notes: readonly string[];
  readonly targets: readonly BenchTarget[];
}

/** A ratio that should not be above (`most`) or below (`least`) a bound. */
export interface BenchTarget {
  readonly what: string;
  readonly value: number;
  readonly bound: number;
  readonly kind: "most" | "least";
}

export interface BenchReport {
  readonly date: string;
  readonly machine: string;
  readonly command: string;
  readonly tables: readonly BenchTable[];
}

/** In place of what could not be measured. Where something lies on this machine is nobody's business. */
export function failedTable(name: string, reason: string): BenchTable {
  const [words = ""] = reason.replaceAll(/\/\S+\//g, "").split("\n");
  return { title: `${name}: not measured`, columns: [], rows: [], notes: [`It failed: ${words}.`], targets: [] };
}

/** Three digits that count: 0.0123, 1.23, 123, 12300. */
export function formatFigure(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return "-";
  if (Math.abs(value) >= 100) return `${Math.round(value)}`;
  return value.toFixed(Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 || value === 0 ? 2 : 3);
}

export function isMet({ value, bound, kind }: BenchTarget): boolean {
  return kind === "most" ? value <= bound : value >= bound;
}

/** For a terminal. */
export function tableText(table: BenchTable): string {
  const cells = [table.columns, ...table.rows.map(([name, ...values]) => [name, ...values.map(formatFigure)])];
  const widths = table.columns.map((_, i) => Math.max(...cells.map((row) => (row[i] ?? "").length)));
  const lines = table.rows.length === 0
    ? []
    : cells.map((row) =>
      `  ${row.map((cell, i) => i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)).join("  ")}`
    );
  const targets = table.targets.map((target) => `  ${isMet(target) ? "met   " : "MISSED"}  ${targetText(target)}`);
  return [`\n${table.title}`, ...lines, ...table.notes.map((note) => `  ${note}`), ...targets].join("\n");
}

/** The whole report as a document. */
export function reportMarkdown({ date, machine, command, tables }: BenchReport): string {
  const parts = [`Measured on ${date} with \`${command}\` on ${machine}.`];
  for (const { title, columns, rows, notes, targets } of tables) {
    const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
    parts.push(`### ${title}`);
    if (rows.length > 0) {
      parts.push([
        line(columns),
        line(columns.map((_, i) => i === 0 ? "---" : "---:")),
        ...rows.map(([name, ...values]) => line([name, ...values.map(formatFigure)])),
      ].join("\n"));
    }
    if (notes.length > 0) parts.push(notes.join("\n"));
    if (targets.length > 0) {
      parts.push(targets.map((target) => `- ${isMet(target) ? "met" : "**not met**"}: ${targetText(target)}`).join("\n"));
    }
  }
  return `${parts.join("\n\n")}\n`;
}

/** All targets of a report in one table, those that are missed first. */
export function targetsMarkdown({ tables }: BenchReport): string {
  const all = tables.flatMap(({ title, targets }) => targets.map((target) => ({ title, target })));
  const met = all.filter(({ target }) => isMet(target));
  const rows = [...all.filter(({ target }) => !isMet(target)), ...met].map(({ title, target }) => {
    const { what, value, bound, kind } = target;
    return `| ${isMet(target) ? "met" : "**not met**"} | ${title}: ${what} | ${formatFigure(value)} | at ${kind} ${bound} |`;
  });
  return [
    `${met.length} of ${all.length} are met.`,
    "",
    "| | Target | Measured | Wanted |",
    "| --- | --- | ---: | ---: |",
    ...rows,
  ].join("\n");
}

function targetText({ what, value, bound, kind }: BenchTarget): string {
  return `${what}: ${formatFigure(value)}, wanted at ${kind} ${bound}`;
}
