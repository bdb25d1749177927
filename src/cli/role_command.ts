/**
 * `postern server`, `postern connector`, `postern agent`: resolve the settings, open the log, load certificates and keys, start
 * the role. Its life is in `role_run.ts`, reading anew in `role_reload.ts`.
 */

import type { Command } from "commander";
import { messageOf, PosternError } from "../base/mod.ts";
import {
  AGENT,
  type AgentSettings,
  type CommonSettings,
  CONNECTOR,
  type ConnectorSettings,
  formatSource,
  loadClientMaterial,
  loadServerMaterial,
  type MaterialReader,
  type Resolution,
  type RoleDefinition,
  type RoleMaterial,
  SERVER,
  type ServerSettings,
  type SettingTable,
  type ValueSource,
} from "../config/mod.ts";
import { type Log, parseFilter } from "../ops/log/mod.ts";
import type { CliContext } from "./context.ts";
import type { Platform, RoleStart } from "./platform.ts";
import { addRoleFlags } from "./role_flags.ts";
import { readRevocationLists } from "../platform/revocation/mod.ts";
import { type LoadedRole, materialPaths, RoleReloader } from "./role_reload.ts";
import { resolveRole } from "./settings.ts";

/** Adds the three roles to the program. */
export function addRoleCommands(program: Command, context: CliContext): void {
  addRole(program, context, SERVER, {
    summary: "Relay between agents and connectors",
    description: "The server: agents and connectors dial it, and it relays only what a certificate allows.",
    examples: [
      ["postern server --cert server-cert.pem --key server-key.pem --ca-cert ca-cert.pem", "listen on 0.0.0.0:4433"],
      ["postern server --config /etc/postern/server.yaml --bind 0.0.0.0 --bind '[::]'", "IPv4 and IPv6"],
      ["postern server 4433 cert.pem key.pem --ca-cert ca-cert.pem", "by position, as in older unit files"],
    ],
    start: (settings: ServerSettings, material, log) => ({ settings, material, log }),
    load: loadServerMaterial,
  });
  addRole(program, context, CONNECTOR, {
    summary: "Offer services of this network through a server",
    description: "The connector: dials out to a server and brings what agents ask for to the backends behind it.",
    examples: [
      [
        "postern connector --server gw.example.com --service web --forward 127.0.0.1:8080 --ca-cert ca-cert.pem \\\n      --client-cert connector-cert.pem --client-key connector-key.pem",
        "one service",
      ],
      ["postern connector --config connector.yaml --service web=10.0.0.5:80 --service db=10.0.0.6:5432", "several services"],
    ],
    start: (settings: ConnectorSettings, material, log) => ({ settings, material, log }),
    load: loadClientMaterial,
  });
  addRole(program, context, AGENT, {
    summary: "Open local ports that lead to services",
    description: "The agent: listens on local ports and brings their connections to services through a server.",
    examples: [
      [
        "postern agent --server gw.example.com --forward 9000=web --ca-cert ca-cert.pem \\\n      --client-cert agent-cert.pem --client-key agent-key.pem",
        "127.0.0.1:9000 is the service web",
      ],
      ["postern agent --config agent.yaml --forward '[::1]:0=db'", "any free port; the event `ready` names it"],
    ],
    start: (settings: AgentSettings, material, log) => ({ settings, material, log }),
    load: loadClientMaterial,
  });
}

/** What differs between the roles for the command line. */
interface RoleText<R> {
  readonly summary: string;
  readonly description: string;
  readonly examples: readonly (readonly [command: string, what: string])[];
  readonly start: (settings: R, material: RoleMaterial, log: Log) => RoleStart;
  readonly load: (settings: R, reader: MaterialReader) => Promise<RoleMaterial>;
}

function addRole<S extends SettingTable, R extends CommonSettings & { readonly role: string }>(
  program: Command,
  context: CliContext,
  definition: RoleDefinition<S, R>,
  text: RoleText<R>,
): void {
  const command = program.command(definition.role).summary(text.summary).description(text.description);
  const flags = addRoleFlags(command, definition);
  command.addHelpText("after", formatExamples(text.examples) + VARIABLES_NOTE);
  command.action(async () => {
    context.exitCode = await runRole(
      () => resolveRole(definition, flags, command.args, context.platform),
      definition.settings,
      text,
      context.platform,
    );
  });
}

