/** `postern health`: the exit code for container probes. 0 when every role that is meant is ready, 1 when one is not. */
import { messageOf } from "../../base/mod.ts";
import { AdminClient, findTargets } from "./admin_client.ts";
import { JSON_OPTION, type OpsCommand, TARGET_OPTIONS } from "./command.ts";

export const healthCommand: OpsCommand = {
  name: "health",
  summary: "Say by the exit code whether the role is ready",
  description:
    "Exit code 0 when the role is ready, 1 when it is not or does not answer: for probes of containers and service managers.",
  arguments: [],
  options: [...TARGET_OPTIONS, JSON_OPTION],
  examples: [["postern health", 'HEALTHCHECK CMD ["/postern", "health"]']],
  run: async (input, platform) => {
    const results: { readonly path: string; readonly healthy: boolean; readonly detail: string }[] = [];
    for (const target of findTargets(input, platform)) {
      try {
        using client = await AdminClient.open(target);
        const { status, text } = await client.raw("/readyz");
        results.push({ path: target.path, healthy: status === 200, detail: text.trim() });
      } catch (error) {
        results.push({ path: target.path, healthy: false, detail: messageOf(error) });
      }
    }
    if (input.options["json"] === true) platform.writeOut(JSON.stringify(results) + "\n");
    else for (const { path, healthy, detail } of results) platform.writeOut(`${healthy ? "ok" : "FAIL"}  ${path}  ${detail}\n`);
    return results.every(({ healthy }) => healthy) ? 0 : 1;
  },
};
