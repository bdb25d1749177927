/**
 * docs/OPERATIONS.md holds tables that are made from the code's own, between `<!-- generated: NAME -->` and `<!-- end -->`. Tests
 * compare them word for word; run with `-- --update` they write them, and `deno fmt docs` makes them pretty again.
 */
import { assert, assertEquals } from "@std/assert";

const MANUAL = new URL("../docs/OPERATIONS.md", import.meta.url);

/** The text of the manual. */
export function readManual(): string {
  return Deno.readTextFileSync(MANUAL);
}

/** One test for each block: the manual has it as it is here. */
export function testManualBlocks(blocks: Iterable<readonly [name: string, text: string]>): void {
  for (const [name, text] of blocks) {
    Deno.test(`docs/OPERATIONS.md: ${name}`, () => {
      const manual = readManual();
      // Up to the block's own end, also when the block is empty.
      const marked = new RegExp(`(<!-- generated: ${name} -->\n)((?:(?!<!-- end -->)[^])*)(<!-- end -->)`);
      const found = marked.exec(manual);
      assert(found !== null, `the marker <!-- generated: ${name} --> is missing`);
      if (!Deno.args.includes("--update")) assertEquals(plain(found[2] ?? ""), plain(text));
      else Deno.writeTextFileSync(MANUAL, manual.replace(marked, () => `${found[1]}\n${text}\n\n${found[3]}`));
    });
  }
}

/** A table of Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

export function code(text: string): string {
  return `\`${text}\``;
}

/** Without what the formatter adds: padding and empty lines. */
function plain(text: string): string {
  const lines = text.split("\n").map((line) => line.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---").trim());
  return lines.filter((line) => line !== "").join("\n");
}
