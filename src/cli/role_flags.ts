/**
 * The flags of a role, made from its table of settings. The parser calls back for every flag it meets; what comes out is the
 * map that `resolveSettings` takes. Texts are not judged here.
 */

import { type Command, Option } from "commander";
import { usageError } from "../base/mod.ts";
import { flagOf, type FlagValue, type RoleDefinition, type Setting, type SettingTable } from "../config/mod.ts";

/** What the parser found. */
export interface RoleFlags {
  /** By key of the table. */
  readonly values: ReadonlyMap<string, FlagValue>;
  /** `--config`, or null. */
  readonly configPath: () => string | null;
}

/**
 * Adds `--config`, the flags of the table (or of `only` these keys) and the positional arguments to a command, before it parses.
 */
export function addRoleFlags<S extends SettingTable, R>(
  command: Command,
  definition: RoleDefinition<S, R>,
  only: readonly string[] = Object.keys(definition.settings),
): RoleFlags {
  const values = new Map<string, FlagValue>();
  let configPath: string | null = null;
  for (const key of definition.positional) {
    command.argument(`[${key}]`, `the same as ${flagOf(key)}`);
  }
  addFlag(
    command,
    "--config <FILE>",
    `Settings in JSON or YAML; without it ${definition.defaultFiles.join(", ")} if there is one`,
    (text) => {
      configPath = text;
    },
  );
  for (const [key, setting] of Object.entries(definition.settings)) {
    if (!setting.isFileOnly && !setting.isSecret && only.includes(key)) addSetting(command, key, setting, values);
  }
  return { values, configPath: () => configPath };
}

function addSetting(command: Command, key: string, setting: Setting<unknown>, values: Map<string, FlagValue>): void {
  const flag = flagOf(key);
  if (setting.shape === "switch") {
    const positive = new Option(flag, setting.summary);
    const negative = new Option(flagOf(`no_${key}`), setting.offSummary ?? `Turn ${flag} off`);
    // The help shows the form that changes something; both are taken.
    (setting.fallback === true ? positive : negative).hideHelp();
    command.addOption(positive).addOption(negative);
    command.on(`option:${positive.name()}`, () => values.set(key, true));
    command.on(`option:${negative.name()}`, () => values.set(key, false));
    return;
  }
  const repeat = setting.shape === "list" ? " (repeatable)" : "";
  addFlag(command, `${flag} <${setting.placeholder ?? "VALUE"}>`, `${setting.summary}${repeat}${defaultNote(setting)}`, (text) => {
    const before = values.get(key);
    values.set(key, [...(Array.isArray(before) ? before : []), text]);
  });
}

/** A flag with a value. A value that looks like a flag is a value that was forgotten. */
function addFlag(command: Command, syntax: string, description: string, take: (text: string) => void): void {
  const option = new Option(syntax, description);
  command.addOption(option);
  command.on(`option:${option.name()}`, (text: string) => {
    if (/^--[a-z]/.test(text)) {
      throw usageError(`${option.long} needs a value: ${syntax.replaceAll(/[<>]/g, "")}`, `got the flag ${text} instead`);
    }
    take(text);
  });
}

function defaultNote({ fallbackText }: Setting<unknown>): string {
  return fallbackText === null ? "" : ` (default: ${fallbackText})`;
}
