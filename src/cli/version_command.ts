/** `postern version`: this program and what it is made of. */

import type { Command } from "commander";
import type { CliContext } from "./context.ts";
import { formatExamples } from "./role_command.ts";

export function addVersionCommand(program: Command, context: CliContext): void {
  const { platform } = context;
  program.command("version").summary("Show the version and what it is made of").description(
    "Shows the version of this program and of the libraries in it.",
  )
    .option("--json", "print JSON", false)
    .addHelpText("after", formatExamples([["postern version --json", "for a bug report"]]))
    .action((options: { readonly json: boolean }) => {
      const { version, components } = platform;
      const lines = [`postern ${version}`, ...Object.entries(components).map(([name, text]) => `${name} ${text}`)];
      platform.writeOut(options.json ? JSON.stringify({ postern: version, ...components }) + "\n" : lines.join("\n") + "\n");
    });
}
