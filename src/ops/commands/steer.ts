/** The commands that change a running role. Each fetches a token for its own process; each is logged there with this process's number. */
import { PosternError, usageError } from "../../base/mod.ts";
import { AdminClient, findTarget } from "./admin_client.ts";
import { type CommandInput, type CommandPlatform, type OpsCommand, TARGET_OPTIONS, textOption } from "./command.ts";

export const reloadCommand: OpsCommand = {
  name: "reload",
  summary: "Read configuration and certificates anew",
  description:
    "Reads configuration and certificates anew and reopens the log file, as SIGHUP does, and says what changed or what is wrong.",
  arguments: [],
  options: TARGET_OPTIONS,
  examples: [["postern reload", "after new certificates were put in place"]],
  run: async (input, platform) => {
    const { changes } = await steer<{ readonly changes: readonly string[] }>(input, platform, "POST", "/v1/reload");
    for (const change of changes) platform.writeOut(change + "\n");
    return 0;
  },
};

export const drainCommand: OpsCommand = {
  name: "drain",
  summary: "Let go on what runs, take nothing new, then end",
  description:
    "Asks a role to end gracefully: nothing new is taken, what runs may finish within the drain time, then the process ends.",
  arguments: [],
  options: TARGET_OPTIONS,
  examples: [["postern drain --role connector", "before maintenance"]],
  run: async (input, platform) => {
    await steer(input, platform, "POST", "/v1/drain", {});
    platform.writeOut("draining\n");
    return 0;
  },
};

export const disconnectCommand: OpsCommand = {
  name: "disconnect",
  summary: "End the connection of one peer",
  description: "Ends the connection of one peer. It may come back at once: `postern deny` keeps its certificate out.",
  arguments: [{ name: "<ID>", description: "the peer's id, as `postern peers` shows it" }],
  options: TARGET_OPTIONS,
  examples: [["postern disconnect 12", "the peer with the id 12"]],
  run: async (input, platform) => {
    const id = input.positional[0] ?? "";
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) {
      throw usageError(`${JSON.stringify(id)} is not the id of a peer`, "`postern peers` lists them");
    }
    await steer(input, platform, "DELETE", `/v1/peers/${id}`);
    platform.writeOut(`disconnected ${id}\n`);
    return 0;
  },
};

export const denyCommand: OpsCommand = {
  name: "deny",
  summary: "Refuse a certificate from now on",
  description:
    "Refuses the certificate with this serial until the process ends, and ends its connections. Put it on the revocation list as well.",
  arguments: [{ name: "<SERIAL>", description: "the serial in hexadecimal; colons and upper case are taken too" }],
  options: [...TARGET_OPTIONS, { flags: "--reason <TEXT>", description: "why, for the log" }],
  examples: [["postern deny 0A:1B:2C --reason stolen", "a laptop is gone"]],
  run: async (input, platform) => {
    const serial = (input.positional[0] ?? "").replaceAll(":", "").toLowerCase();
    if (!/^[0-9a-f]{1,40}$/.test(serial)) {
      throw usageError("the serial is not hexadecimal", "`postern peers --json` and `postern certs inspect` show serials");
    }
    const body = { serial, reason: textOption(input, "reason") ?? "" };
    const { disconnected } = await steer<{ readonly disconnected: number }>(input, platform, "POST", "/v1/denied-serials", body);
    platform.writeOut(`denied ${serial}, ended ${disconnected} connections\n`);
    return 0;
  },
};

async function steer<T>(
  input: CommandInput,
  platform: CommandPlatform,
  method: string,
  target: string,
  body?: unknown,
): Promise<T> {
  using client = await AdminClient.open(findTarget(input, platform));
  try {
    return await client.steer<T>(method, target, body);
  } catch (error) {
    if (!(error instanceof PosternError) || error.hint !== null) throw error;
    throw new PosternError(error.message, { code: error.code, hint: "the log of the process says more", cause: error });
  }
}
