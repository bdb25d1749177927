/**
 * What a role's table says to people and editors: an annotated YAML file and a JSON Schema. Both come from the table alone, so
 * they cannot fall behind it.
 */

import * as z from "zod";
import { fileSchema } from "./resolve.ts";
import { SECURITY_KEY } from "./security_tree.ts";
import { flagOf, type RoleDefinition, type Setting, type SettingTable, variableOf } from "./setting.ts";

/** A YAML file with every key: those that nearly everybody sets are active, the others stand as comments. */
export function exampleYaml<S extends SettingTable, R>(definition: RoleDefinition<S, R>): string {
  const head = [
    `# Settings of \`postern ${definition.role}\`. Check with: postern config check FILE --role ${definition.role}`,
    "# Flags win over variables, variables win over this file. A line that begins with #key shows the default or an example.",
  ];
  return [head.join("\n"), ...Object.entries(definition.settings).map(([key, setting]) => exampleOf(key, setting))].join("\n\n") +
    "\n";
}

function exampleOf(key: string, setting: Setting<unknown>): string {
  const value = setting.example ?? setting.fallback;
  const names = setting.isFileOnly ? "In files only." : `Flag ${flagNames(key, setting)}, variable ${variableOf(key)}.`;
  return [`# ${setting.summary}.`, `# ${names}`, `${setting.isTypical ? "" : "#"}${key}: ${yamlFlow(value)}`].join("\n");
}

/** `--port`, or both forms of a switch. */
export function flagNames(key: string, setting: Setting<unknown>): string {
  return setting.shape === "switch" ? `${flagOf(key)} or ${flagOf(`no_${key}`)}` : flagOf(key);
}

/** JSON is YAML; plain words look better without quotes. */
function yamlFlow(value: unknown): string {
  if (
    typeof value === "string" && /^[A-Za-z/][A-Za-z0-9/._-]*(?::[0-9]+)?$/.test(value) &&
    !/^(?:true|false|null|yes|no|on|off)$/i.test(value)
  ) return value;
  return JSON.stringify(value);
}

/** JSON Schema (draft 2020-12) of a role's file, for editors. */
export function jsonSchema<S extends SettingTable, R>(definition: RoleDefinition<S, R>): Record<string, unknown> {
  const schema = z.toJSONSchema(fileSchema(definition.settings, []), { io: "input", target: "draft-2020-12" });
  const properties = schema.properties as Record<string, Record<string, unknown>>;
  allowComments(schema);
  Object.assign(properties[SECURITY_KEY] ?? {}, { description: "The same settings as a tree; the manual has its keys" });
  for (const [key, setting] of Object.entries(definition.settings)) {
    const own = properties[key];
    if (own !== undefined) Object.assign(own, { description: setting.summary }, defaultOf(setting));
    for (const alias of setting.aliases) {
      Object.assign(properties[alias] ?? {}, { description: `The same as ${key}`, deprecated: true });
    }
  }
  return { ...schema, title: `postern ${definition.role}` };
}

/** Keys that begin with `_` are comments, at any depth. */
function allowComments(schema: unknown): void {
  if (typeof schema !== "object" || schema === null) return;
  if ("properties" in schema) Object.assign(schema, { patternProperties: { "^_": { description: "A comment" } } });
  for (const inside of Object.values(schema)) allowComments(inside);
}

function defaultOf({ fallback }: Setting<unknown>): { readonly default?: unknown } {
  return typeof fallback === "string" || typeof fallback === "number" || typeof fallback === "boolean" ? { default: fallback } : {};
}
