/** Plain tables for a terminal or a pipe: columns as wide as their longest cell, the last one unpadded. */

import type { Paint } from "./report.ts";

/** Lines with a head, each ending in a line feed. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[], paint: Paint): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? "").length)));
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => i === head.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd();
  return [paint.bold(line(head)), ...rows.map(line)].join("\n") + "\n";
}
