/** The tree of commands. Each folder of commands adds its own; what all share (help, version, colours) is set here. */

import { Command } from "commander";
import { addBenchCommand } from "./bench_command.ts";
import { addCertsCommands } from "./certs_command.ts";
import { addCompletionsCommand } from "./completions_command.ts";
import { addConfigCommands } from "./config_command.ts";
import { addConnectCommand } from "./connect_command.ts";
import type { CliContext } from "./context.ts";
import { addDemoCommand } from "./demo_command.ts";
import { addDoctorCommand } from "./doctor_command.ts";
import { refuseRepeatedFlags } from "./flags_once.ts";
import type { OpsCommand } from "../ops/commands/mod.ts";
import { addOpsCommands } from "./ops_commands.ts";
import { addProbeCommand } from "./probe_command.ts";
import { hasColours } from "./report.ts";
import { addRoleCommands, formatExamples } from "./role_command.ts";
import { addTokenCommands } from "./token_command.ts";
import { addVersionCommand } from "./version_command.ts";

/** Help is wrapped to this many columns. */
const HELP_COLUMNS = 110;

/** The program with all its commands, before it parses anything. */
export function createProgram(context: CliContext, opsCommands: readonly OpsCommand[]): Command {
  const { platform } = context;
  const isColoured = hasColours(platform, "stdout");
  const paint = (code: number) => (text: string) => isColoured ? `\x1b[${code}m${text}\x1b[0m` : text;
  const program = new Command("postern");
  program.description("Postern: a zero-trust gateway in one binary. A connector and an agent dial out; they meet at the server.")
    .version(`postern ${platform.version}`, "-V, --version", "Show the version")
    .helpOption("-h, --help", "Show this help")
    .helpCommand("help [command]", "Show the help of a command")
    .configureOutput({
      writeOut: platform.writeOut,
      writeErr: platform.writeError,
      // What goes wrong is told once, by reportError.
      outputError: () => {},
      getOutHelpWidth: () => HELP_COLUMNS,
      getErrHelpWidth: () => HELP_COLUMNS,
      getErrHasColors: () => false,
      getOutHasColors: () => isColoured,
    })
    .configureHelp({
      styleTitle: paint(1),
      styleCommandText: paint(36),
      styleOptionTerm: paint(36),
      styleSubcommandTerm: paint(36),
    })
    .exitOverride();
  program.addHelpText(
    "after",
    formatExamples([
      ["postern certs init", "certificates for trying it out, and the three commands that use them"],
      ["postern server --help", "the flags of a role"],
    ]),
  );
  addRoleCommands(program, context);
  addConnectCommand(program, context);
  addOpsCommands(program, context, opsCommands);
  addCertsCommands(program, context);
  addTokenCommands(program, context);
  addConfigCommands(program, context);
  addProbeCommand(program, context);
  addBenchCommand(program, context);
  addDoctorCommand(program, context);
  addDemoCommand(program, context);
  addCompletionsCommand(program, context);
  addVersionCommand(program, context);
  refuseRepeatedFlags(program);
  return program;
}
