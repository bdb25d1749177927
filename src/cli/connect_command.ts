/**
 * `postern agent connect SERVICE`: one connection to a service on standard input and output, for programs that speak through a
 * command (`ssh -o ProxyCommand`). It dials the server by itself; no agent need run.
 */
import type { Command } from "commander";
import { parsePort, usageError } from "../base/mod.ts";
import { CONNECT, loadClientMaterial } from "../config/mod.ts";
import type { CliContext } from "./context.ts";
import type { Platform } from "./platform.ts";
import { formatExamples, materialReader } from "./role_command.ts";
import { addRoleFlags, type RoleFlags } from "./role_flags.ts";
import { resolveRole } from "./settings.ts";

/** Those of a client's settings that say where its server is, and what is shown there. */
export const UPLINK_FLAGS: readonly string[] = [
  ...["server", "server_name", "pin_sha256", "ca_cert", "client_cert", "client_key", "token", "token_key", "verify_peer"],
  ...["allow_legacy_service_ids", "name"],
];
/** Those of the agent's settings that mean something here. */
const FLAGS = [...UPLINK_FLAGS, "service_ip", "log_level", "log_format", "log_file"];
/** Where a name says no port: that of packets to a service whose connector takes any. */
const FALLBACK_PORT = 1;

/** Adds `connect` to the command `agent`. */
export function addConnectCommand(program: Command, context: CliContext): void {
  const agent = program.commands.find((command) => command.name() === "agent");
  if (agent === undefined) throw new Error("postern: internal error: there is no command agent");
  // Flags behind `connect` are its own: the agent has the same.
  for (const parent of [program, agent]) parent.enablePositionalOptions();
  const command = agent.command("connect").argument("<SERVICE>", "the service: NAME, NAME.ztna or NAME:PORT")
    .summary("One connection to a service on standard input and output")
    .description(
      "Dials the server and joins standard input and output to one connection to the service. Other settings of the agent's file are passed over.",
    )
    .addHelpText(
      "after",
      formatExamples([
        ["ssh -o ProxyCommand='postern agent connect %h:%p' admin@bastion.ztna", "with the settings of /etc/postern/agent.yaml"],
        ["postern agent connect --config agent.yaml web < request > answer", "what is said and what is heard"],
      ]),
    );
  const flags = addRoleFlags(command, CONNECT, FLAGS);
  command.action(async (service: string) => {
    await connect(service, flags, context.platform);
    context.exitCode = 0;
  });
}

async function connect(target: string, flags: RoleFlags, platform: Platform): Promise<void> {
  const where = parseTarget(target);
  const resolution = await resolveRole(CONNECT, flags, [], platform);
  const settings = resolution.finish();
  const log = platform.openLog({
    role: "agent",
    name: settings.name,
    // What goes wrong is said once, at the end: a person's terminal is at the other end of this.
    level: settings.logLevel ?? "error",
    file: settings.ops.logFilePath,
    format: settings.logFormat,
  });
  try {
    const material = await loadClientMaterial(settings, materialReader(platform));
    for (const notice of material.notices) log.sink(notice);
    const pipe = await platform.openPipe();
    const nobody = { record: () => {}, metricsAddress: null, adminPath: null };
    const handle = await platform.startRole({ settings, material, log, connect: { ...where, fd: pipe.fd } }, nobody);
    const releases = (["SIGTERM", "SIGINT", "SIGHUP"] as const).map((signal) => platform.onSignal(signal, handle.stop));
    const joined = pipe.join();
    await handle.finished;
    await joined;
    for (const release of releases) release();
  } finally {
    log.close();
  }
}

/** `HOST` or `HOST:PORT`. A legacy id may have colons; what stands behind the last one is a port if it looks like one. */
function parseTarget(target: string): { readonly host: string; readonly port: number } {
  const [, host = target, portText] = /^(.*):([0-9]+)$/s.exec(target) ?? [];
  if (portText === undefined) return { host: target, port: FALLBACK_PORT };
  const port = parsePort(portText);
  if (!port.ok) throw usageError(`${JSON.stringify(target)}: ${port.why}`, "write NAME:PORT");
  return { host, port: port.value };
}
