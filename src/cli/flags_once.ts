/**
 * A flag that can only be meant once is refused the second time. Of two values one would be lost without a word, and which one is a
 * matter of the parser: on a command line that was put together from two places that is the surprise of somebody else.
 */

import type { Command, Option } from "commander";
import { usageError } from "../base/mod.ts";

/** Watches every flag of a command and of those below it, before it parses; what the help calls repeatable may be repeated. */
export function refuseRepeatedFlags(command: Command): void {
  const seen = new Map<string, string>();
  for (const option of command.options) {
    if (isRepeatable(option)) continue;
    command.on(`option:${option.name()}`, () => {
      // `--x` and `--no-x` are one flag.
      const before = seen.get(option.attributeName());
      const flag = option.long ?? option.flags;
      if (before !== undefined) {
        throw usageError(
          before === flag ? `${flag} is given more than once` : `${before} and ${flag} exclude each other`,
          "keep one of them; what may be given several times is called repeatable in --help",
        );
      }
      seen.set(option.attributeName(), flag);
    });
  }
  for (const inner of command.commands) refuseRepeatedFlags(inner);
}

function isRepeatable({ variadic, description }: Option): boolean {
  return variadic || description.includes("(repeatable)");
}
