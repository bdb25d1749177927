/** After a restart the server is ready when the connectors of before are back, or when they were waited for long enough. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import { type RoleProcess, runPostern } from "./processes_fixture.ts";
import { Backend, sleep } from "./tcp_fixture.ts";

/** What the server says of itself: its phase, and why. */
async function stateOf(
  gateway: Gateway,
  server: RoleProcess,
): Promise<{ readonly phase: string; readonly reasons: readonly string[] }> {
  const { path } = await server.until("admin-listening");
  const { stdout, said } = await runPostern(["status", "--json", "--unix-socket-path", String(path)], gateway.folder);
  assert(stdout !== "", said);
  return JSON.parse(stdout);
}

/** A gateway whose server has noted that `web` is served. */
async function noted(gateway: Gateway, backend: Backend, file: string, ...flags: readonly string[]): Promise<readonly string[]> {
  const all = ["--resync-file", file, "--retry-key-file", `${gateway.folder}/address.keys`, ...flags];
  const server = await gateway.startServer(...all);
  assertEquals((await stateOf(gateway, server)).phase, "ready", "the first start waits for nobody");
  await gateway.startConnector({ web: backend.port }, gateway.pki.connector);
  await untilNoted(file);
  return all;
}

async function untilNoted(file: string): Promise<void> {
  const text = () => {
    try {
      return Deno.readTextFileSync(file);
    } catch {
      return "";
    }
  };
  for (let n = 0; text() !== "web\n"; n++) {
    assert(n < 200, "the service is not noted");
    await sleep(100);
  }
}

/** The test runner cannot tell the reading of a process's log from a leak. */
function row(behaviour: string, fn: () => Promise<void>): void {
  Deno.test({ name: behaviour, fn, sanitizeOps: false, sanitizeResources: false });
}

row("a server that was killed is not ready before its connector is back", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.empty();
  const flags = await noted(gateway, backend, `${gateway.folder}/served`, "--resync-grace", "60s");
  gateway.connector.signal("SIGSTOP");
  await gateway.server.stop("SIGKILL");
  const server = await gateway.startServer(...flags);
  const { phase, reasons } = await stateOf(gateway, server);
  assertEquals([phase, reasons], ["degraded", ["connectors of web are not back after the restart"]]);
  const { path } = await server.until("admin-listening");
  const health = await runPostern(["health", "--unix-socket-path", String(path)], gateway.folder);
  assertEquals(health.code, 1);

  // It notices with its next keepalive at the latest.
  const from = gateway.connector.lines.length;
  gateway.connector.signal("SIGCONT");
  await gateway.connector.until("registered", { service: "web" }, { from });
  assertMatch((await server.until("resynchronised")).msg, /are served again/);
  assertEquals((await stateOf(gateway, server)).phase, "ready");
});

row("a server that ended and starts again has its connector back in less than five seconds, and is ready then", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.empty();
  const flags = await noted(gateway, backend, `${gateway.folder}/served`, "--resync-grace", "60s");
  const from = gateway.connector.lines.length;
  await gateway.server.stop("SIGTERM");
  const server = await gateway.startServer(...flags);
  const begun = performance.now();
  await gateway.connector.until("registered", { service: "web" }, { from });
  assert(performance.now() - begun < 5_000, `${performance.now() - begun} ms`);
  await server.until("resynchronised");
  assertEquals((await stateOf(gateway, server)).phase, "ready");
});

row("the services are noted beside the admin socket when no other place is named, and nowhere without --resync", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.empty();
  const socket = `${gateway.folder}/seen/server.sock`, note = `${gateway.folder}/seen/server.served`;
  Deno.mkdirSync(`${gateway.folder}/seen`, { mode: 0o700 });
  const flags = ["--unix-socket-path", socket, "--retry-key-file", `${gateway.folder}/address.keys`];
  await gateway.startServer(...flags);
  await gateway.startConnector({ web: backend.port }, gateway.pki.connector);
  await untilNoted(note);
  await gateway.connector.stop("SIGKILL");
  await gateway.server.stop("SIGKILL");
  const again = await gateway.startServer(...flags);
  assertEquals((await stateOf(gateway, again)).phase, "degraded");
  await gateway.server.stop("SIGKILL");
  const hasty = await gateway.startServer(...flags, "--no-resync");
  assertEquals((await stateOf(gateway, hasty)).phase, "ready");
});

row("a server whose connector does not come back is ready without it after the time that was set", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.empty();
  const file = `${gateway.folder}/served`;
  const flags = await noted(gateway, backend, file, "--resync-grace", "2s");
  await gateway.server.stop("SIGTERM");
  assertEquals(Deno.readTextFileSync(file), "web\n", "the end of the server is not the end of its services");
  await gateway.connector.stop("SIGKILL");
  const server = await gateway.startServer(...flags);
  assertEquals((await stateOf(gateway, server)).phase, "degraded");
  const line = await server.until("resynchronised");
  assertEquals([line.level, line["missing"]], ["warn", 1]);
  assertEquals((await stateOf(gateway, server)).phase, "ready");
});

row("a file that is no list of services is ignored with a warning", async () => {
  await using gateway = await Gateway.empty();
  const file = `${gateway.folder}/served`;
  Deno.writeFileSync(file, Uint8Array.of(0, 1, 2, 255));
  const server = await gateway.startServer("--resync-file", file);
  assertEquals((await server.until("settings-warning", { subject: file })).level, "warn");
  assertEquals((await stateOf(gateway, server)).phase, "ready");
});
