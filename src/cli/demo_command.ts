/** `postern demo`: the demonstration. The work is in `src/diag/demo`, which is loaded when it runs. */

import { type Command, Option } from "commander";
import { parseByteSize, usageError } from "../base/mod.ts";
import type { CliContext } from "./context.ts";
import { paintFor } from "./report.ts";
import { formatExamples } from "./role_command.ts";

const DEFAULT_SIZE = "256MiB";
const SIZE_BYTES_MAX = 16 * 1024 ** 3;
const FALLBACK_COLUMNS = 80;

interface DemoFlags {
  readonly size: string;
  readonly keep: boolean;
  readonly json: boolean;
  readonly services?: boolean;
}

export function addDemoCommand(program: Command, context: CliContext): void {
  program.command("demo").summary("Show server, connector and agent working on this machine").description(
    "Starts the three roles and a small service on free ports, with certificates made for this run; fetches a page through the tunnel, moves bytes both ways and compares them, shows a half-close and two refusals, and prints the path with measured times. What it started ends with it.",
  )
    .option("--size <SIZE>", "how much to move each way", DEFAULT_SIZE)
    .option("--keep", "leave everything running and say how to use it", false)
    .option("--json", "print the measurements as JSON; the rest goes to standard error", false)
    // The process behind the connector is this program too.
    .addOption(new Option("--services").hideHelp())
    .addHelpText(
      "after",
      formatExamples([
        ["postern demo", "half a minute at most"],
        ["postern demo --keep", "and play with it afterwards"],
        ["postern demo --size 16MiB --json", "for a script"],
      ]),
    )
    .action(async (flags: DemoFlags) => {
      const { runDemoServices } = await import("../diag/demo/mod.ts");
      if (flags.services === true) await runDemoServices();
      else context.exitCode = await demo(flags, context);
    });
}

async function demo({ size, keep, json }: DemoFlags, { platform }: CliContext): Promise<number> {
  const sizeBytes = parseByteSize(size);
  if (!sizeBytes.ok) throw usageError(`--size ${JSON.stringify(size)}: ${sizeBytes.why}`);
  if (sizeBytes.value < 1 || sizeBytes.value > SIZE_BYTES_MAX) {
    throw usageError(`--size ${JSON.stringify(size)}: must be 1 B to 16 GiB`);
  }
  const stream = json ? "stderr" : "stdout";
  const isTerminal = platform.isTerminal(stream);
  const { runDemo } = await import("../diag/demo/mod.ts");
  const outcome = await runDemo({
    sizeBytes: sizeBytes.value,
    isKept: keep,
    environment: platform.environment(),
    nowMs: platform.nowMs(),
  }, {
    write: json ? platform.writeError : platform.writeOut,
    isTerminal: isTerminal && platform.environment()["TERM"] !== "dumb",
    columns: () => isTerminal ? Deno.consoleSize().columns : FALLBACK_COLUMNS,
    paint: paintFor(platform, stream),
  });
  if (json) platform.writeOut(JSON.stringify(outcome) + "\n");
  return outcome.isOk ? 0 : 1;
}
