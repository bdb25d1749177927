// The table of bounds in docs/ARCHITECTURE.md says what the code says.
import { assert, assertEquals } from "@std/assert";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const UNITS: Readonly<Record<string, number>> = { "": 1, "s": 1000, "KiB": 1024, "MiB": 1024 ** 2 };

/** `| \`name\` | value | \`path\` | ...`. */
const ROW = /^\| `([\w.]+)`\s*\| ([\d,]+) ?(KiB|MiB|s|)\s*\| `([\w\/.]+)`/gm;

/** What a file assigns to a name, or to a key of one: `NAME = 5 * 60`, `key: 1_024`, `group: { key: 7`. */
function valueIn(text: string, name: string): number | null {
  const [first = "", second] = name.split(".");
  const at = second === undefined ? `\\b${first}(?: =|:)` : `\\b${first}: \\{[^}]*\\b${second}:`;
  const expression = new RegExp(`${at} ([\\d_]+(?: \\* [\\d_]+)*)\\b`).exec(text)?.[1];
  return expression === undefined
    ? null
    : expression.split(" * ").reduce((product, factor) => product * Number(factor.replaceAll("_", "")), 1);
}

Deno.test("every bound in the documents is the one in the code", () => {
  const rows = [...Deno.readTextFileSync(join(ROOT, "docs", "ARCHITECTURE.md")).matchAll(ROW)];
  assert(rows.length > 20, `only ${rows.length} rows were understood`);
  const said = rows.map((
    [, name = "", value = "", unit = ""],
  ): [string, number | null] => [name, Number(value.replaceAll(",", "")) * (UNITS[unit] ?? NaN)]);
  const found = rows.map((
    [, name = "", , , path = ""],
  ): [string, number | null] => [name, valueIn(Deno.readTextFileSync(join(ROOT, path)), name)]);
  assertEquals(said, found);
});
