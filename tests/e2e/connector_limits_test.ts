/**
 * What the connector does when something is wrong with the agent or the backend on the datagram path: too many sessions, silence,
 * idleness, backends that come and go, the end of the connector itself.
 */
import { assert, assertEquals } from "@std/assert";
import { cpuSeconds } from "../bench/children.ts";
import { patternOf, sha256 } from "./packet_agent_fixture.ts";
import { PacketGateway } from "./packet_gateway_fixture.ts";
import { runPostern } from "./processes_fixture.ts";
import { Backend, close, closedPort, echo, readToEnd, SilentPort, sleep, writeAll } from "./tcp_fixture.ts";

const VIRTUAL = "10.100.0.1:80";

/** A backend that says its name to who speaks first. */
function named(name: string): Backend {
  return new Backend(async (connection) => {
    if ((await readToEnd(connection)).bytes.length > 0) await writeAll(connection, new TextEncoder().encode(name));
    close(connection);
  });
}

/** What `postern status` says about the connector. */
async function statusOf({ gateway }: PacketGateway) {
  const { path } = await gateway.connector.until("admin-listening");
  const { stdout, said } = await runPostern(["status", "--json", "--unix-socket-path", String(path)], gateway.folder);
  assert(stdout !== "", said);
  return JSON.parse(stdout) as {
    readonly reasons: readonly string[];
    readonly services: readonly { readonly endpoint: string; readonly state: string }[];
  };
}

const digest = (text: string) => sha256(new TextEncoder().encode(text));

Deno.test("15 SYNs at once from one source: 10 sessions, 5 RSTs; a second later all are welcome again", async () => {
  await using backend = new Backend(echo);
  await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${backend.port}`);
  const wait = { do: "udp", to: "10.100.0.1:9", payloads: [], replies: 1, ms: 1_200 } as const;
  const [first, , later] = await packets.run({ do: "many", to: VIRTUAL, count: 15 }, wait, { do: "tcp", to: VIRTUAL, send: 10 });
  assertEquals([first?.opened, first?.refused], [10, 5]);
  assertEquals(later?.end, "finished");
  const warning = await packets.gateway.connector.until("session-refused");
  assert(warning.msg.startsWith("TCP SYN rate limit exceeded for "), warning.msg);
});

Deno.test("two hundred sessions without data cost next to nothing", async () => {
  await using backend = new Backend(echo);
  await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${backend.port}`, "--health", "off");
  const { pid } = packets.gateway.connector;
  const running = packets.run({ do: "many", to: VIRTUAL, count: 200, sources: 40, holdMs: 8_000 });
  for (let tries = 0; tries < 1_000 && backend.accepted < 200; tries++) await sleep(20);
  await sleep(1_000);
  const before = cpuSeconds(pid), beganMs = performance.now();
  await sleep(5_000);
  const share = (cpuSeconds(pid) - before) / (performance.now() - beganMs) * 1_000;
  // The least that a loop that polls would take is far above, what the engine does now and then far below.
  assert(share < 0.05, `${(100 * share).toFixed(1)} % of a core`);
  assertEquals((await running)[0]?.opened, 200);
});

Deno.test("a backend that does not answer: RST after five seconds", async () => {
  using silent = new SilentPort();
  await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${silent.port}`);
  const [result] = await packets.run({ do: "tcp", to: VIRTUAL });
  assertEquals([result?.isOpen, result?.end], [false, "reset"]);
  assert((result?.ms ?? 0) > 4_900, `${result?.ms} ms`);
  const warning = await packets.gateway.connector.until("backend-failed");
  assertEquals(warning.msg, "TCP connect timeout for 10.100.0.1:80 (5s elapsed), sending RST");
});

Deno.test("a session without data is reset after the idle time", async () => {
  await using backend = new Backend(echo);
  const flags = ["--service", `web=127.0.0.1:${backend.port}`, "--tcp-idle-timeout", "1s"];
  await using packets = await PacketGateway.start(...flags);
  const [result] = await packets.run({ do: "tcp", to: VIRTUAL, send: 5, end: "open" });
  assertEquals([result?.received, result?.end], [5, "reset"]);
  assert((result?.ms ?? 0) > 900, `${result?.ms} ms`);
});

Deno.test("after the agent's FIN: a backend that says nothing is ended by FIN, one that stops within its answer by RST, in a set time", async () => {
  /** With a backend that reads to the end, waits, says so many bytes, and then ends or does not. */
  const through = async (drain: string, answer: number, delayMs: number, ends: boolean) => {
    const over = Promise.withResolvers<void>();
    await using backend = new Backend(async (connection) => {
      if ((await readToEnd(connection)).bytes.length === 0) return;
      await sleep(delayMs);
      await writeAll(connection, patternOf(answer));
      if (!ends) await over.promise;
    });
    await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${backend.port}`, "--tcp-drain-timeout", drain);
    const [result] = await packets.run({ do: "tcp", to: VIRTUAL, send: 10 });
    over.resolve();
    if (result?.end === "reset") await packets.gateway.connector.until("backend-failed", { service: "web" });
    return [result?.received, result?.end];
  };
  assertEquals(await through("1s", 0, 0, false), [0, "finished"]);
  assertEquals(await through("8s", 1_000, 0, false), [1_000, "reset"]);
  assertEquals(await through("1m", 1_000, 2_000, true), [1_000, "finished"]);
});