const VARIABLES_NOTE =
  "\nEvery flag is also a variable: --client-cert is POSTERN_CLIENT_CERT. Flags win over variables, variables over the file.\n";

/** The examples below a command's help. */
export function formatExamples(examples: readonly (readonly [command: string, what: string])[]): string {
  return `\nExamples:\n${examples.map(([command, what]) => `  # ${what}\n  ${command}`).join("\n")}\n`;
}

async function runRole<S extends SettingTable, R extends CommonSettings & { readonly role: string }>(
  resolve: () => Promise<Resolution<S, R>>,
  table: S,
  text: RoleText<R>,
  platform: Platform,
): Promise<number> {
  const resolution = await resolve();
  const settings = resolution.finish();
  const levelSource = resolution.resolved.sources["log_level"];
  // Said under the name that the person used; the log itself does not know it.
  if (settings.logLevel !== null && levelSource !== undefined) parseFilter(settings.logLevel, formatSource(levelSource));
  const log = platform.openLog({
    role: settings.role,
    name: settings.name,
    level: settings.logLevel,
    file: settings.ops.logFilePath,
    format: settings.logFormat,
  });
  try {
    for (const message of resolution.warnings) log.sink({ level: "warn", event: "settings-warning", message, fields: {} });
    for (const message of platform.privilegesKept) log.sink({ level: "warn", event: "privileges-kept", message, fields: {} });
    const load = async (from: Resolution<S, R>): Promise<LoadedRole> => {
      const now = from.finish();
      const start = text.start(now, await text.load(now, materialReader(platform)), log);
      return { start, table, resolved: from.resolved, paths: [...materialPaths(start), ...filesOf(from)] };
    };
    const loaded = await load(resolution);
    for (const notice of loaded.start.material.notices) log.sink(notice);
    const reloader = new RoleReloader({ platform, log, load: async () => await load(await resolve()) }, loaded);
    // Loaded here: the other commands do without.
    const { runUntilStopped } = await import("./role_run.ts");
    await runUntilStopped(platform, log, reloader);
    return 0;
  } catch (error) {
    const isJson = settings.logFormat === "json" || settings.logFormat === "auto" && !platform.isTerminal("stderr");
    if (isJson) logFatal(error, log);
    throw error;
  } finally {
    log.close();
  }
}

/** What loads certificates and keys. */
export function materialReader(platform: Platform): MaterialReader {
  return {
    readFile: platform.readFile,
    fileMode: async (path) => ownMode(path, await platform.fileMode(path), platform.environment()["CREDENTIALS_DIRECTORY"]),
    createPrivateFile: platform.createPrivateFile,
    readCertificates: platform.readCertificates,
    readRevocationLists,
    entropy: platform.entropy,
    nowMs: platform.nowMs(),
  };
}

/**
 * What the permissions of a file say of who may read it. Where the service manager lets a service read its credentials by an access
 * list, that list's mask stands in the place of the group's permissions: there they say nothing (systemd.exec(5), "Credentials").
 */
function ownMode(path: string, mode: number | null, credentialsFolder: string | undefined): number | null {
  const isCredential = credentialsFolder !== undefined && credentialsFolder !== "" &&
    path.slice(0, path.lastIndexOf("/")) === credentialsFolder;
  return mode !== null && isCredential ? mode & ~0o070 : mode;
}

/** The configuration file, if any setting came from one. */
function filesOf<S extends SettingTable, R>({ resolved }: Resolution<S, R>): string[] {
  const sources: readonly ValueSource[] = Object.values(resolved.sources);
  return [...new Set(sources.flatMap((source) => source.kind === "file" ? [source.path] : []))];
}

function logFatal(error: unknown, log: Log): void {
  const fields = error instanceof PosternError ? { code: error.code, hint: error.hint } : {};
  log.sink({ level: "fatal", event: "fatal", message: messageOf(error), fields });
}
