/**
 * `postern health`: the exit code for container probes. 0 when every role that is meant is ready, 1 when one is not; `postern health
 * live` asks only whether the data plane answers, so that a role which waits for its server is not restarted for it. `postern health tls --connect HOST:PORT` looks at a TLS server instead.
 */
import { messageOf, usageError } from "../../base/mod.ts";
import { AdminClient, findTargets } from "./admin_client.ts";
import { type CommandInput, type CommandPlatform, JSON_OPTION, type OpsCommand, TARGET_OPTIONS } from "./command.ts";

export const healthCommand: OpsCommand = {
  name: "health",
  summary: "Say by the exit code whether the role is ready",
  description:
    "Exit code 0 when the role is ready, 1 when it is not or does not answer: for probes of containers and service managers. `postern health live` asks only whether its data plane answers. `postern health tls --connect HOST:PORT` shows what a TLS server negotiates and which certificate it has.",
  arguments: [{ name: "[WHAT]", description: "live: does the data plane answer; tls: a TLS server; nothing: are the roles ready" }],
  options: [
    ...TARGET_OPTIONS,
    JSON_OPTION,
    { flags: "--connect <HOST:PORT>", description: "with tls: the server" },
    { flags: "--ca-cert <FILE>", description: "with tls: the authorities that may have signed its certificate" },
    { flags: "--server-name <NAME>", description: "with tls: the name that the certificate must have, if it is not HOST" },
    { flags: "--client-cert <FILE>", description: "with tls: our certificate" },
    { flags: "--client-key <FILE>", description: "with tls: its private key" },
  ],
  examples: [
    ["postern health", 'HEALTHCHECK CMD ["/postern", "health"]'],
    ["postern health live", "for a liveness probe"],
    [
      "postern health tls --connect '[::1]:9090' --ca-cert ca.crt --client-cert client.crt --client-key client.key",
      "the metrics listener",
    ],
  ],
  run: async (input, platform) => {
    const [what] = input.positional;
    if (what === "tls") return await (await import("./health_tls.ts")).checkTls(input, platform);
    if (what !== undefined && what !== "live") {
      throw usageError(`health knows no ${JSON.stringify(what)}`, "say live, tls, or nothing");
    }
    return await checkRoles(input, platform, what === "live" ? "/healthz" : "/readyz");
  },
};

async function checkRoles(input: CommandInput, platform: CommandPlatform, path: "/healthz" | "/readyz"): Promise<number> {
  const results: { readonly path: string; readonly healthy: boolean; readonly detail: string }[] = [];
  for (const target of findTargets(input, platform)) {
    try {
      using client = await AdminClient.open(target);
      const { status, text } = await client.raw(path);
      results.push({ path: target.path, healthy: status === 200, detail: text.trim() });
    } catch (error) {
      results.push({ path: target.path, healthy: false, detail: messageOf(error) });
    }
  }
  if (input.options["json"] === true) platform.writeOut(JSON.stringify(results) + "\n");
  else for (const { path, healthy, detail } of results) platform.writeOut(`${healthy ? "ok" : "FAIL"}  ${path}  ${detail}\n`);
  return results.every(({ healthy }) => healthy) ? 0 : 1;
}
