/**
 * Seeing and steering with the real three roles: metrics behind mutual TLS, health, the admin socket and the operator's commands,
 * privileges, and that nobody who looks disturbs what is relayed.
 */
import { join } from "node:path";
import { assert, assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { type RoleProcess, runPostern, TemporaryFolder } from "./processes_fixture.ts";
import { drain, hashToEnd, readExactly, sleep, writeAll, writePattern } from "./tcp_fixture.ts";
import { ofThreads } from "./threads_fixture.ts";

const ROLES = ["server", "connector", "agent"] as const;
type RoleName = typeof ROLES[number];

const TRANSFER_BYTES = 64 * 1024 * 1024;
const SCRAPES = 2_000;

/** Three roles that can be seen, with an echo service behind them. */
interface Seen {
  readonly gateway: Gateway;
  readonly roles: Readonly<Record<RoleName, RoleProcess>>;
  readonly metricsPorts: Readonly<Record<RoleName, number>>;
  /** A command that speaks to the role; its standard output, once it ended with `code`. */
  readonly postern: (role: RoleName, args: readonly string[], code?: number) => Promise<string>;
}

async function withSeen(use: (seen: Seen) => Promise<void>): Promise<void> {
  const backend = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using backends = new AsyncDisposableStack();
  const serving = serveEcho(backend);
  backends.defer(async () => {
    backend.close();
    await serving.catch(() => {});
  });
  await using gateway = await Gateway.empty();
  const socketOf = (role: RoleName) => join(gateway.folder, `${role}.sock`);
  const metrics = join(gateway.pki.folder, "metrics");
  const flags = (role: RoleName) => [
    ...["--unix-socket-path", socketOf(role), "--metrics-addr", "[::1]:0"],
    ...["--metrics-cert", `${metrics}/server.crt`, "--metrics-key", `${metrics}/server.key`, "--metrics-ca", `${metrics}/ca.crt`],
  ];
  const server = await gateway.startServer(...flags("server"));
  const services = { web: backend.addr.port };
  const connector = await gateway.startConnector(services, gateway.pki.connector, ...flags("connector"));
  const agent = await gateway.startAgent(["web"], gateway.pki.agent, ...flags("agent"), "--congestion-control", "bbr2");
  const roles = { server, connector, agent };
  const ports = await Promise.all(ROLES.map((role) => metricsPort(roles[role])));
  await use({
    gateway,
    roles,
    metricsPorts: { server: ports[0] ?? 0, connector: ports[1] ?? 0, agent: ports[2] ?? 0 },
    postern: async (role, args, code = 0) => {
      const end = await runPostern([...args, "--unix-socket-path", socketOf(role)], gateway.folder);
      assertEquals(end.code, code, `postern ${args.join(" ")}: ${end.said}`);
      return end.stdout;
    },
  });
}

/** Gives back what comes, until the listener is closed. */
async function serveEcho(listener: Deno.TcpListener): Promise<void> {
  const open: Promise<void>[] = [];
  for await (const { readable, writable } of listener) open.push(readable.pipeTo(writable));
  await Promise.allSettled(open);
}

async function metricsPort(role: RoleProcess): Promise<number> {
  await role.until("metrics-listening");
  for (let tries = 0; tries < 100; tries++) {
    for (const { msg } of role.linesOf("metrics-listening")) {
      const port = /Listening on IPv6 \[::1\]:(\d+)/.exec(msg)?.[1];
      if (port !== undefined) return Number(port);
    }
    await sleep(50);
  }
  throw new Error(`no metrics port\n${role.tail()}`);
}

/** curl with the metrics client's certificate, or with none. */
async function curl(
  { gateway }: Seen,
  port: number,
  path: string,
  { anonymous = false, more = [] as readonly string[] } = {},
): Promise<{ readonly code: number; readonly out: string }> {
  const metrics = join(gateway.pki.folder, "metrics");
  const identity = anonymous ? [] : ["--cert", `${metrics}/client.crt`, "--key", `${metrics}/client.key`];
  const args = ["-sS", "-6", "--cacert", `${metrics}/ca.crt`, ...identity, ...more, `https://localhost:${port}${path}`];
  const { code, stdout } = await new Deno.Command("curl", { args, stdout: "piped", stderr: "null" }).output();
  return { code, out: new TextDecoder().decode(stdout) };
}

/** Scrapes until `line` is there: gauges are published now and then, not with every packet. */
async function scrapeUntil(seen: Seen, port: number, line: string): Promise<string> {
  let out = "";
  for (let tries = 0; tries < 50; tries++) {
    const scrape = await curl(seen, port, "/metrics");
    assertEquals(scrape.code, 0);
    out = scrape.out;
    if (out.includes(`\n${line}\n`)) return out;
    await sleep(200);
  }
  throw new Error(`no ${line} in\n${out.slice(0, 2000)}`);
}

const FAMILY: Readonly<Record<RoleName, string>> = {
  server: "ztna_active_connections 2",
  connector: "ztna_connector_services_registered 1",
  agent: "ztna_agent_uplink_up 1",
};

Deno.test(needing({ root: true, tools: ["curl"] }, "the three roles are seen and steered", async (t) => {
  await withSeen(async (seen) => {
    const { roles, metricsPorts, postern } = seen;
    for (const role of ROLES) {
      await t.step(`${role}: metrics and health with a certificate of the metrics CA, nothing without`, async () => {
        const out = await scrapeUntil(seen, metricsPorts[role], FAMILY[role]);
        assert(out.includes(`postern_build_info{role="${role}"`), out.slice(0, 300));
        assertMatch(out, /certificate\w*\{purpose="identity"\} \d+/);
        assertEquals((await curl(seen, metricsPorts[role], "/readyz")).out, "ready\n");
        const refused = await curl(seen, metricsPorts[role], "/metrics", { anonymous: true });
        assertNotEquals(refused.code, 0);
        assertEquals(refused.out, "");
      });
      await t.step(`${role}: every thread has given up every privilege for good`, () => {
        assertEquals(ofThreads(roles[role].pid, "NoNewPrivs"), new Set(["1"]));
        for (const set of ["CapPrm", "CapEff", "CapBnd"]) {
          assertEquals(ofThreads(roles[role].pid, set), new Set(["0000000000000000"]), set);
        }
        assertEquals(roles[role].linesOf("privileges-kept"), []);
      });
      await t.step(`${role}: status and health`, async () => {
        const status = JSON.parse(await postern(role, ["status", "--json"]));
        assertEquals([status.role, status.phase, status.pid], [role, "ready", roles[role].pid]);
        const purposes = status.certificates.map(({ role, purpose }: Record<string, string>) => role ?? purpose);
        assertEquals([...new Set(purposes)].sort(), ["ca", "identity", "metrics", "metrics-ca"]);
        assertMatch(await postern(role, ["health"]), /^ok /);
        const page = await postern(role, ["status"]);
        assertMatch(page, new RegExp(`${role} is ready`));
        const control = role === "agent" ? "bbr2" : "cubic";
        assertEquals(status.congestion_control, control);
        assert(status.sockets.length > 0);
        for (const { address, buffer_wanted, receive_buffer, send_buffer, ...offloads } of status.sockets) {
          assertMatch(address, /^[0-9a-f.:[\]]+:[1-9]\d*$/);
          assert(
            buffer_wanted >= 2 ** 20 && receive_buffer > 0 && send_buffer > 0,
            `${buffer_wanted} ${receive_buffer} ${send_buffer}`,
          );
          assertEquals(offloads, { sends_trains: true, receives_trains: true });
          assertStringIncludes(page, `  socket      ${address}, buffers `);
        }
        assertStringIncludes(page, `GSO on, GRO on, ${control}\n`);
      });
    }
    await t.step("ready names every address: the role's own, the metrics listener's and the admin socket", async () => {
      const server = await seen.gateway.server.until("ready");
      assertEquals([server["listen_0"], server["name_0"]], [`udp:${seen.gateway.serverAddress}`, "quic"]);
      assertEquals(server["admin"], join(seen.gateway.folder, "server.sock"));
      assertMatch(String(server["metrics"]), /^\[::1\]:[1-9]\d*$/);
      assertEquals((await seen.gateway.agent.until("ready"))["name_0"], "forward web");
    });
    await t.step("what each role knows of its services and its server", async () => {
      const status = async (role: RoleName) => JSON.parse(await postern(role, ["status", "--json"]));
      const service = (await status("server")).services[0];
      assertEquals([service.id, service.state, service.connectors], ["web", "registered", 1]);
      const { peers } = JSON.parse(await postern("server", ["peers", "--json"]));
      const authorized = peers.map((peer: { role: string; authorized: string[] }) => [peer.role, peer.authorized]);
      assertEquals(authorized.sort(), [["agent", ["agent:web"]], ["connector", ["connector:web"]]]);
      const connector = await status("connector");
      assertEquals([connector.services[0].state, connector.uplinks[0].state], ["registered", "connected"]);
      const agent = await status("agent");
      assertEquals([agent.uplinks[0].server, agent.uplinks[0].protocol], [seen.gateway.serverAddress, "ztna-v2"]);
      assertEquals(agent.services[0].endpoint, `127.0.0.1:${seen.gateway.portOf("web")}`);
    });
    await t.step("the effective configuration says where each value came from", async () => {
      const { settings } = JSON.parse(await overSocket(join(seen.gateway.folder, "server.sock"), "/v1/config"));
      const port = settings.find(({ key }: { key: string }) => key === "bind");
      assertMatch(port.source, /^flag --bind/);
    });
    await t.step("the log's level changes while the role runs", async () => {
      assertEquals(await postern("server", ["log-level"]), "info\n");
      await postern("server", ["log-level", "debug"]);
      assertEquals(await postern("server", ["log-level"]), "debug\n");
      await roles.server.until("admin-steered");
      await postern("server", ["log-level", "info"]);
    });
    await t.step("the data plane's records follow the level at once", async () => {
      const { agent } = roles;
      const closeOne = async () => {
        using client = await seen.gateway.connect("web");
        await writeAll(client, new TextEncoder().encode("hello"));
        await client.closeWrite();
        await drain(client, () => {});
      };
      await closeOne();
      await postern("agent", ["log-level", "info,stream=debug"]);
      const from = agent.lines.length;
      await closeOne();
      await agent.until("stream-closed", {}, { from });
      await postern("agent", ["log-level", "info"]);
      await closeOne();
      await sleep(100);
      assertEquals(agent.linesOf("stream-closed").length, 1);
    });
    await t.step("each role lists a stream with its service, peers, state, age and bytes each way", async () => {
      using held = await seen.gateway.connect("web");
      await writeAll(held, new Uint8Array(700));
      await readExactly(held, 700);
      for (const role of ROLES) {
        const { flows, total } = JSON.parse(await postern(role, ["flows", "--json"]));
        assertEquals([total, flows.length], [1, 1], role);
        const [flow] = flows;
        assertEquals([flow.service, flow.protocol, flow.state], ["web", "stream", "joined"], role);
        assertEquals([flow.bytes_to_service, flow.bytes_from_service], [700, 700], role);
        assert(flow.duration >= 0 && flow.duration < 60, role);
        if (role === "server") {
          assertEquals([flow.agent, flow.connector], ["test-agent", "test-connector"]);
          const { peers } = JSON.parse(await postern("server", ["peers", "--json"]));
          const ids = peers.map(({ id }: { id: string }) => id).sort();
          assertEquals([flow.agent_id, flow.connector_id].sort(), ids);
        } else assertEquals(flow.agent, role === "agent" ? "agent" : "test-agent");
        const status = JSON.parse(await postern(role, ["status", "--json"]));
        assertEquals(status.flows.length, 1, role);
        const limit = status.limits.find(({ name }: { name: string }) => /^(connections|streams|local-connections)$/.test(name));
        assert(limit.used >= 1 && limit.used < limit.max, role);
      }
      assertMatch(await postern("server", ["flows"]), /web +stream +joined +test-agent#\d+ +test-connector#\d+/);
    });
    await t.step("a peer that is disconnected comes back", async () => {
      const agent = async () => {
        const { peers } = JSON.parse(await postern("server", ["peers", "--json"]));
        return peers.find(({ common_name }: { common_name: string }) => common_name === "test-agent");
      };
      const before = await agent();
      assertMatch(before.remote_addr, /^127\.0\.0\.1:\d+$/);
      assertEquals([before.role, before.tls_version, before.protocol], ["agent", "TLS 1.3", "ztna-v2"]);
      const from = roles.agent.lines.length;
      await postern("server", ["disconnect", before.id]);
      await roles.agent.until("uplink-connected", {}, { from });
      assertNotEquals((await agent()).id, before.id);
      await postern("server", ["disconnect", "999999"], 1);
    });
    await t.step("a reload by hand reaches the role", async () => {
      assertMatch(await postern("server", ["reload"]), /TLS certificates reloaded/);
      const from = roles.server.lines.length;
      roles.server.signal("SIGHUP");
      await roles.server.until("reloaded", {}, { from });
      assert(roles.server.linesOf("reloading").some(({ msg }) => msg.startsWith("SIGHUP received")));
    });
    await t.step("what was done stands among the security events", async () => {
      const events = await postern("server", ["events"]);
      assertMatch(events, /admin_steered/);
      const only = await postern("server", ["events", "--type", "admin_steered", "--limit", "1", "--json"]);
      assertMatch(only, /admin_steered/);
    });
    await t.step(`${SCRAPES} scrapes beside a transfer: nothing is lost`, async () => {
      const transfer = transferThrough(seen.gateway);
      const path = `/metrics?n=[1-${SCRAPES}]`;
      const scrape = await curl(seen, metricsPorts.server, path, { more: ["-o", "/dev/null", "-w", "%{http_code}\\n"] });
      assertEquals(scrape.code, 0);
      assertEquals(scrape.out.trim().split("\n").filter((code) => code === "200").length, SCRAPES);
      await transfer;
    });
    await t.step("a role without its server is not ready", async () => {
      await postern("server", ["drain"]);
      assertEquals((await roles.server.end()).code, 0);
      await roles.agent.until("uplink-lost");
      assertMatch(await postern("agent", ["health"], 1), /^FAIL/);
      await postern("server", ["health"], 1);
    });
  });
}));

/** Sends a pattern to the echo service and compares what comes back. */
async function transferThrough(gateway: Gateway): Promise<void> {
  using client = await gateway.connect("web");
  const sending = writePattern(client, 7, TRANSFER_BYTES).then(async (sha256) => {
    await client.closeWrite();
    return sha256;
  });
  const [sent, got] = await Promise.all([sending, hashToEnd(client)]);
  assertEquals(got, { count: TRANSFER_BYTES, sha256: sent, end: "end" });
}

/** The body of an answer on the admin socket. */
async function overSocket(path: string, target: string): Promise<string> {
  using connection = await Deno.connect({ transport: "unix", path });
  await writeAll(connection, new TextEncoder().encode(`GET ${target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`));
  const chunks: Uint8Array[] = [];
  await drain(connection, (chunk) => chunks.push(chunk.slice()));
  const text = new TextDecoder().decode(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}

Deno.test("files that a role reads by itself are seen: damaged, health says why and it is counted; repaired, both say so", async () => {
  await withSeen(async ({ gateway, roles: { server } }) => {
    const path = join(gateway.folder, "server.sock");
    const health = async () => JSON.parse(await overSocket(path, "/health/tls"));
    const counted = async (name: string) => {
      const line = (await overSocket(path, "/metrics")).split("\n").find((line) => line.startsWith(`${name} `));
      return Number(line?.split(" ").at(-1));
    };
    const { cert } = gateway.pki.server;
    const good = Deno.readTextFileSync(cert);
    Deno.writeTextFileSync(cert, "damaged");
    await server.until("reload-failed");
    const degraded = await health();
    assertEquals(degraded.status, "degraded");
    assertMatch(degraded.last_reload_error, /No certificate in/);
    assertEquals(await counted("ztna_reload_failures_total"), 1);
    const asked = { from: server.lines.length };
    server.signal("SIGHUP");
    await server.until("reload-failed", {}, asked);
    assertEquals(await counted("ztna_reload_failures_total"), 2);
    const repaired = { from: server.lines.length };
    Deno.writeTextFileSync(cert, good);
    await server.until("reloaded", {}, repaired);
    const { status, last_reload, last_reload_error } = await health();
    assertEquals([status, last_reload_error], ["ok", ""]);
    assert(last_reload > degraded.last_reload, last_reload);
    assertEquals(await counted("ztna_reload_failures_total"), 2);
    assertEquals([await counted("postern_reload_failures_total"), await counted("postern_reloads_total")], [2, 1]);
    // The metrics listener's own certificate was read on SIGHUP and is the same, and so is the one that was repaired.
    const rotations = (purpose: string) => counted(`postern_certificate_rotations_total{purpose="${purpose}"}`);
    assertEquals([await rotations("metrics"), await rotations("identity")], [0, 0]);
    const renewed = { from: server.lines.length };
    await gateway.pki.issue("server", { dns: ["localhost"], ip: ["127.0.0.1", "::1"], eku: ["serverAuth"], serial: "0badcafe" });
    await server.until("reloaded", {}, renewed);
    assertEquals(await rotations("identity"), 1);
    const events = JSON.parse(await overSocket(path, "/v1/events?type=certificate_reloaded&limit=1")).events;
    assertEquals(events[0].details, { purpose: "identity", subject: "CN=server", serial: "0badcafe" });
  });
});

Deno.test("without any metrics settings a role says so once and works; a socket that is taken is no reason to end", async () => {
  using folder = new TemporaryFolder();
  await using gateway = await Gateway.empty();
  const { server, caCert } = gateway.pki;
  const env = { XDG_RUNTIME_DIR: folder.path };
  const args = ["server", "--bind", "127.0.0.1:0", "--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
  const warnings = (role: RoleProcess) =>
    // What the kernel grants is the machine's.
    role.lines.filter(({ level, event }) => level === "warn" && event !== "socket-buffers").map(({ event }) => event);
  const first = gateway.run(args, env);
  await first.until("ready");
  assertEquals(warnings(first), ["metrics-off"]);
  const second = gateway.run([...args, "--metrics-port", "0"], env);
  await second.until("ready");
  assertEquals(warnings(second), ["admin-off"]);
  const status = await runPostern(["status", "--json"], gateway.folder, env);
  assertEquals(JSON.parse(status.stdout).pid, first.pid);
  const asked = gateway.run([...args, "--unix-socket-path", join(folder.path, "postern", "server.sock")], env);
  assertEquals((await asked.end()).code, 1);
  assertEquals((await first.stop()).code, 0);
  assertEquals((await runPostern(["health"], gateway.folder, env)).code, 1);
});

Deno.test("metrics settings that are wrong end the start before anything is bound", async () => {
  await using gateway = await Gateway.empty();
  const { server, caCert } = gateway.pki;
  const args = ["server", "--bind", "127.0.0.1:0", "--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
  const role = gateway.run([...args, "--metrics-addr", "127.0.0.1:9090"]);
  const end = await role.end();
  assertEquals(end.code, 2);
  assertMatch(end.said, /IPv4 addresses not supported/);
  assertEquals(role.linesOf("ready"), []);
});
