/** `postern admin-token`: a token for a tool of the operator's own. */
import { AdminClient, findTarget } from "./admin_client.ts";
import { type OpsCommand, TARGET_OPTIONS } from "./command.ts";

export const adminTokenCommand: OpsCommand = {
  name: "admin-token",
  summary: "Print a token for steering through the admin API",
  description:
    "Prints a token for the Authorization header field. The first process of this user that uses it owns it; it is void after 60 seconds without use.",
  arguments: [],
  options: TARGET_OPTIONS,
  examples: [[
    'curl --unix-socket /run/postern/server.sock -H "Authorization: $(postern admin-token)" -X POST http://localhost/v1/reload',
    "steer with curl",
  ]],
  run: async (input, platform) => {
    using client = await AdminClient.open(findTarget(input, platform));
    platform.writeOut((await client.token("first-use")) + "\n");
    return 0;
  },
};
