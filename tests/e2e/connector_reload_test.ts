/** The connector's process through SIGHUP with its configuration in a file, and through a backend's name that moves. */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { RoleProcess, runPostern } from "./processes_fixture.ts";
import { assertArrived, Backend, echo, MARK, Pattern, readToEnd, sleep, writeAll } from "./tcp_fixture.ts";

/** A row; the test runner cannot tell the reading of a process's log from a leak. */
function row(behaviour: string, fn: () => Promise<void>, needs: Parameters<typeof needing>[0] = {}): void {
  Deno.test({ ...needing(needs, behaviour, fn), sanitizeOps: false, sanitizeResources: false });
}

async function assertEchoes(gateway: Gateway, service: string, bytes = MARK): Promise<void> {
  using client = await gateway.connect(service);
  await writeAll(client, bytes);
  await client.closeWrite();
  assertArrived(await readToEnd(client), bytes);
}

row("SIGHUP: services come and go, a transfer on one that stays runs through, and a wrong file changes nothing", async () => {
  await using backend = new Backend();
  await using other = new Backend(echo);
  await using gateway = await Gateway.empty();
  await gateway.startServer();
  const [connectorFiles, agentFiles] = await Promise.all([
    gateway.pki.issue("reloading", { dns: ["connector.*.ztna"], eku: ["clientAuth"] }),
    gateway.pki.issue("all", { dns: ["agent.*.ztna"], eku: ["clientAuth"] }),
  ]);
  const file = join(gateway.folder, "connector.json");
  const offer = (...ids: readonly string[]) =>
    ids.map((id) => ({ id, backend: `127.0.0.1:${id === "web" ? backend.port : other.port}`, health: "off" }));
  const write = (content: unknown) => Deno.writeTextFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  write({ services: offer("web", "db") });
  const connector = gateway.run(["connector", "--config", file, ...gateway.uplinkFlags(connectorFiles)]);
  for (const service of ["web", "db"]) await connector.until("registered", { service });
  await gateway.startAgent(["web", "db", "api"], agentFiles);
  await assertEchoes(gateway, "db");
  using pair = await gateway.pair("web", backend);
  const sent = new Pattern(3).take(2_000_000);
  const received = readToEnd(pair.client);
  await writeAll(pair.backend, sent.subarray(0, 1_000_000));

  write({ services: offer("web", "api") });
  connector.signal("SIGHUP");
  await connector.until("reloaded");
  await connector.until("registered", { service: "api" });
  await gateway.server.until("withdrawn", { service: "db" });
  await assertEchoes(gateway, "api");
  assertEquals(await gateway.refusal("db"), "reset");

  for (
    const [wrong, words] of [["{", "connector.json:1"], [{ services: [{ id: "web", backend: "nowhere" }] }, "backend"]] as const
  ) {
    const from = connector.lines.length;
    write(wrong);
    connector.signal("SIGHUP");
    const line = await connector.until("reload-failed", {}, { from });
    assert(line.msg.includes(words), line.msg);
  }
  await assertEchoes(gateway, "api");
  await writeAll(pair.backend, sent.subarray(1_000_000));
  await pair.backend.closeWrite();
  assertArrived(await received, sent);
  assertEquals(connector.linesOf("uplink-connected").length, 1);
});

row("a backend's name that moves is found again when the old address fails", async () => {
  await using gateway = await Gateway.empty();
  await gateway.startServer();
  const hosts = join(gateway.folder, "hosts");
  Deno.writeTextFileSync(hosts, "127.0.0.2 moving.test\n");
  const first = new Backend(echo, "127.0.0.2");
  const { port } = first;
  await using second = new Backend(echo, "127.0.0.3", port);
  const mount = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh", hosts];
  const args = ["connector", "--service", `web=moving.test:${port}`, ...gateway.uplinkFlags(gateway.pki.connector)];
  await using connector = new RoleProcess(args, gateway.folder, {}, mount);
  await connector.until("registered", { service: "web" });
  await gateway.startAgent(["web"], gateway.pki.agent);
  await assertEchoes(gateway, "web");
  // The file itself is mounted: it is changed in place.
  Deno.writeTextFileSync(hosts, "127.0.0.3 moving.test\n");
  await first[Symbol.asyncDispose]();
  const reached = () => second.accepted;
  for (let waitedMs = 0; reached() === 0 && waitedMs < 40_000; waitedMs += 200) await sleep(200);
  await sleep(500);
  await assertEchoes(gateway, "web");
}, { root: true, tools: ["unshare", "mount"] });

row(
  "a service that the server denies: the connector says it is not healthy and tries again, or ends when it is told to",
  async () => {
    await using gateway = await Gateway.empty();
    const server = await gateway.startServer();
    const offer = ["connector", "--service", "web=127.0.0.1:1", "--service", "db=127.0.0.1:2", "--health", "off"];
    const staying = gateway.run([...offer, ...gateway.uplinkFlags(gateway.pki.connector)]);
    const denied = await staying.until("registration-refused", { service: "db", why: "not-authorised" });
    assertEquals(denied.msg, "Registration NACK for service 'db' (status=0x02)");
    await staying.until("registered", { service: "web" });
    const asked = await runPostern(["status", "--json"], gateway.folder, { XDG_RUNTIME_DIR: staying.runtimeFolder });
    assertEquals(JSON.parse(asked.stdout).reasons, ["the server refuses db"]);
    await staying.until("registration-refused", { service: "db" }, { from: staying.lines.indexOf(denied) + 1, ms: 30_000 });

    const leaving = gateway.run([...offer, ...gateway.uplinkFlags(gateway.pki.connector), "--exit-on-denied"]);
    const { code, said } = await leaving.end();
    assertEquals(code, 1);
    assert(said.includes("error: the server refused the registration of db"), said);
    assert(said.includes("connector.db.ztna"), said);
    assert(!server.hasEnded && !staying.hasEnded);
  },
);
