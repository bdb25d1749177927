/**
 * How the tunnel begins, is refused, breaks, comes back and ends: what each of the three processes does, seen from the applications at
 * both ends and in the logs.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import type { RoleProcess } from "./processes_fixture.ts";
import {
  assertArrived,
  Backend,
  drain,
  echo,
  isReset,
  MARK,
  Pattern,
  readExactly,
  readToEnd,
  sleep,
  within,
  writeAll,
} from "./tcp_fixture.ts";

const MIB = 1024 * 1024;
const text = (words: string) => new TextEncoder().encode(words);

/** A row; the test runner cannot tell the reading of a process's log from a leak. */
function row(behaviour: string, fn: () => Promise<void>): void {
  Deno.test({ name: behaviour, fn, sanitizeOps: false, sanitizeResources: false });
}

/** Sends some bytes through and expects them back. */
async function assertEchoes(gateway: Gateway, service: string): Promise<void> {
  using client = await gateway.connect(service);
  await writeAll(client, text("hello"));
  await client.closeWrite();
  assertArrived(await readToEnd(client), text("hello"));
}

/** Waits until the data plane has heard of the end: from then on it takes nothing new. */
async function untilDraining(role: RoleProcess): Promise<void> {
  for (let from = 0;; from++) {
    const line = await role.until("stopping", {}, { from });
    if (line.msg.startsWith("Finishing")) return;
    from = role.lines.indexOf(line);
  }
}

row("an agent without the name for a service is refused, and does not learn whether the service exists", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.start({
    services: { web: backend.port },
    further: ["ghost", "other"],
    agentNames: ["agent.other.ztna", "connector.web.ztna"],
  });
  for (const service of ["web", "ghost"]) {
    assertEquals(await gateway.refusal(service, MARK), "reset");
    await gateway.agent.until("stream-refused", { service, code: "denied" });
    const line = await gateway.server.until("stream-refused", { service, code: "denied" });
    assertEquals([line.level, line["peer"]], ["warn", "gateway-agent#" + String(line["peer"]).split("#")[1]]);
  }
  await backend.nothing();
  const [web, ghost] = ["web", "ghost"].map((service) => gateway.agent.linesOf("stream-refused", { service })[0]?.msg);
  assertEquals(web?.replaceAll("web", "ghost"), ghost);
  assertEquals(await gateway.refusal("other"), "reset");
  await gateway.agent.until("stream-refused", { service: "other", code: "no-connector" });
});

row("a service whose connector has left has no connector, and works again when one is back", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty();
  await gateway.startServer();
  const first = await gateway.startConnector({ web: backend.port }, gateway.pki.connector);
  await gateway.startAgent(["web"], gateway.pki.agent);
  await assertEchoes(gateway, "web");
  assertEquals((await first.stop()).code, 0);
  assertEquals(await gateway.refusal("web"), "reset");
  await gateway.agent.until("stream-refused", { service: "web", code: "no-connector" });
  await gateway.startConnector({ web: backend.port }, gateway.pki.connector);
  await assertEchoes(gateway, "web");
});

row("a connection that opens while the server is away waits for it, and is reset after 5 s without", async () => {
  await using gateway = await Gateway.empty();
  const server = await gateway.startServer();
  const agent = await gateway.startAgent(["web"], gateway.pki.agent);
  await server.stop();
  await agent.until("uplink-lost");
  const early = gateway.refusal("web");
  const again = await gateway.startServer();
  assertEquals(await early, "reset");
  // It was asked: nobody serves it. Without having waited it would have been told that there is no uplink.
  await again.until("stream-refused", { service: "web", code: "no-connector" });
  await agent.until("stream-refused", { code: "no-connector" });

  const from = agent.lines.length;
  await again.stop();
  await agent.until("uplink-lost", {}, { from });
  const started = performance.now();
  assertEquals(await gateway.refusal("web"), "reset");
  const seconds = (performance.now() - started) / 1000;
  assert(seconds > 4.5 && seconds < 7, `after ${seconds} s`);
  await agent.until("stream-refused", { code: "no-uplink" }, { from });
});

