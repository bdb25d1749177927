/**
 * The manual says what the tables say: `docs/OPERATIONS.md` holds the generated tables between its markers, word for word.
 * After a change: `deno test -A src/config/manual_test.ts -- --update && deno fmt docs`.
 */

import { testManualBlocks } from "../../tools/manual_fixture.ts";
import { plannedTable, securityTreeTable, settingsTable } from "./manual.ts";
import { AGENT, CONNECTOR, type RoleDefinition, SERVER, type SettingTable } from "./mod.ts";

const DEFINITIONS = [SERVER, CONNECTOR, AGENT] as unknown as readonly RoleDefinition<SettingTable, unknown>[];

const BLOCKS = new Map([
  ["security tree", securityTreeTable()] as const,
  ...DEFINITIONS.flatMap((definition) => [
    [`settings ${definition.role}`, settingsTable(definition)] as const,
    ...definition.planned.length === 0 ? [] : [[`keys to come ${definition.role}`, plannedTable(definition.planned)] as const],
    [`default files ${definition.role}`, definition.defaultFiles.map((path) => `\`${path}\``).join(", ")] as const,
  ]),
]);

testManualBlocks(BLOCKS);
