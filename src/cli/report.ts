/**
 * How errors and words reach a person: `postern: error: ...`, then `postern: hint: ...`, coloured only on a terminal. Anything
 * thrown comes in; an exit code goes out.
 */

import { CommanderError } from "commander";
import { messageOf, PosternError, usageError } from "../base/mod.ts";
import type { Platform, StandardStream } from "./platform.ts";

/** Paints nothing when the stream is no terminal, or NO_COLOR is set, or the terminal is dumb. */
export interface Paint {
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
  readonly cyan: (text: string) => string;
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
}

export function paintFor(platform: Platform, stream: StandardStream): Paint {
  const isColoured = hasColours(platform, stream);
  const sgr = (on: number, off: number) => (text: string) => isColoured ? `\x1b[${on}m${text}\x1b[${off}m` : text;
  return { red: sgr(31, 39), green: sgr(32, 39), cyan: sgr(36, 39), bold: sgr(1, 22), dim: sgr(2, 22) };
}

/** Whether colours are wanted on a stream (https://no-color.org). */
export function hasColours(platform: Platform, stream: StandardStream): boolean {
  const environment = platform.environment();
  return platform.isTerminal(stream) && (environment["NO_COLOR"] ?? "") === "" && environment["TERM"] !== "dumb";
}

/** Writes what went wrong to standard error and says with which code the process should end. */
export function reportError(error: unknown, platform: Platform): number {
  const known = error instanceof CommanderError ? fromCommander(error) : error;
  if (known === null) return 0;
  const paint = paintFor(platform, "stderr");
  if (known instanceof PosternError) {
    for (const line of known.message.split("\n")) platform.writeError(`postern: ${paint.red("error:")} ${harmless(line)}\n`);
    if (known.hint !== null) platform.writeError(`postern: ${paint.cyan("hint:")} ${harmless(known.hint)}\n`);
    return known.exitCode;
  }
  platform.writeError(`postern: ${paint.red("error:")} ${harmless(messageOf(known))}\n`);
  platform.writeError(`postern: ${paint.cyan("hint:")} this is a defect in postern itself; please report it with these lines\n`);
  if (known instanceof Error && known.stack !== undefined) platform.writeError(`${known.stack}\n`);
  return 1;
}

/** Names and paths in a message come from outside: nothing in them may move a cursor or turn the writing direction. */
function harmless(line: string): string {
  return line.replaceAll(
    /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The parser's complaints in our words; null for what is no error (help and version were asked for). */
export function fromCommander(error: CommanderError): PosternError | null {
  if (error.exitCode === 0) return null;
  const [first = "", ...rest] = error.message.replace(/^error: /, "").split("\n");
  const meant = /^\(Did you mean (?:one of )?(.+)\?\)$/.exec(rest.join(" "))?.[1];
  const suggestion = meant === undefined ? "see `postern --help`, or `--help` behind a command" : `did you mean ${meant}?`;
  switch (error.code) {
    case "commander.help":
      return usageError("no command was given", "`postern --help` lists the commands");
    case "commander.unknownOption":
      return usageError(first.replace(/^unknown option '(.*)'$/, "unknown flag $1"), suggestion);
    case "commander.unknownCommand":
      return usageError(first.replace(/^unknown command '(.*)'$/, "unknown command $1"), suggestion);
    case "commander.optionMissingArgument":
      return usageError(first.replace(/^option '(?:-\w, )?(\S+) <(.+)>' argument missing$/, "$1 needs a value: $1 $2"));
    case "commander.missingMandatoryOptionValue":
      return usageError(first.replace(/^required option '(.+)' not specified$/, "$1 is missing"), suggestion);
    case "commander.missingArgument":
      return usageError(first.replace(/^missing required argument '(.+)'$/, "the argument $1 is missing"), suggestion);
    case "commander.excessArguments":
      return usageError(
        first.replace(/\. Expected (\d+) arguments? but got (\d+)(?:: (.*))?\.?$/, ": $2 instead of $1"),
        suggestion,
      );
    default:
      return usageError(first, suggestion);
  }
}
