/** UDP through local ports of the agent: datagrams stay datagrams all the way, and every local client has a flow of its own. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { type RoleProcess, runPostern } from "./processes_fixture.ts";
import { closedPort, sleep } from "./tcp_fixture.ts";
import { UdpBackend, UdpClient } from "./udp_fixture.ts";

/** A gateway whose agent has a UDP port for each service. */
async function startUdp(services: Readonly<Record<string, number>>, forwards: readonly string[], agentNames?: readonly string[]) {
  const gateway = await Gateway.empty();
  const { pki } = gateway;
  const [connectorFiles, agentFiles] = await Promise.all([
    pki.issue("udp-connector", { dns: Object.keys(services).map((id) => `connector.${id}.ztna`), eku: ["clientAuth"] }),
    pki.issue("udp-agent", { dns: agentNames ?? Object.keys(services).map((id) => `agent.${id}.ztna`), eku: ["clientAuth"] }),
    gateway.startServer(),
  ]);
  const offers = Object.entries(services).flatMap(([id, port]) => ["--service", `${id}=127.0.0.1:${port}/udp`]);
  const connector = await gateway.startConnector({}, connectorFiles, ...offers);
  for (const service of Object.keys(services)) await connector.until("registered", { service });
  const agent = await gateway.startAgent([], agentFiles, ...forwards.flatMap((forward) => ["--forward", forward]));
  return { gateway, agent, ports: await agent.ports(), [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

async function status(agent: RoleProcess, folder: string) {
  const env = { XDG_RUNTIME_DIR: agent.runtimeFolder };
  return JSON.parse((await runPostern(["status", "--json", "--role", "agent"], folder, env)).stdout);
}

Deno.test("datagrams of every size come back to the client that asked, each client on a flow of its own", async () => {
  await using backend = await UdpBackend.start();
  await using udp = await startUdp({ echo: backend.port }, ["127.0.0.1:0=echo/udp", "[::1]:0=echo:7/udp"]);
  const [port = 0, port6 = 0] = udp.ports;
  using first = new UdpClient(port);
  using second = new UdpClient(port);
  using third = new UdpClient(port6, "::1");
  const long = "x".repeat(1_000);
  for (const text of ["one", "", long]) {
    assertEquals(await first.hear(text), `re: ${text}`);
    assertEquals(await second.hear(`${text}2`), `re: ${text}2`);
    assertEquals(await third.hear(`${text}6`), `re: ${text}6`);
  }
  // The connector has a socket for each flow.
  assertEquals(backend.senders.size, 3);
  for (const { received } of [first, second, third]) assert(received.length >= 3);
  assert(second.received.every((bytes) => new TextDecoder().decode(bytes).endsWith("2")));
  const { limits, services } = await status(udp.agent, udp.gateway.folder);
  assertEquals(limits.find(({ name }: { name: string }) => name === "udp-flows").used, 3);
  assertEquals(services.map(({ id, state }: { id: string; state: string }) => [id, state]), [["echo", "registered"]]);
  assertMatch(services[0].endpoint, /^127\.0\.0\.1:\d+\/udp, \[::1\]:\d+\/udp$/);
});

Deno.test("what the certificate does not allow is said and dropped; what is too large is dropped; the rest goes on", async () => {
  await using backend = await UdpBackend.start();
  const forwards = ["127.0.0.1:0=echo/udp", "127.0.0.1:0=other/udp"];
  await using udp = await startUdp({ echo: backend.port, other: backend.port }, forwards, ["agent.echo.ztna"]);
  const [port = 0, otherPort = 0] = udp.ports;
  await udp.agent.until("registration-refused", { service: "other", why: "not-authorised" });
  using other = new UdpClient(otherPort);
  using client = new UdpClient(port);
  const dropped = async (reason: string): Promise<number> => {
    const { drops } = await status(udp.agent, udp.gateway.folder);
    return drops.find((drop: { reason: string }) => drop.reason === reason)?.count ?? 0;
  };
  const until = async (reason: string, send: () => void) => {
    for (let tries = 0; tries < 100 && await dropped(reason) === 0; tries++) {
      send();
      await sleep(100);
    }
    assert(await dropped(reason) > 0, reason);
  };
  await until("denied", () => other.send("let me in"));
  await until("too-large", () => client.send(new Uint8Array(40_000)));
  assertEquals(await client.hear("still here"), "re: still here");
  assertEquals(other.received, []);
  const { services } = await status(udp.agent, udp.gateway.folder);
  const rows = services.map(({ id, state, why }: { id: string; state: string; why: string }) => [id, state, why]);
  assertEquals(rows, [["echo", "registered", ""], ["other", "denied", "not-authorised"]]);
});

Deno.test("a flow goes on over the next connection when the server was started anew", async () => {
  await using backend = await UdpBackend.start();
  await using udp = await startUdp({ echo: backend.port }, ["127.0.0.1:0=echo/udp"]);
  using client = new UdpClient(udp.ports[0] ?? 0);
  assertEquals(await client.hear("before"), "re: before");
  await udp.gateway.server.stop();
  await udp.gateway.startServer();
  assertEquals(await client.hear("after"), "re: after");
});

Deno.test(needing({ tools: ["dig", "dnsmasq"] }, "dig asks a real DNS server through a UDP forward", async () => {
  const dnsPort = closedPort();
  const dnsmasq = new Deno.Command("dnsmasq", {
    args: ["--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--listen-address=127.0.0.1", "--bind-interfaces"]
      .concat([
        `--port=${dnsPort}`,
        "--user=",
        "--address=/inside.example/192.0.2.7",
        "--txt-record=long.example," + "y".repeat(200),
      ]),
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await using udp = await startUdp({ dns: dnsPort }, ["127.0.0.1:0=dns:53/udp"]);
    const dig = async (...words: readonly string[]) => {
      const args = ["@127.0.0.1", "-p", String(udp.ports[0]), "+short", "+tries=20", "+timeout=1", ...words];
      return new TextDecoder().decode((await new Deno.Command("dig", { args }).output()).stdout).trim();
    };
    assertEquals(await dig("db.inside.example", "A"), "192.0.2.7");
    assertEquals(await dig("long.example", "TXT"), `"${"y".repeat(200)}"`);
  } finally {
    dnsmasq.kill("SIGKILL");
    await dnsmasq.status;
  }
}));
