/** `postern config ...`: checks a file, shows effective settings with their sources, prints an example and a schema. */

import type { Command } from "commander";
import { usageError } from "../base/mod.ts";
import {
  exampleYaml,
  formatSource,
  jsonSchema,
  requireServerTrust,
  type Resolution,
  resolveSettings,
  type Role,
  ROLES,
  type ServerSettings,
  type SettingTable,
} from "../config/mod.ts";
import { parseFilter } from "../ops/log/mod.ts";
import type { CliContext } from "./context.ts";
import type { Platform } from "./platform.ts";
import { paintFor } from "./report.ts";
import { formatExamples } from "./role_command.ts";
import { addRoleFlags } from "./role_flags.ts";
import { settingText, shownValue } from "./setting_text.ts";
import { DEFINITIONS, parseRole, readConfigFile, resolveRole } from "./settings.ts";
import { formatTable } from "./table.ts";

export function addConfigCommands(program: Command, context: CliContext): void {
  const config = program.command("config").summary("Check, show and explain settings").description(
    "Settings: check a file, show what holds and where it came from, print an example or a schema.",
  ).addHelpText(
    "after",
    formatExamples([["postern config example agent > agent.yaml", "a file to start from"], [
      "postern config check agent.yaml",
      "before a start",
    ]]),
  );
  config.command("check").summary("Check a configuration file").description(
    "Checks a file as its role would read it. Certificates and keys are not opened, nothing is bound.",
  )
    .argument("<file>", "JSON (*.json) or YAML")
    .option("--role <ROLE>", `${ROLES.join(", ")}; without it the file's name tells`)
    .addHelpText(
      "after",
      formatExamples([["postern config check /etc/postern/server.yaml", "the role is in the name"], [
        "postern config check gw.json --role server",
        "or said",
      ]]),
    )
    .action(async (path: string, options: { readonly role?: string }) => await check(path, options.role, context.platform));
  addShow(config, context);
  config.command("example").summary("Print an annotated configuration file").description(
    "Prints a YAML file with every setting of a role, its default and its other names.",
  )
    .argument("<role>", ROLES.join(", "))
    .addHelpText("after", formatExamples([["postern config example server > server.yaml", "a file to start from"]]))
    .action((role: string) => context.platform.writeOut(exampleYaml(DEFINITIONS[parseRole(role)])));
  config.command("schema").summary("Print the JSON Schema of a configuration file").description(
    "Prints a JSON Schema, for editors that complete and check.",
  )
    .argument("<role>", ROLES.join(", "))
    .addHelpText("after", formatExamples([["postern config schema agent > agent.schema.json", "for an editor"]]))
    .action((role: string) => context.platform.writeOut(JSON.stringify(jsonSchema(DEFINITIONS[parseRole(role)]), null, 2) + "\n"));
}

/** `config show ROLE` takes the role's own flags, so that it answers for exactly that command line. */
function addShow(config: Command, context: CliContext): void {
  const show = config.command("show").summary("Show the effective settings and where each came from").description(
    "Shows what a role would be started with: every setting, its value, and the flag, variable or line that gave it.",
  );
  show.addHelpText(
    "after",
    formatExamples([["postern config show server --config server.yaml --port 4433", "what would hold with these flags"]]),
  );
  for (const role of ROLES) {
    const definition = DEFINITIONS[role];
    const command = show.command(role).summary(`Show the settings of postern ${role}`).description(
      `Shows what \`postern ${role}\` would be started with.`,
    );
    const flags = addRoleFlags(command, definition);
    command.option("--json", "print JSON", false);
    command.addHelpText("after", formatExamples([[`postern config show ${role} --json`, "for a script"]]));
    command.action(async (...args: readonly unknown[]) => {
      const { json } = args.at(-2) as { readonly json: boolean };
      const resolution = await resolveRole(definition, flags, command.args, context.platform);
      finishChecked(role, resolution);
      for (const warning of resolution.warnings) context.platform.writeError(`postern: warning: ${warning}\n`);
      context.platform.writeOut(
        json ? shownAsJson(definition.settings, resolution) : shownAsTable(definition.settings, resolution, context.platform),
      );
    });
  }
}

async function check(path: string, roleText: string | undefined, platform: Platform): Promise<void> {
  const role = roleText === undefined ? roleOfFile(path) : parseRole(roleText);
  const definition = DEFINITIONS[role];
  const file = await readConfigFile(path, platform);
  const resolution = resolveSettings(definition, {
    flags: new Map(),
    positional: [],
    environment: {},
    file,
    otherVariables: new Set(),
  });
  finishChecked(role, resolution);
  for (const warning of resolution.warnings) platform.writeError(`postern: warning: ${warning}\n`);
  const count = Object.values(resolution.resolved.sources).filter((source) => source.kind === "file").length;
  platform.writeOut(`${path}: ok (${role}, ${count} ${count === 1 ? "setting" : "settings"})\n`);
}

/** The role that a file's name tells: `agent.json`, `my-server.yaml`, `intermediate.json`. */
function roleOfFile(path: string): Role {
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  const named = ROLES.filter((role) => name.includes(role));
  const [role, second] = name.includes("intermediate") ? ["server" as const] : named;
  if (role === undefined || second !== undefined) {
    throw usageError(`cannot tell the role of ${path}`, `say which: --role ${ROLES.join("|")}`);
  }
  return role;
}

/** Everything that a start would check in the texts alone. */
function finishChecked(role: Role, resolution: Resolution<SettingTable, unknown>): void {
  const settings = resolution.finish();
  if (role === "server") requireServerTrust(settings as ServerSettings);
  const { values, sources } = resolution.resolved;
  const level: unknown = values["log_level"];
  const source = sources["log_level"];
  if (typeof level === "string" && source !== undefined) parseFilter(level, formatSource(source));
}

function shownAsTable(table: SettingTable, { resolved }: Resolution<SettingTable, unknown>, platform: Platform): string {
  const rows = Object.keys(table).flatMap((key) => {
    const source = resolved.sources[key];
    return source === undefined ? [] : [[key, settingText(table, key, resolved.given[key]), formatSource(source)]];
  });
  return formatTable(["setting", "value", "from"], rows, paintFor(platform, "stdout"));
}

function shownAsJson(table: SettingTable, { resolved }: Resolution<SettingTable, unknown>): string {
  const entries = Object.keys(table).map(
    (key) => [key, { value: shownValue(table, key, resolved.values[key]), source: resolved.sources[key] }],
  );
  return JSON.stringify(Object.fromEntries(entries), null, 2) + "\n";
}
