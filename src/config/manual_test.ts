/**
 * The manual says what the tables say: `docs/OPERATIONS.md` holds the generated tables between its markers, word for word.
 * After a change: `deno test -A src/config/manual_test.ts -- --update && deno fmt docs`.
 */

import { assert, assertEquals } from "@std/assert";
import { plannedTable, securityTreeTable, settingsTable } from "./manual.ts";
import { AGENT, CONNECTOR, type RoleDefinition, SERVER, type SettingTable } from "./mod.ts";

const MANUAL = new URL("../../docs/OPERATIONS.md", import.meta.url);
const DEFINITIONS = [SERVER, CONNECTOR, AGENT] as unknown as readonly RoleDefinition<SettingTable, unknown>[];

const BLOCKS = new Map([
  ["security tree", securityTreeTable()] as const,
  ...DEFINITIONS.flatMap((definition) => [
    [`settings ${definition.role}`, settingsTable(definition)] as const,
    ...definition.planned.length === 0 ? [] : [[`keys to come ${definition.role}`, plannedTable(definition.planned)] as const],
    [`default files ${definition.role}`, definition.defaultFiles.map((path) => `\`${path}\``).join(", ")] as const,
  ]),
]);

/** Without what the formatter adds: padding and empty lines. */
function plain(text: string): string {
  return text.split("\n").map((line) => line.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---").trim()).filter((line) =>
    line !== ""
  ).join("\n");
}

for (const [name, text] of BLOCKS) {
  Deno.test(`docs/OPERATIONS.md: ${name}`, () => {
    const manual = Deno.readTextFileSync(MANUAL);
    // Up to the block's own end, also when the block is empty.
    const marked = new RegExp(`(<!-- generated: ${name} -->\n)((?:(?!<!-- end -->)[^])*)(<!-- end -->)`);
    const found = marked.exec(manual);
    assert(found !== null, `the marker <!-- generated: ${name} --> is missing`);
    if (Deno.args.includes("--update")) {
      Deno.writeTextFileSync(
        MANUAL,
        manual.replace(marked, () => `${found[1]}\n${text}\n\n${found[3]}`),
      );
    } else assertEquals(plain(found[2] ?? ""), plain(text));
  });
}
