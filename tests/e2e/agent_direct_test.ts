/**
 * The agent's direct path to a connector, all roles as processes: who takes it and when, what it must not cost, and that the server
 * stays as the way of everything else.
 */
import { assert, assertEquals } from "@std/assert";
import { type CertificateFiles } from "./pki_fixture.ts";
import { Gateway } from "./gateway_fixture.ts";
import { type RoleProcess, runPostern } from "./processes_fixture.ts";
import { Backend, echo, readToEnd, writeAll } from "./tcp_fixture.ts";

const P2P = ["--p2p-bind", "127.0.0.1", "--p2p-listen-port", "0"];

interface Direct {
  readonly gateway: Gateway;
  readonly connector: RoleProcess;
  readonly agent: RoleProcess;
}

/** A gateway whose connector takes agents in with a certificate of these names. */
async function gatewayFor(port: number, names: readonly string[], agentFlags: readonly string[] = ["--p2p"]): Promise<Direct> {
  const gateway = await Gateway.empty({ logLevel: "debug" });
  try {
    await gateway.startServer();
    const p2p = await gateway.pki.issue("p2p", { dns: names, eku: ["serverAuth"] });
    const connector = await startConnector(gateway, port, p2p);
    const agent = await gateway.startAgent(["web"], gateway.pki.agent, ...agentFlags);
    return { gateway, connector, agent };
  } catch (error) {
    await gateway[Symbol.asyncDispose]();
    throw error;
  }
}

async function startConnector(gateway: Gateway, port: number, p2p: CertificateFiles): Promise<RoleProcess> {
  const flags = [...P2P, "--p2p-cert", p2p.cert, "--p2p-key", p2p.key];
  return await gateway.startConnector({ web: port }, gateway.pki.connector, ...flags);
}

/** Says something to the service and returns what comes back. */
async function ask(gateway: Gateway, text: string): Promise<string> {
  using client = await gateway.connect("web");
  await writeAll(client, new TextEncoder().encode(text));
  await client.closeWrite();
  return new TextDecoder().decode((await readToEnd(client)).bytes);
}

async function routeOf(gateway: Gateway, agent: RoleProcess): Promise<string> {
  const env = { XDG_RUNTIME_DIR: agent.runtimeFolder };
  const { stdout } = await runPostern(["status", "--json", "--role", "agent"], gateway.folder, env);
  return JSON.parse(stdout).services[0].route;
}

const NAMES = ["ztna-connector", "connector.web.ztna"];

Deno.test("the first stream goes by the server, the next ones to the connector, and status says so", async () => {
  await using backend = new Backend(echo);
  const { gateway, connector, agent } = await gatewayFor(backend.port, NAMES);
  await using _gateway = gateway;
  assertEquals(await ask(gateway, "by the server"), "by the server");
  const opened = await agent.until("direct-opened", { service: "web" });
  await connector.until("p2p-opened");
  assertEquals(opened["address"], `127.0.0.1:${(await connector.ports())[0]}`);
  assert((await routeOf(gateway, agent)).startsWith(`direct ${opened["address"]}, `));
  // The server is not needed for what goes there.
  await gateway.server.stop("SIGKILL");
  assertEquals(await ask(gateway, "directly"), "directly");
});

Deno.test("what goes to a connector that is gone goes by the server before anything is lost", async () => {
  await using backend = new Backend(echo);
  const { gateway, connector, agent } = await gatewayFor(backend.port, NAMES);
  await using _gateway = gateway;
  await ask(gateway, "first");
  await agent.until("direct-opened");
  await connector.stop("SIGKILL");
  const p2p = await gateway.pki.issue("next", { dns: NAMES, eku: ["serverAuth"] });
  await startConnector(gateway, backend.port, p2p);
  // The agent may still believe in the path to the dead one.
  assertEquals(await ask(gateway, "not lost"), "not lost");
  await agent.until("direct-doubtful");
  assertEquals(await ask(gateway, "by the server"), "by the server");
});

