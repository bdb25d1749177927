/**
 * From the command line to the effective settings of a role: finds the file, reads it, joins it with flags and environment.
 * What flows through: the parser's flags in, a resolution with sources out.
 */

import { messageOf, PosternError, usageError } from "../base/mod.ts";
import {
  AGENT,
  CONFIG_FILE_MAX_BYTES,
  type ConfigFile,
  CONNECTOR,
  namesOf,
  parseConfigFile,
  type Resolution,
  resolveSettings,
  type Role,
  type RoleDefinition,
  ROLES,
  SERVER,
  type SettingTable,
} from "../config/mod.ts";
import type { Platform } from "./platform.ts";
import type { RoleFlags } from "./role_flags.ts";

/** The table of each role, when it does not matter which. */
export const DEFINITIONS: Readonly<Record<Role, RoleDefinition<SettingTable, unknown>>> = {
  server: SERVER as unknown as RoleDefinition<SettingTable, unknown>,
  connector: CONNECTOR as unknown as RoleDefinition<SettingTable, unknown>,
  agent: AGENT as unknown as RoleDefinition<SettingTable, unknown>,
};

/** The role of that name. Throws a usage error. */
export function parseRole(text: string): Role {
  const role = ROLES.find((name) => name === text);
  if (role === undefined) throw usageError(`unknown role ${JSON.stringify(text)}`, `roles are ${ROLES.join(", ")}`);
  return role;
}

/** Resolves what a role would be started with. Warnings about a default file that cannot be read are among the others. */
export async function resolveRole<S extends SettingTable, R>(
  definition: RoleDefinition<S, R>,
  flags: RoleFlags,
  positional: readonly string[],
  platform: Platform,
): Promise<Resolution<S, R>> {
  const environment = platform.environment();
  const { file, warnings } = await findConfigFile(
    definition,
    flags.configPath() ?? (environment["POSTERN_CONFIG"] || null),
    platform,
  );
  const resolution = resolveSettings(definition, {
    flags: flags.values,
    positional,
    environment,
    file,
    otherVariables: new Set(ROLES.flatMap((role) => [...namesOf(DEFINITIONS[role].settings).keys()])),
  });
  return { ...resolution, warnings: [...warnings, ...resolution.warnings] };
}

/** A file that was named must be there (exit 1); a default file may be missing, and one that cannot be read is passed over. */
async function findConfigFile<S extends SettingTable, R>(
  definition: RoleDefinition<S, R>,
  named: string | null,
  platform: Platform,
): Promise<{ readonly file: ConfigFile | null; readonly warnings: readonly string[] }> {
  if (named !== null) return { file: await readConfigFile(named, platform), warnings: [] };
  const warnings: string[] = [];
  for (const path of definition.defaultFiles) {
    try {
      const bytes = await platform.readFile(path);
      return { file: await parseConfigFile(path, bytes), warnings };
    } catch (error) {
      if (error instanceof PosternError) throw error;
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) continue;
      warnings.push(`Configuration file ${path} cannot be read and is ignored: ${messageOf(error)}`);
    }
  }
  return { file: null, warnings };
}

/** Reads and parses a file that somebody named. Rejects with exit code 1 when it is not there, 2 when its text is wrong. */
export async function readConfigFile(path: string, platform: Platform): Promise<ConfigFile> {
  let bytes: Uint8Array;
  try {
    bytes = await platform.readFile(path);
  } catch (cause) {
    const isMissing = cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory;
    throw new PosternError(
      isMissing ? `Configuration file not found: ${path}` : `Configuration file cannot be read: ${path}: ${messageOf(cause)}`,
      {
        code: isMissing ? "file-missing" : "file-unreadable",
        hint: `\`postern config example ROLE\` prints one to start from (at most ${CONFIG_FILE_MAX_BYTES} bytes)`,
        cause,
      },
    );
  }
  return await parseConfigFile(path, bytes);
}
