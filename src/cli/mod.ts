/**
 * The command line. `program.ts` builds the tree of commands, `role_command.ts` starts a role (flags by `role_flags.ts`, settings
 * by `settings.ts`), the other commands stand in files of their own; `report.ts` tells errors. The world comes in by `Platform`.
 */

import { ROLES } from "../config/mod.ts";
import type { CliContext } from "./context.ts";
import type { Platform } from "./platform.ts";
import { createProgram } from "./program.ts";
import { reportError } from "./report.ts";

export type { Platform, RoleHandle, RoleStart, StandardPipe, StandardStream, StopSignal } from "./platform.ts";

/** Runs one command line (without the program's name) and yields the exit code: 0 done, 1 the world differs, 2 a wrong text. */
export async function runCli(args: readonly string[], platform: Platform): Promise<number> {
  const context: CliContext = { platform, exitCode: 0 };
  try {
    // A role starts without them: it would load what it never uses.
    const isRole = ROLES.some((role) => role === args[0]);
    const { OPS_COMMANDS } = isRole ? { OPS_COMMANDS: [] } : await import("../ops/commands/mod.ts");
    await createProgram(context, OPS_COMMANDS).parseAsync([...args], { from: "user" });
    return context.exitCode;
  } catch (error) {
    // Who reads our output has seen enough, as in `postern ... | head -1`: no failure, and nobody left to tell.
    if (error instanceof Deno.errors.BrokenPipe) return 0;
    return reportError(error, platform);
  }
}
