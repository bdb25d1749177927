/**
 * Agents and connectors behind real NATs of every kind: where a direct path can be, it is found, and where not, the server carries
 * everything all the same. The whole table runs with POSTERN_NAT_TABLE=1, else some of it.
 */
import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { NAT_NEEDS, type NatKind, SERVER_ADDRESS, SmallInternet } from "./nat_fixture.ts";
import { type DevelopmentPki, makePki } from "./pki_fixture.ts";
import { RoleProcess, TemporaryFolder } from "./processes_fixture.ts";
import type { Namespace } from "./tun_fixture.ts";

interface Cell {
  readonly agent: NatKind;
  /** `same`: behind the agent's router. */
  readonly connector: NatKind | "same";
}

const KINDS: readonly NatKind[] = ["public", "cone", "restricted", "symmetric"];
const TABLE = KINDS.flatMap((agent) => [...KINDS, "same" as const].map((connector): Cell => ({ agent, connector })));
const SHORT: readonly Cell[] = [
  { agent: "restricted", connector: "restricted" },
  { agent: "public", connector: "symmetric" },
  { agent: "symmetric", connector: "restricted" },
  { agent: "symmetric", connector: "same" },
];

/** No side can know the other's outside port before that has sent something there. */
function isDirect({ agent, connector }: Cell): boolean {
  const kinds: readonly string[] = [agent, connector];
  return connector === "same" || !kinds.includes("symmetric") || kinds.includes("public") || kinds.includes("cone");
}

/** A role in a namespace. */
function roleIn(namespace: Namespace, folder: string, ...args: readonly string[]): RoleProcess {
  return new RoleProcess(args, folder, {}, ["nsenter", `--net=/proc/${namespace.pid}/ns/net`]);
}

async function routeIn(pki: DevelopmentPki, folder: string, cell: Cell): Promise<string> {
  await using internet = await SmallInternet.open();
  const shared = cell.connector === "same" ? await internet.hosts(cell.agent, 2) : null;
  const agentHost = shared?.[0] ?? (await internet.hosts(cell.agent, 1))[0];
  const connectorHost = shared?.[1] ?? (await internet.hosts(cell.connector === "same" ? "public" : cell.connector, 1))[0];
  if (agentHost === undefined || connectorHost === undefined) throw new Error("no hosts");
  const p2p = await pki.issue("p2p", { dns: ["ztna-connector", "connector.web.ztna"], eku: ["serverAuth"] });
  const { server: files, caCert, connector, agent } = pki;
  const listen = `${SERVER_ADDRESS}:4433`;
  await using server = roleIn(
    internet.server,
    folder,
    ...["server", "--bind", listen, "--cert", files.cert, "--key", files.key],
    "--ca-cert",
    caCert,
  );
  await server.until("ready");
  const uplink = (
    cert: string,
    key: string,
  ) => ["--server", listen, "--server-name", "ztna-server", "--ca-cert", caCert, "--client-cert", cert, "--client-key", key];
  const backend = connectorHost.command("python3", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", pki.folder)
    .spawn();
  await using _backend = {
    [Symbol.asyncDispose]: async () => {
      backend.kill("SIGKILL");
      await backend.output();
    },
  };
  const offer = ["--service", "web=127.0.0.1:8000", "--health", "off", "--p2p-cert", p2p.cert, "--p2p-key", p2p.key];
  await using connectorRole = roleIn(connectorHost, folder, "connector", ...offer, ...uplink(connector.cert, connector.key));
  await connectorRole.until("registered");
  await using agentRole = roleIn(agentHost, folder, "agent", "--p2p", "--forward", "9000=web", ...uplink(agent.cert, agent.key));
  await agentRole.until("uplink-connected");
  const ask = async () =>
    await agentHost.run(
      "curl",
      "-sS",
      "--retry",
      "20",
      "--retry-all-errors",
      "--retry-delay",
      "1",
      "http://127.0.0.1:9000/ca-cert.pem",
    );
  const first = await ask();
  await agentRole.until(isDirect(cell) ? "direct-opened" : "direct-failed").catch(async (error) => {
    // On a busy machine the first attempt may come too late; the next one comes when the service is used again.
    if (!isDirect(cell) || agentRole.linesOf("direct-failed").length === 0) throw error;
    await eventually(async () => {
      await ask();
      return agentRole.linesOf("direct-opened").length > 0;
    });
  });
  assertEquals(await ask(), first);
  const found = agentRole.linesOf("direct-opened").length > 0 ? "direct" : "relay";
  return found;
}

/** Asks once a second, for as long as a third attempt may take. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 120; i++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  throw new Error("no direct path came up");
}

for (const cell of Deno.env.has("POSTERN_NAT_TABLE") ? TABLE : SHORT) {
  const name = `agent ${cell.agent}, connector ${cell.connector}: ${isDirect(cell) ? "direct" : "by the server"}`;
  Deno.test(needing(NAT_NEEDS, name, async () => {
    using folder = new TemporaryFolder();
    const pki = await makePki(join(folder.path, "pki"));
    assertEquals(await routeIn(pki, folder.path, cell), isDirect(cell) ? "direct" : "relay");
  }));
}
