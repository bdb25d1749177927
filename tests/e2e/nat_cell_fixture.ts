/**
 * One cell of the table of NATs: an agent and a connector behind routers of two kinds, a server between them, and the way that the
 * agent's requests take. Which way they should take is said here; the manual has the same table.
 */
import { assertEquals } from "@std/assert";
import { NAT_KINDS, type NatKind, SERVER_ADDRESS, SERVER_ADDRESS6, SmallInternet } from "./nat_fixture.ts";
import type { DevelopmentPki } from "./pki_fixture.ts";
import { RoleProcess } from "./processes_fixture.ts";
import type { Namespace } from "./tun_fixture.ts";

/** `same`: behind the other's router; both: behind one router that stands behind another. `firewall`: IPv6 without a NAT. */
export interface Cell {
  readonly agent: NatKind | "same" | "firewall";
  readonly connector: NatKind | "same" | "firewall";
}

/** The rows and columns of the table. */
export const PLACES = [...NAT_KINDS, "same"] as const;
export const TABLE: readonly Cell[] = PLACES.flatMap((agent) => PLACES.map((connector): Cell => ({ agent, connector })));
export const IPV6_CELL: Cell = { agent: "firewall", connector: "firewall" };

/** No side can know the other's outside port before that has sent something there. */
export function isDirect({ agent, connector }: Cell): boolean {
  const kinds: readonly string[] = [agent, connector];
  return kinds.includes("same") || !kinds.includes("symmetric") || kinds.includes("public") || kinds.includes("cone");
}

/** A role in a namespace. */
function roleIn(namespace: Namespace, folder: string, ...args: readonly string[]): RoleProcess {
  return new RoleProcess(args, folder, {}, ["nsenter", `--net=/proc/${namespace.pid}/ns/net`]);
}

/** The hosts of the agent and the connector. */
async function hostsOf(internet: SmallInternet, { agent, connector }: Cell): Promise<(Namespace | undefined)[]> {
  if (agent === "firewall") return [await internet.hostBehindFirewall(), await internet.hostBehindFirewall()];
  if (agent === "same" && connector === "same") return await internet.hostsBehindTwo("restricted", 2);
  if (connector === "same") return await internet.hosts(natOf(agent), 2);
  if (agent === "same") return (await internet.hosts(natOf(connector), 2)).reverse();
  return [...await internet.hosts(natOf(agent), 1), ...await internet.hosts(natOf(connector), 1)];
}

function natOf(place: Cell["agent"]): NatKind {
  const kind = NAT_KINDS.find((one) => one === place);
  if (kind === undefined) throw new Error(`${place} is no kind of NAT`);
  return kind;
}

/** Which way the second request of an agent takes, and that every request is answered. */
export async function routeIn(pki: DevelopmentPki, folder: string, cell: Cell): Promise<string> {
  await using internet = await SmallInternet.open();
  const [agentHost, connectorHost] = await hostsOf(internet, cell);
  if (agentHost === undefined || connectorHost === undefined) throw new Error("no hosts");
  const p2p = await pki.issue("p2p", { dns: ["ztna-connector", "connector.web.ztna"], eku: ["serverAuth"] });
  const { server: files, caCert, connector, agent } = pki;
  const isIpv6 = cell.agent === "firewall";
  const listen = isIpv6 ? `[${SERVER_ADDRESS6}]:4433` : `${SERVER_ADDRESS}:4433`;
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
  const offer = [
    "--service",
    "web=127.0.0.1:8000",
    "--health",
    "off",
    "--p2p-cert",
    p2p.cert,
    "--p2p-key",
    p2p.key,
    "--p2p-bind",
    isIpv6 ? "::" : "0.0.0.0",
  ];
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