row("a server that ends and starts again: streams are reset, agent and connector come back by themselves", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.start({ services: { web: backend.port } });
  using ends = await gateway.pair("web", backend);
  const { client, backend: accepted } = ends;
  await writeAll(accepted, text("half"));
  assertEquals(await readExactly(client, 4), text("half"));

  const stopped = gateway.server.stop();
  const [atClient, atBackend] = await Promise.all([readToEnd(client), readToEnd(accepted)]);
  assertEquals([atClient.end, atBackend.end], ["reset", "reset"]);
  assertEquals((await stopped).code, 0);
  const from = [gateway.agent, gateway.connector].map((role) => role.lines.length);
  await gateway.startServer();
  await gateway.agent.until("uplink-connected", {}, { from: from[0] ?? 0 });
  await gateway.connector.until("registered", { service: "web" }, { from: from[1] ?? 0 });

  using again = await gateway.pair("web", backend);
  await writeAll(again.client, text("back"));
  assertEquals(await readExactly(again.backend, 4), text("back"));
});

row("a connector that ends in the middle of a stream: the client sees a reset, not an end", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.start({ services: { web: backend.port } });
  using ends = await gateway.pair("web", backend);
  const { client, backend: accepted } = ends;
  await writeAll(accepted, text("half an answer"));
  assertEquals(await readExactly(client, 14), text("half an answer"));
  // The stream would never end by itself: the drain time does it.
  const stopping = gateway.connector.stop();
  assertEquals((await readToEnd(client, 6_000)).end, "reset");
  const end = await stopping;
  assertEquals(end.code, 0);
  assertEquals(gateway.connector.linesOf("drain-over").length, 1);
});

row("an agent that ends in the middle of a stream: the backend sees a reset, not an end", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.start({ services: { web: backend.port } });
  using ends = await gateway.pair("web", backend);
  const { client, backend: accepted } = ends;
  await writeAll(client, text("half a question"));
  assertEquals(await readExactly(accepted, 15), text("half a question"));
  const stopping = gateway.agent.stop();
  assertEquals((await readToEnd(accepted, 6_000)).end, "reset");
  assertEquals((await stopping).code, 0);
});

for (const role of ["agent", "connector", "server"] as const) {
  row(`SIGTERM to the ${role}: a short transfer finishes, new connections are refused, exit code 0`, async () => {
    await using backend = new Backend();
    await using gateway = await Gateway.start({ services: { web: backend.port } });
    using ends = await gateway.pair("web", backend);
    const { client, backend: accepted } = ends;
    const bytes = new Pattern(1).take(16 * MIB);
    // More than the first reader's kernel takes: much of it waits in the roles when the signal comes.
    const sending = (async () => {
      await writeAll(accepted, bytes);
      await accepted.closeWrite();
    })();
    // What goes wrong is said by what arrives.
    sending.catch(() => {});
    await sleep(100);
    const stopping = gateway[role].stop("SIGTERM");
    await untilDraining(gateway[role]);
    const refused = await gateway.refusal("web", MARK).catch((error: unknown) => error);
    assert(refused === "reset" || refused instanceof Deno.errors.ConnectionRefused, `${refused}`);
    assertArrived(await readToEnd(client), bytes);
    await sending;
    await client.closeWrite();
    assertArrived(await readToEnd(accepted), new Uint8Array(0));
    const end = await stopping;
    assertEquals(end.code, 0);
    assertEquals(gateway[role].linesOf("drain-over"), [], "it waited though nothing was left");
    await gateway[role].until("stopped");
    await backend.nothing();
  });

  row(`SIGTERM to the ${role}: an answer that is on its way to a client that has ended arrives`, async () => {
    await using backend = new Backend();
    await using gateway = await Gateway.start({ services: { web: backend.port } });
    using ends = await gateway.pair("web", backend);
    const { client, backend: accepted } = ends;
    await client.closeWrite();
    assertArrived(await readToEnd(accepted), new Uint8Array(0));
    const arriving = readToEnd(client);
    const bytes = new Pattern(2).take(role === "connector" ? 16 * MIB : MIB);
    const stopping = gateway[role].stop("SIGTERM");
    await untilDraining(gateway[role]);
    await writeAll(accepted, bytes);
    await accepted.closeWrite();
    assertArrived(await arriving, bytes);
    assertEquals((await stopping).code, 0);
  });

  row(`a second signal to the ${role} does not wait for its streams`, async () => {
    await using backend = new Backend(echo);
    await using gateway = await Gateway.start({ services: { web: backend.port } });
    using client = await gateway.connect("web");
    await writeAll(client, text("x"));
    await readExactly(client, 1);
    gateway[role].signal("SIGINT");
    await gateway[role].until("stopping");
    const end = await gateway[role].stop("SIGINT");
    assertEquals(end.code, 0);
    assertEquals(gateway[role].linesOf("drain-over"), [], "it waited for the stream");
  });
}

