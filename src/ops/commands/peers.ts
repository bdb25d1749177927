/** `postern peers`: who is connected. */
import type { PeerJson } from "../admin/mod.ts";
import { AdminClient, findTarget } from "./admin_client.ts";
import { JSON_OPTION, type OpsCommand, TARGET_OPTIONS } from "./command.ts";
import { peersTable } from "./page.ts";

export const peersCommand: OpsCommand = {
  name: "peers",
  summary: "List the connected peers",
  description: "Lists live connections with identity, services, protocol and traffic. The id is what `postern disconnect` takes.",
  arguments: [],
  options: [...TARGET_OPTIONS, JSON_OPTION],
  examples: [["postern peers", "for a person"], ["postern peers --json", "for a script"]],
  run: async (input, platform) => {
    using client = await AdminClient.open(findTarget(input, platform));
    const answer = await client.read<{ readonly peers: readonly PeerJson[]; readonly total: number }>("/v1/peers");
    if (input.options["json"] === true) platform.writeOut(JSON.stringify(answer) + "\n");
    else platform.writeOut(peersTable(answer.peers) || "no peers\n");
    if (answer.total > answer.peers.length) {
      platform.writeError(`postern: ${answer.total - answer.peers.length} more are not shown\n`);
    }
    return 0;
  },
};
