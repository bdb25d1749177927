/**
 * `docs/BENCHMARKS.md`: what was measured stands between two marks and is written by `deno task bench report`; everything else in it is
 * written by hand and stays as it is.
 */
import { type BenchReport, reportMarkdown, targetsMarkdown } from "./report.ts";

export const BEGIN_MARK = "<!-- measured: begin; what stands below is written by `deno task bench report` -->";
export const END_MARK = "<!-- measured: end -->";

/** Of a document that does not exist yet. */
const NEW_DOCUMENT = `# Benchmarks

One run of one command, each figure beside its reference in the same run. Times depend on the machine, ratios less; a target is a ratio
of one run. What the words mean is in [GLOSSARY.md](GLOSSARY.md).

${BEGIN_MARK}

${END_MARK}

## Where the time goes

## Choices
`;

/** The document with this report in place of the last one. Null: the document has no place for it. */
export function withReport(document: string | null, report: BenchReport): string | null {
  const text = document ?? NEW_DOCUMENT;
  const begin = text.indexOf(BEGIN_MARK), end = text.indexOf(END_MARK);
  if (begin < 0 || end < begin) return null;
  const measured = `## Targets\n\n${targetsMarkdown(report)}\n\n## Figures\n\n${reportMarkdown(report)}`;
  return `${text.slice(0, begin + BEGIN_MARK.length)}\n\n${measured}\n${text.slice(end)}`;
}
