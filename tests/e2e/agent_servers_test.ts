/** Clients with several servers, and servers with several addresses: which one is used, and what happens when it goes. */
import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { AgentRig } from "./agent_rig_fixture.ts";
import { Gateway } from "./gateway_fixture.ts";
import { RoleProcess, runPostern } from "./processes_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";
import { Backend, close, closedPort, echo, readExactly, writeAll } from "./tcp_fixture.ts";

/** The health of each of a client's servers, and which is in use, as `postern status` has them. */
async function serversOf(role: RoleProcess, name: "agent" | "connector", folder: string) {
  const { stdout } = await runPostern(["status", "--role", name, "--json"], folder, { XDG_RUNTIME_DIR: role.runtimeFolder });
  const { uplinks } = JSON.parse(stdout) as { uplinks: { servers: { health: string; current: boolean; server: string }[] }[] };
  return (uplinks[0]?.servers ?? []).map(({ server, health, current }) => `${server} ${health}${current ? " in use" : ""}`);
}

Deno.test("several servers: one that does not answer is passed over, and the next serves; when that ends, another does", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty();
  const { pki, folder } = gateway;
  const first = await gateway.startServer();
  const { server, caCert } = pki;
  const spare = gateway.run(["server", "--bind", "127.0.0.1:0", "--cert", server.cert, "--key", server.key, "--ca-cert", caCert]);
  const dead = `127.0.0.1:${closedPort()}`, second = `127.0.0.1:${(await spare.ports())[0]}`;
  const more = ["--server", second];
  const connector = await gateway.startConnector({ web: backend.port }, pki.connector, ...more);
  // The first of the agent's is nobody.
  const files = ["--ca-cert", caCert, "--client-cert", pki.agent.cert, "--client-key", pki.agent.key];
  const list = ["--server", dead, "--server", gateway.serverAddress, "--server", second];
  const agent = gateway.run(["agent", "--forward", "127.0.0.1:0=web", ...list, ...files]);
  const port = (await agent.ports())[0] ?? 0;
  await agent.until("uplink-connected");
  const ask = async () => {
    const client = await Deno.connect({ hostname: "127.0.0.1", port });
    await writeAll(client, new TextEncoder().encode("there?"));
    const answer = await readExactly(client, 6);
    close(client);
    return new TextDecoder().decode(answer);
  };
  assertEquals(await ask(), "there?");
  assertEquals(await serversOf(agent, "agent", folder), [
    `${dead} failed`,
    `${gateway.serverAddress} works in use`,
    `${second} untried`,
  ]);
  const [seenBefore, seenByConnector] = [agent.lines.length, connector.lines.length];
  await first.stop();
  await Promise.all([
    agent.until("uplink-connected", {}, { from: seenBefore }),
    connector.until("registered", { service: "web" }, { from: seenByConnector }),
  ]);
  assertEquals(await ask(), "there?");
  assertEquals(await serversOf(agent, "agent", folder), [
    `${dead} failed`,
    `${gateway.serverAddress} failed`,
    `${second} works in use`,
  ]);
  assertEquals(await serversOf(connector, "connector", folder), [`${gateway.serverAddress} failed`, `${second} works in use`]);
});

Deno.test("several servers: one that is not to be trusted does not end the agent while another works, but all of them do", async () => {
  await using gateway = await Gateway.empty();
  const { pki, folder } = gateway;
  await gateway.startServer();
  const impostor = await pki.issue("impostor", { dns: ["elsewhere"], eku: ["serverAuth"] });
  const trust = ["--ca-cert", pki.caCert];
  const false_ = gateway.run(["server", "--bind", "127.0.0.1:0", "--cert", impostor.cert, "--key", impostor.key, ...trust]);
  const wrong = `127.0.0.1:${(await false_.ports())[0]}`;
  const files = [...trust, "--client-cert", pki.agent.cert, "--client-key", pki.agent.key];
  const agent = gateway.run(["agent", "--forward", "0=web", "--server", wrong, "--server", gateway.serverAddress, ...files]);
  await agent.until("uplink-connected");
  assertEquals(agent.linesOf("uplink-failed").length, 1);
  const { code, said } = await runPostern(["agent", "--forward", "0=web", "--server", wrong, ...files], folder);
  assertEquals([code, said.includes("is not trusted")], [1, true], said);
});

Deno.test("several addresses: the server is reached at the one that works, whatever family comes first", async () => {
  await using rig = await ServerRig.start();
  for (const addresses of [["::1", "127.0.0.1"], ["127.0.0.1", "::1"], ["192.0.2.1", "::1", "127.0.0.1"]]) {
    using agent = await AgentRig.start(rig, ["web"], undefined, undefined, { addresses });
    assertEquals(agent.status().uplink?.server, `127.0.0.1:${rig.port()}`);
    // It was one dial, not one for each address.
    assertEquals(agent.logs.filter(({ event }) => event === "uplink-failed"), []);
  }
});

const MOUNT_NEEDS = { root: true, tools: ["unshare", "mount"], files: ["/proc/net/if_inet6", "dist/postern"] };

Deno.test(
  needing(MOUNT_NEEDS, "a server's name that goes from IPv4 to IPv6 is found there, without a new start", async () => {
    await using gateway = await Gateway.empty();
    const first = await gateway.startServer();
    const port = Number(gateway.serverAddress.split(":").at(-1));
    const { server, agent: files, caCert } = gateway.pki;
    const trust = ["--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
    const hosts = join(gateway.folder, "hosts");
    Deno.writeTextFileSync(hosts, "127.0.0.1 moving.test\n");
    const mount = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh", hosts];
    const way = [...gateway.uplinkFlags(files, `moving.test:${port}`), "--server-name", "127.0.0.1"];
    await using agent = new RoleProcess(["agent", "--forward", "127.0.0.1:0=web", ...way], gateway.folder, {}, mount);
    await agent.until("uplink-connected");
    await first.stop();
    // The file itself is mounted: it is changed in place.
    Deno.writeTextFileSync(hosts, "::1 moving.test\n");
    const seen = agent.lines.length;
    gateway.run(["server", "--bind", `[::1]:${port}`, ...trust]);
    await agent.until("uplink-connected", {}, { from: seen, ms: 60_000 });
    assertEquals(await serversOf(agent, "agent", gateway.folder), [`moving.test:${port} works in use`]);
  }),
);
