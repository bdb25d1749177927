/** What `deno task bench report` does to the document: its own part is new, what a person wrote stays. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { BEGIN_MARK, END_MARK, withReport } from "./document.ts";
import { type BenchReport, failedTable } from "./report.ts";

function reportOf(value: number): BenchReport {
  return {
    date: "2026-01-02",
    machine: "2 cores",
    command: "deno task bench report",
    tables: [{
      title: "Start",
      columns: ["", "ms"],
      rows: [["server", value], ["floor", null]],
      notes: ["The median."],
      targets: [{ what: "ms", value, bound: 10, kind: "most" }],
    }],
  };
}

Deno.test("a document that does not exist is begun, with places for what people write", () => {
  const document = withReport(null, reportOf(5)) ?? "";
  for (const words of [BEGIN_MARK, "| server | 5.00 |", "1 of 1 are met", END_MARK, "## Where the time goes", "## Choices"]) {
    assertStringIncludes(document, words);
  }
});

Deno.test("the next report takes the place of the last one; words around it stay", () => {
  const first = (withReport(null, reportOf(5)) ?? "").replace("## Choices", "## Choices\n\nCUBIC, for a reason.")
    .replace("# Benchmarks\n", "# Benchmarks\n\nRead this first.\n");
  const second = withReport(first, reportOf(11)) ?? "";
  assertStringIncludes(second, "Read this first.");
  assertStringIncludes(second, "CUBIC, for a reason.");
  assertStringIncludes(second, "| **not met** | Start: ms | 11.0 | at most 10 |");
  assertEquals(second.includes("5.00"), false);
  assertEquals(withReport(second, reportOf(5)), first, "nothing gathers from report to report");
});

Deno.test("a part that failed stands in the document with its reason, and without what lies where on this machine", () => {
  const failed = failedTable("wire", "nothing at /home/user/programs/rathole\n    at Object.run (file:///somewhere.ts)");
  const document = withReport(null, { ...reportOf(5), tables: [...reportOf(5).tables, failed] }) ?? "";
  assertStringIncludes(document, "### wire: not measured\n\nIt failed: nothing at rathole.\n");
  assertStringIncludes(document, "| server | 5.00 |");
});

Deno.test("a document without the marks is not touched", () => {
  assertEquals(withReport("# Mine\n", reportOf(1)), null);
  assertEquals(withReport(`${END_MARK}\n${BEGIN_MARK}\n`, reportOf(1)), null);
});
