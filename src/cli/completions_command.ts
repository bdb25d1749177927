/** `postern completions SHELL`: a script that completes commands and flags, made from the tree of commands. */

import type { Command } from "commander";
import { usageError } from "../base/mod.ts";
import { type CompletionNode, completionScript, SHELLS } from "./completions.ts";
import type { CliContext } from "./context.ts";
import { formatExamples } from "./role_command.ts";

export function addCompletionsCommand(program: Command, context: CliContext): void {
  program.command("completions").alias("completion").summary("Print a completion script for a shell").description(
    "Prints a script that makes a shell complete commands, flags and files.",
  )
    .argument("<shell>", SHELLS.join(", "))
    .addHelpText(
      "after",
      formatExamples([
        ["source <(postern completions bash)", "bash, in this session"],
        ["source <(postern completions zsh)", "zsh, after compinit"],
        ["postern completions fish > ~/.config/fish/completions/postern.fish", "fish"],
      ]),
    )
    .action((name: string) => {
      const shell = SHELLS.find((known) => known === name);
      if (shell === undefined) throw usageError(`unknown shell ${JSON.stringify(name)}`, `shells are ${SHELLS.join(", ")}`);
      context.platform.writeOut(completionScript(shell, nodesOf(program, [])));
    });
}

/**
 * Every command with its path, its subcommands and its flags. Hidden flags complete too: both forms of a switch are valid; only
 * flags that nobody explains are for the program itself.
 */
function nodesOf(command: Command, path: readonly string[]): CompletionNode[] {
  const commands = command.commands.flatMap((child) =>
    [child.name(), ...child.aliases()].map((name) => ({ name, summary: child.summary() }))
  );
  const flags = command.options.flatMap((option) =>
    option.long === undefined || option.long === null || option.description === "" ? [] : [{
      name: option.long,
      summary: option.description,
      takesFile: /<(?:FILE|DIR)>/.test(option.flags),
      takesValue: option.required,
    }]
  );
  const own: CompletionNode = {
    path,
    commands,
    flags: [...flags, { name: "--help", summary: "Show help", takesFile: false, takesValue: false }],
  };
  return [
    own,
    ...command.commands.flatMap((child) => [child.name(), ...child.aliases()].flatMap((name) => nodesOf(child, [...path, name]))),
  ];
}
