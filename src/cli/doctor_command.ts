/**
 * `postern doctor`: what stands between this machine and a service, each with what mends it. It takes the settings of an agent, or with
 * `connector` those of a connector. The checks are in `src/diag/doctor`, which is loaded when they run.
 */
import type { Command } from "commander";
import { parseServiceId, usageError } from "../base/mod.ts";
import {
  type AgentSettings,
  CONNECTOR,
  type ConnectorSettings,
  DOCTOR,
  type Resolution,
  type RoleDefinition,
  type SettingTable,
} from "../config/mod.ts";
import type { Finding, FindingLevel } from "../diag/doctor/mod.ts";
import { UPLINK_FLAGS } from "./connect_command.ts";
import type { CliContext } from "./context.ts";
import type { Platform } from "./platform.ts";
import { paintFor } from "./report.ts";
import { formatExamples, materialReader } from "./role_command.ts";
import { addRoleFlags, type RoleFlags } from "./role_flags.ts";
import { resolveRole } from "./settings.ts";

interface DoctorFlags {
  readonly json: boolean;
}

/** Adds `doctor`, and `connector` to it. */
export function addDoctorCommand(program: Command, context: CliContext): void {
  const command = program.command("doctor").summary("Find out what stands between this machine and a service")
    .description(
      "Looks at the files, the network and the server as `postern agent` would use them, says of each whether it is well, and what mends it. Opens one connection to the backend of each service and closes it at once.",
    )
    .option(
      "--service <ID>",
      "also ask for this service (repeatable)",
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
    .option("--json", "print the findings as JSON", false)
    .enablePositionalOptions()
    .addHelpText(
      "after",
      formatExamples([
        ["postern doctor", "with the settings of /etc/postern/agent.yaml"],
        [
          "postern doctor --server gw.example.com --ca-cert ca.pem --client-cert c.pem --client-key k.pem --service web",
          "without a file of settings",
        ],
        ["postern doctor connector --config connector.yaml --json", "a connector's way to its server, for a script"],
      ]),
    );
  const agentFlags = addRoleFlags(command, DOCTOR, [...UPLINK_FLAGS, "forward", "service_ip"]);
  command.action(async ({ json, service }: DoctorFlags & { readonly service: readonly string[] }) => {
    context.exitCode = await doctor(DOCTOR, agentFlags, json, service, context.platform);
  });
  const ofConnector = command.command("connector").summary("The same with the settings of a connector")
    .description(
      "Looks at the files, the network and the server as `postern connector` would use them. It registers nothing: a registration would draw traffic.",
    )
    .option("--json", "print the findings as JSON", false)
    .addHelpText("after", formatExamples([["postern doctor connector --config connector.yaml", "before its first start"]]));
  const connectorFlags = addRoleFlags(ofConnector, CONNECTOR, [...UPLINK_FLAGS, "service", "forward"]);
  ofConnector.action(async ({ json }: DoctorFlags) => {
    context.exitCode = await doctor(CONNECTOR, connectorFlags, json, [], context.platform);
  });
}

async function doctor<S extends SettingTable, R extends AgentSettings | ConnectorSettings>(
  definition: RoleDefinition<S, R>,
  roleFlags: RoleFlags,
  isJson: boolean,
  further: readonly string[],
  platform: Platform,
): Promise<number> {
  const { examine, Findings } = await import("../diag/doctor/mod.ts");
  const resolution: Resolution<S, R> = await resolveRole(definition, roleFlags, [], platform);
  const settings: AgentSettings | ConnectorSettings = resolution.finish();
  for (const warning of resolution.warnings) platform.writeError(`postern: warning: ${warning}\n`);
  const services = [...new Set([...servicesOf(settings), ...further.map((id) => checkedId(id, settings))])];
  let heading: string | null = null;
  const findings = new Findings((finding) => {
    if (isJson) return;
    if (finding.server !== heading && settings.servers.length > 1) platform.writeOut(`\n${finding.server ?? ""}\n`);
    heading = finding.server;
    platform.writeOut(formatFinding(finding, platform));
  });
  const { resolve } = platform;
  await examine({ settings, services }, {
    reader: { ...materialReader(platform), readCertificates: platform.readCertificates },
    resolve,
    openProbe: platform.openProbe,
  }, findings);
  if (isJson) {
    const report = { role: settings.role, servers: settings.servers, services, result: findings.worst, findings: findings.all };
    platform.writeOut(JSON.stringify(report, null, 2) + "\n");
  } else platform.writeOut(formatEnd(findings.all));
  return findings.worst === "fail" ? 1 : 0;
}

/** What the settings want of the server, or offer by it. */
function servicesOf(settings: AgentSettings | ConnectorSettings): string[] {
  if (settings.role === "connector") return settings.services.map(({ service }) => service);
  return [...settings.forwards, ...settings.virtualAddresses].map(({ service }) => service);
}

function checkedId(text: string, { allowLegacyServiceIds }: AgentSettings | ConnectorSettings): string {
  const id = parseServiceId(text, { legacy: allowLegacyServiceIds });
  if (!id.ok) throw usageError(`--service ${JSON.stringify(text)}: the service id ${id.why}`);
  return id.value;
}

const WORDS: Readonly<Record<FindingLevel, string>> = { ok: "OK  ", warn: "WARN", fail: "FAIL" };
const CHECK_COLUMNS = 18;

function formatFinding({ check, level, subject, message, mend }: Finding, platform: Platform): string {
  const { green, red, bold, cyan } = paintFor(platform, "stdout");
  const paint = level === "ok" ? green : level === "warn" ? bold : red;
  const line = `${paint(WORDS[level])}  ${check.padEnd(CHECK_COLUMNS)}  ${subject}: ${message}\n`;
  return mend === null ? line : `${line}${" ".repeat(CHECK_COLUMNS + 8)}${cyan("mend:")} ${mend}\n`;
}

function formatEnd(all: readonly Finding[]): string {
  const count = (level: FindingLevel) => all.filter((finding) => finding.level === level).length;
  return `\n${count("ok")} well, ${count("warn")} to look at, ${count("fail")} broken\n`;
}
