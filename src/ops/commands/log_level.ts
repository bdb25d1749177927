/** `postern log-level`: the log filter of a running role, shown or changed. */
import { parseFilter } from "../log/mod.ts";
import { AdminClient, findTarget } from "./admin_client.ts";
import { type OpsCommand, TARGET_OPTIONS } from "./command.ts";

export const logLevelCommand: OpsCommand = {
  name: "log-level",
  summary: "Show or change the log level of a running role",
  description:
    "Shows the log filter, or changes it until the process ends. Levels are trace, debug, info, warn, error, fatal and off.",
  arguments: [{ name: "[LEVEL]", description: "a level, or a level and modules: info,uplink=debug" }],
  options: TARGET_OPTIONS,
  examples: [["postern log-level debug", "for a while"], ["postern log-level info,uplink=trace", "one part in detail"]],
  run: async (input, platform) => {
    const level = input.positional[0];
    if (level !== undefined) parseFilter(level, "the level");
    using client = await AdminClient.open(findTarget(input, platform));
    if (level === undefined) {
      platform.writeOut((await client.read<{ readonly level: string }>("/v1/log-level")).level + "\n");
      return 0;
    }
    const answer = await client.steer<{ readonly level: string; readonly warnings: readonly string[] }>("PUT", "/v1/log-level", {
      level,
    });
    for (const warning of answer.warnings) platform.writeError(`postern: ${warning}\n`);
    platform.writeOut(answer.level + "\n");
    return 0;
  },
};
