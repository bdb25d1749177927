/** The tables of the manual, made from the roles' tables: what `docs/OPERATIONS.md` must say about flags, variables and keys. */

import { flagNames } from "./example.ts";
import { securityTree } from "./security_tree.ts";
import { type PlannedKey, type RoleDefinition, type SettingTable, variableOf } from "./setting.ts";

/** A Markdown table with a row for each setting of a role. */
export function settingsTable<S extends SettingTable, R>(definition: RoleDefinition<S, R>): string {
  const rows = Object.entries(definition.settings).map(([key, setting]) => {
    const variables = [
      variableOf(key),
      ...(setting.shape === "switch" ? [variableOf(`no_${key}`)] : []),
      ...setting.variableAliases,
    ];
    const keys = [key, ...setting.aliases].map(code).join(", ");
    const value = setting.placeholder === null ? "" : ` ${setting.placeholder}`;
    const flag = setting.isFileOnly ? "-" : flagNames(key, setting).split(" or ").map((name) => code(name + value)).join(", ");
    const off = setting.offSummary === null ? "" : ` Off: ${lowerFirst(setting.offSummary)}.`;
    const repeat = setting.shape === "list" ? " Repeatable; a variable separates with commas." : "";
    return [
      flag,
      setting.isFileOnly ? "-" : variables.map(code).join(", "),
      keys,
      setting.fallbackText === null ? "-" : code(setting.fallbackText),
      `${setting.summary}.${off}${repeat}`,
    ];
  });
  return table(["Flag", "Variable", "Key in files", "Default", "What it does"], rows);
}

/** A Markdown table of the keys that a file may only switch off. */
export function plannedTable(planned: readonly PlannedKey[]): string {
  return table(["Key", "What to do"], planned.map(({ key, hint }) => [code(key), hint]));
}

/** A Markdown table of the `security:` tree: what each key is another name of, or what may stand there. */
export function securityTreeTable(): string {
  const rows = securityTree().map(({ path, meaning }) => {
    switch (meaning.kind) {
      case "setting": {
        const keys = [...new Set(Object.values(meaning.keys).filter((key) => key !== null))];
        return [code(path), `The same as ${keys.map(code).join(" (server) or ")}${keys.length > 1 ? " (clients)" : ""}.`];
      }
      case "fixed":
        return [code(path), `${upperFirst(meaning.why)}${meaning.hint === undefined ? "" : `; ${meaning.hint}`}.`];
      case "planned":
        return [code(path), `Not in this version, only off is taken: ${meaning.hint}.`];
      case "idle":
        return [code(path), `Changes nothing by itself: ${meaning.why}.`];
    }
  });
  return table(["Key below `security`", "What it means"], rows);
}

/** `|` inside a cell would end it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
