/** The commands that see and steer a running role, on the command line: descriptors of `src/ops` become commands of the parser. */
import type { Command } from "commander";
import type { OpsCommand } from "../ops/commands/mod.ts";
import type { CliContext } from "./context.ts";
import type { Platform, StopSignal } from "./platform.ts";
import { formatExamples } from "./role_command.ts";

export function addOpsCommands(program: Command, context: CliContext, commands: readonly OpsCommand[]): void {
  for (const descriptor of commands) {
    const command = program.command(descriptor.name).summary(descriptor.summary).description(descriptor.description);
    for (const { name, description } of descriptor.arguments) command.argument(name, description);
    for (const { flags, description } of descriptor.options) command.option(flags, description);
    command.addHelpText("after", formatExamples(descriptor.examples));
    command.action(async () => {
      const input = { options: command.opts(), positional: command.args };
      context.exitCode = await untilSignal(context.platform, (signal) => descriptor.run(input, context.platform, signal));
    });
  }
}

/** The first signal ends what would go on for ever; the second one finds nobody who handles it. */
async function untilSignal(platform: Platform, run: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController();
  const releases: (() => void)[] = [];
  const release = () => {
    for (const one of releases.splice(0)) one();
  };
  const end = () => {
    release();
    controller.abort();
  };
  const signals: readonly StopSignal[] = ["SIGINT", "SIGTERM"];
  releases.push(...signals.map((signal) => platform.onSignal(signal, end)));
  try {
    return await run(controller.signal);
  } finally {
    release();
  }
}
