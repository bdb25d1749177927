/**
 * Completion scripts for bash, zsh and fish. A list of commands in, one script out. Every word that reaches a script is quoted,
 * whatever it is: a hostile name stays a word.
 */

import { quoteForShell } from "../base/mod.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = typeof SHELLS[number];

/** One command: the words that lead to it, and what may follow. */
export interface CompletionNode {
  readonly path: readonly string[];
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly flags: readonly {
    readonly name: string;
    readonly summary: string;
    readonly takesFile: boolean;
    readonly takesValue: boolean;
  }[];
}

/** The script for one shell. */
export function completionScript(shell: Shell, nodes: readonly CompletionNode[]): string {
  switch (shell) {
    case "bash":
      return bashScript(nodes);
    case "zsh":
      return `autoload -U +X bashcompinit && bashcompinit\n${bashScript(nodes)}`;
    case "fish":
      return fishScript(nodes);
  }
}

/**
 * The function walks the words before the cursor as far as they name commands, then offers what may follow there. Candidates
 * are compared as texts, never expanded: no word list of `compgen -W`, which would evaluate them.
 */
function bashScript(nodes: readonly CompletionNode[]): string {
  const isCommand = nodes.filter((node) => node.path.length > 0).map((node) =>
    `    ${quoteForShell(node.path.join(" "))}) return 0 ;;`
  );
  const follow = nodes.map((node) => {
    const words = [...node.commands.map((command) => command.name), ...node.flags.map((flag) => flag.name)];
    return `    ${quoteForShell(node.path.join(" "))}) candidates=(${words.map(quoteForShell).join(" ")}) ;;`;
  });
  // An empty pattern would not parse: '' never stands before the cursor.
  const valued = ["", ...new Set(nodes.flatMap((node) => node.flags.filter((flag) => flag.takesValue).map((flag) => flag.name)))];
  return [
    "# Completion of postern. Made by: postern completions",
    "_postern_is_command() {",
    '  case "$1" in',
    ...isCommand,
    "  esac",
    "  return 1",
    "}",
    "_postern() {",
    '  local word at=\'\' i candidate candidates=() current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
    "  COMPREPLY=()",
    '  case "$previous" in',
    `    ${valued.map(quoteForShell).join("|")}) return 0 ;;`,
    "  esac",
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    '    word="${at:+$at }${COMP_WORDS[i]}"',
    '    if _postern_is_command "$word"; then at="$word"; fi',
    "  done",
    '  case "$at" in',
    ...follow,
    "  esac",
    '  for candidate in "${candidates[@]}"; do',
    '    if [[ "$candidate" == "$current"* ]]; then COMPREPLY+=("$candidate"); fi',
    "  done",
    "}",
    "complete -o default -F _postern postern",
    "",
  ].join("\n");
}

function fishScript(nodes: readonly CompletionNode[]): string {
  const lines = ["# Completion of postern. Made by: postern completions", "complete -c postern -f"];
  for (const node of nodes) {
    const condition = fishCondition(node, nodes);
    for (const { name, summary } of node.commands) {
      lines.push(`complete -c postern -n ${condition} -a ${quoteForFish(name)} -d ${quoteForFish(summary)}`);
    }
    for (const { name, summary, takesFile, takesValue } of node.flags) {
      const value = takesFile ? " -r -F" : takesValue ? " -x" : "";
      lines.push(
        `complete -c postern -n ${condition} -l ${quoteForFish(name.replace(/^--/, ""))}${value} -d ${quoteForFish(summary)}`,
      );
    }
  }
  return lines.join("\n") + "\n";
}

/** True at exactly this command: all its words were seen, none of its subcommands. */
function fishCondition(node: CompletionNode, nodes: readonly CompletionNode[]): string {
  const seen = node.path.map((word) => `__fish_seen_subcommand_from ${quoteForFish(word)}`);
  const top = nodes.find((other) => other.path.length === 0);
  const children = (node.path.length === 0 ? top?.commands ?? [] : node.commands).map((command) => quoteForFish(command.name));
  const noChild = children.length === 0 ? [] : [`not __fish_seen_subcommand_from ${children.join(" ")}`];
  return quoteForFish([...seen, ...noChild].join("; and ") || "true");
}

/** Inside single quotes fish knows `\\` and `\'` only. */
function quoteForFish(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