Deno.test("another backend takes over; a service whose only one is down is withdrawn, and registered again when it is back", async () => {
  await using good = named("good");
  const port = closedPort();
  const both = ["--service", `web=127.0.0.1:${port}`, "--service", `web=127.0.0.1:${good.port}`];
  await using packets = await PacketGateway.start(...both);
  const [taken] = await packets.run({ do: "tcp", to: VIRTUAL, send: 1 });
  assertEquals([taken?.sha256, taken?.end], [digest("good"), "finished"]);

  await using alone = await PacketGateway.start("--service", `web=127.0.0.1:${port}`);
  const { connector } = alone.gateway;
  await connector.until("backend-health", { health: "down" });
  await connector.until("withdrawn", { service: "web" });
  await alone.gateway.server.until("withdrawn", { service: "web" });
  const seen = await statusOf(alone);
  assertEquals(seen.services.map(({ endpoint, state }) => [endpoint, state]), [[`127.0.0.1:${port} (down)`, "unserved"]]);
  assertEquals(seen.reasons, ["the backends of web are down"]);
  const from = connector.lines.length;
  await using back = new Backend(echo, "127.0.0.1", port);
  await connector.until("registered", { service: "web" }, { from });
  assertEquals((await statusOf(alone)).services.map(({ endpoint, state }) => [endpoint, state]), [[
    `127.0.0.1:${port} (up)`,
    "registered",
  ]]);
  const [welcome] = await alone.run({ do: "tcp", to: VIRTUAL, send: 1_000 });
  assertEquals([welcome?.sha256, back.port], [sha256(patternOf(1_000)), port]);
});

Deno.test("two services on one connection: each agent reaches its own and not the other's", async () => {
  await using web = named("web");
  await using db = named("db");
  const backends = ["--service", `web=127.0.0.1:${web.port}`, "--service", `db=127.0.0.1:${db.port}`];
  await using packets = await PacketGateway.start(...backends, "--service-ip", "web=10.100.0.1", "--service-ip", "db=10.100.0.2");
  for (
    const [service, own, other] of [["web", "10.100.0.1:80", "10.100.0.2:80"], ["db", "10.100.0.2:80", "10.100.0.1:80"]] as const
  ) {
    const [reached, foreign] = await packets.runAs({ service }, { do: "tcp", to: own, send: 1 }, { do: "tcp", to: other, send: 1 });
    assertEquals([reached?.sha256, reached?.end], [digest(service), "finished"]);
    assertEquals([foreign?.isOpen, foreign?.end], [false, "reset"]);
  }
});

Deno.test("SIGTERM: a session may finish, one that does not is reset, and the connector ends well", async () => {
  const begun = Promise.withResolvers<void>();
  await using backend = new Backend(async (connection) => {
    const { bytes } = await readToEnd(connection);
    if (bytes.length === 0) return;
    begun.resolve();
    await sleep(300);
    await writeAll(connection, patternOf(500_000));
    close(connection);
  });
  await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${backend.port}`);
  const running = packets.run({ do: "tcp", to: VIRTUAL, send: 10 });
  await begun.promise;
  const ending = packets.gateway.connector.stop("SIGTERM");
  const [result] = await running;
  assertEquals([result?.sha256, result?.end], [sha256(patternOf(500_000)), "finished"]);
  assertEquals((await ending).code, 0);

  await using holding = new Backend(echo);
  await using second = await PacketGateway.start("--service", `web=127.0.0.1:${holding.port}`);
  const held = second.run({ do: "tcp", to: VIRTUAL, send: 10, end: "open" });
  while (holding.accepted < 2) await sleep(20);
  await sleep(300);
  const end = await second.gateway.connector.stop("SIGTERM");
  assertEquals(end.code, 0);
  assertEquals((await held)[0]?.end, "reset");
});
