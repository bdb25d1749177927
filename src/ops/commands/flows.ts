/** `postern flows`: what moves now. */
import type { FlowJson } from "../admin/mod.ts";
import { AdminClient, findTarget } from "./admin_client.ts";
import { JSON_OPTION, type OpsCommand, TARGET_OPTIONS } from "./command.ts";
import { flowsTable } from "./page.ts";

export const flowsCommand: OpsCommand = {
  name: "flows",
  summary: "List streams, sessions and packet flows",
  description:
    "Lists what moves now: streams, TCP sessions and flows of packets with service, peers, state, age and bytes each way.",
  arguments: [],
  options: [...TARGET_OPTIONS, JSON_OPTION],
  examples: [["postern flows", "for a person"], ["postern flows --json", "for a script"]],
  run: async (input, platform) => {
    using client = await AdminClient.open(findTarget(input, platform));
    const answer = await client.read<{ readonly flows: readonly FlowJson[]; readonly total: number }>("/v1/flows");
    if (input.options["json"] === true) platform.writeOut(JSON.stringify(answer) + "\n");
    else platform.writeOut(flowsTable(answer.flows) || "no flows\n");
    if (answer.total > answer.flows.length) {
      platform.writeError(`postern: ${answer.total - answer.flows.length} more are not shown\n`);
    }
    return 0;
  },
};