Deno.test("a connector whose certificate does not name the service, or is of nobody we trust, is not spoken to", async () => {
  await using backend = new Backend(echo);
  for (const names of [["ztna-connector"], ["ztna-connector", "connector.other.ztna"], ["connector.web.ztna"]]) {
    const { gateway, agent } = await gatewayFor(backend.port, names);
    await using _gateway = gateway;
    await ask(gateway, "first");
    const failed = await agent.until("direct-failed", { service: "web" });
    assert(String(failed["why"]).startsWith("the dial failed: "), String(failed["why"]));
    assertEquals(await ask(gateway, "by the server"), "by the server");
    assertEquals([agent.linesOf("direct-opened").length, await routeOf(gateway, agent)], [0, "relay"]);
  }
});

Deno.test("without being asked to, an agent tells nobody where it is", async () => {
  await using backend = new Backend(echo);
  const { gateway, connector, agent } = await gatewayFor(backend.port, NAMES, []);
  await using _gateway = gateway;
  for (let i = 0; i < 3; i++) await ask(gateway, "by the server");
  const { stdout } = await runPostern(["status", "--json", "--role", "connector"], gateway.folder, {
    XDG_RUNTIME_DIR: connector.runtimeFolder,
  });
  assertEquals(JSON.parse(stdout).peers, []);
  assertEquals(await routeOf(gateway, agent), undefined);
});

Deno.test("authorities that are read anew are asked about connectors that are connected already, and who does not pass is left", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty({ logLevel: "debug" });
  const own = Deno.readTextFileSync(gateway.pki.caCert);
  const [first, second] = await Promise.all(["first", "second"].map((name) => gateway.pki.foreignAuthority(name)));
  if (first === undefined || second === undefined) throw new Error("no authorities");
  const [firstPem, secondPem] = [first, second].map(({ caCert }) => Deno.readTextFileSync(caCert));
  const trust = (...authorities: readonly (string | undefined)[]) => {
    // In one step, as a reader may come at any time.
    Deno.writeTextFileSync(`${gateway.pki.caCert}.next`, [own, ...authorities].join("\n"));
    Deno.renameSync(`${gateway.pki.caCert}.next`, gateway.pki.caCert);
  };
  trust(firstPem);
  await gateway.startServer();
  const p2p = await gateway.pki.issue("p2p", { dns: NAMES, eku: ["serverAuth"] }, first.authority);
  const connector = await startConnector(gateway, backend.port, p2p);
  const agent = await gateway.startAgent(["web"], gateway.pki.agent, "--p2p");
  assertEquals(await ask(gateway, "by the server"), "by the server");
  await agent.until("direct-opened");
  using client = await gateway.connect("web");
  const say = async (text: string) => {
    await writeAll(client, new TextEncoder().encode(text));
    const answer = new Uint8Array(text.length);
    for (let at = 0; at < answer.length;) at += (await client.read(answer.subarray(at))) ?? answer.length;
    return new TextDecoder().decode(answer);
  };
  assertEquals(await say("directly"), "directly");
  // One more is trusted: the connector shows itself, and nothing is lost.
  trust(firstPem, secondPem);
  await agent.until("reloaded");
  await connector.until("p2p-opened", {}, { from: connector.lines.findIndex(({ event }) => event === "p2p-opened") + 1 });
  assertEquals(await say("still"), "still");
  assertEquals(agent.linesOf("direct-closed"), []);
  trust(secondPem);
  const closed = await agent.until("direct-closed", { service: "web" });
  assert(String(closed["why"]).includes("does not pass any more"), String(closed["why"]));
  assertEquals((await readToEnd(client)).bytes.length, 0);
  assertEquals(await ask(gateway, "by the server"), "by the server");
});

Deno.test("direct paths need certificates and their verification: without them the agent does not start", async () => {
  await using gateway = await Gateway.empty();
  const { caCert, agent } = gateway.pki;
  const forward = ["--forward", "0=web", "--server", "127.0.0.1:4433", "--ca-cert", caCert, "--p2p"];
  const pair = ["--client-cert", agent.cert, "--client-key", agent.key];
  for (const flags of [forward, [...forward, ...pair, "--no-verify-peer"]]) {
    const { code, said } = await runPostern(["agent", ...flags], gateway.folder);
    assertEquals(code, 2, said);
    assert(said.includes("--p2p"), said);
  }
});