row("an idle role ends at once on SIGTERM, and tells the other end", async () => {
  await using gateway = await Gateway.start({ services: { web: 9 }, logLevel: "debug" });
  const end = await gateway.agent.stop();
  assertEquals(end.code, 0);
  assertEquals(gateway.agent.linesOf("drain-over"), []);
  const closed = await gateway.server.until("connection-closed");
  assertEquals([closed["by"], closed["code"]], ["peer", 0]);
});

row("over IPv6: the server, the local port and the backend on [::1]", async () => {
  await using backend = new Backend(null, "::1");
  await using gateway = await Gateway.start({ services: { web: backend.port }, loopback: "::1" });
  assert(String((await gateway.server.until("ready"))["listen_0"]).startsWith("udp:[::1]:"));
  using ends = await gateway.pair("web", backend);
  const { client, backend: accepted } = ends;
  const bytes = new Pattern(2).take(4 * MIB);
  const arriving = readToEnd(accepted);
  await writeAll(client, bytes);
  await client.closeWrite();
  assertArrived(await arriving, bytes);
  await writeAll(accepted, text("got it"));
  await accepted.closeWrite();
  assertArrived(await readToEnd(client), text("got it"));
});

row("two agents and two services: each connection reaches the backend of its service", async () => {
  const naming = (name: string) => async (connection: Deno.TcpConn) => {
    await drain(connection, () => {});
    await writeAll(connection, text(name));
    await connection.closeWrite();
  };
  await using web = new Backend(naming("web")), db = new Backend(naming("db"));
  await using gateway = await Gateway.start({ services: { web: web.port, db: db.port } });
  const first = gateway.agent;
  await gateway.startAgent(["web"], gateway.pki.agent);
  const ports = [...await first.ports(), ...await gateway.agent.ports()];
  const answers = await Promise.all(ports.map(async (port) => {
    using client = await Deno.connect({ port });
    await client.closeWrite();
    return new TextDecoder().decode((await readToEnd(client)).bytes);
  }));
  assertEquals(answers, ["web", "db", "web"]);
});

row("the agent's local port is free again after it ended, and a busy one is an error with a hint", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.start({ services: { web: backend.port } });
  const port = gateway.portOf("web");
  const flags = ["--forward", `127.0.0.1:${port}=web`, ...gateway.uplinkFlags(gateway.pki.agent)];
  const busy = await gateway.run(["agent", ...flags]).end();
  assertEquals(busy.code, 1);
  assert(busy.said.includes(`127.0.0.1:${port}`) && busy.said.includes("postern: hint: another process uses this port"), busy.said);
  await assertEchoes(gateway, "web");
  await gateway.agent.stop();
  await assertRejects(() => gateway.connect("web"), Deno.errors.ConnectionRefused);
  await gateway.run(["agent", ...flags]).until("uplink-connected");
  await assertEchoes(gateway, "web");
});

row("a writer whose reader's role is gone gets an error and does not hang", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.start({ services: { web: backend.port } });
  using ends = await gateway.pair("web", backend);
  const { client } = ends;
  const writing = (async () => {
    const chunk = new Uint8Array(256 * 1024);
    for (;;) await writeAll(client, chunk);
  })().catch((error: unknown) => error);
  await sleep(500);
  await gateway.connector.stop();
  const error = await within(6_000, "the writer's error", writing);
  assert(isReset(error), `${error}`);
});
