/** What the server reads anew while it runs, as a process: on SIGHUP, by itself when a file changes, and never by halves. */
import "reflect-metadata";
import { join } from "node:path";
import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { X509Certificate } from "@peculiar/x509";
import type { Issued } from "../pki/mod.ts";
import { Gateway } from "./gateway_fixture.ts";
import { type CertificateFiles, makePki } from "./pki_fixture.ts";
import { type RoleProcess, runPostern, TemporaryFolder } from "./processes_fixture.ts";
import { Backend, echo, readExactly, sleep, writeAll } from "./tcp_fixture.ts";

const text = (words: string) => new TextEncoder().encode(words);

/** The test runner cannot tell the reading of a process's log from a leak. */
function row(behaviour: string, fn: () => Promise<void>): void {
  Deno.test({ name: behaviour, fn, sanitizeOps: false, sanitizeResources: false });
}

function certificateIn({ cert }: CertificateFiles): X509Certificate {
  return new X509Certificate(Deno.readTextFileSync(cert));
}

/** Writes a revocation list of the PKI's authority over `path`, by renaming as a careful tool does. */
async function writeCrl(gateway: Gateway, path: string, revoked: readonly CertificateFiles[]): Promise<void> {
  const issued = revoked.map((files) => ({ certificate: certificateIn(files) }) as unknown as Issued);
  Deno.writeFileSync(`${path}.new`, await gateway.pki.authority.crl({ revoked: issued }));
  Deno.renameSync(`${path}.new`, path);
}

/** Bytes go to the backend and come back. */
async function assertEchoes(connection: Deno.TcpConn, words: string): Promise<void> {
  await writeAll(connection, text(words));
  assertEquals(new TextDecoder().decode(await readExactly(connection, words.length)), words);
}

/** Log lines that came behind this moment. */
function after(role: RoleProcess) {
  return { from: role.lines.length };
}

row("SIGHUP: a renewed certificate is shown to who comes, who is connected stays; a damaged one changes nothing", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.start({ services: { web: backend.port } });
  const { server, pki } = gateway;
  using connection = await gateway.connect("web");
  await assertEchoes(connection, "before");
  const good = Deno.readTextFileSync(pki.server.cert);
  Deno.writeTextFileSync(pki.server.cert, "damaged");
  const first = after(server);
  server.signal("SIGHUP");
  const failed = await server.until("reload-failed", {}, first);
  assertMatch(failed.msg, /^Failed to reload TLS certificates: .+\. Keeping previous config\.$/);
  assertEquals(failed.level, "error");
  await assertEchoes(connection, "meanwhile");
  await using late = await gateway.startAgent(["web"], pki.agent);
  await late.stop();
  Deno.writeTextFileSync(pki.server.cert, good);
  const names = { dns: ["localhost"], ip: ["127.0.0.1", "::1"], eku: ["serverAuth"] as const };
  const renewed = await pki.issue("server", { ...names, serial: "0102030405060708" });
  assertEquals(renewed.cert, pki.server.cert);
  const second = after(server);
  server.signal("SIGHUP");
  const line = await server.until("reloaded", {}, second);
  assertMatch(line.msg, /^TLS certificates reloaded \(cert=.*server-cert\.pem, key=.*server-key\.pem\)$/);
  assertEquals([line["cert_file"], line["key_file"]], [pki.server.cert, pki.server.key]);
  await server.until("reloading", { msg: "SIGHUP received — reloading TLS certificates..." });
  await assertEchoes(connection, "after");
  assertEquals(server.linesOf("connection-closed").length, 0);
});

row("a revocation list that changes on disk closes whom it names within five seconds, without a signal", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty();
  const { pki } = gateway;
  const crl = join(gateway.folder, "crl.pem");
  await writeCrl(gateway, crl, []);
  const server = await gateway.startServer("--crl", crl);
  await gateway.startConnector({ web: backend.port }, pki.connector);
  const agent = await gateway.startAgent(["web"], pki.agent);
  using connection = await gateway.connect("web");
  await assertEchoes(connection, "before");
  const revoked = performance.now();
  await writeCrl(gateway, crl, [pki.agent]);
  await server.until("peer-revoked", { code: "revoked" }, { ms: 5_000 });
  await agent.until("uplink-lost");
  assert(performance.now() - revoked < 5_000);
  // It cannot come back; the connector, which the list does not name, was left alone.
  const refused = await agent.until("uplink-failed");
  assertMatch(refused.msg, /revoked/);
  assertEquals(server.linesOf("peer-revoked").length, 1);
  await using other = await gateway.startAgent(["web"], pki.wildcardAgent);
  using again = await gateway.connect("web");
  await assertEchoes(again, "the service is still there");
  await other.stop();
});

row("a deny list, limits and rights of the configuration file are read anew together, or none of them", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty();
  const { pki } = gateway;
  const config = join(gateway.folder, "server.yaml"), denied = join(gateway.folder, "denied.txt");
  Deno.writeTextFileSync(denied, "# nobody yet\n");
  Deno.writeTextFileSync(config, `deny_list: ${denied}\nlimits: {services-per-connection: 8}\n`);
  const server = await gateway.startServer("--config", config);
  await gateway.startConnector({ web: backend.port }, pki.connector);
  const agent = await gateway.startAgent(["web"], pki.agent);
  Deno.writeTextFileSync(denied, "not a serial\n");
  const first = after(server);
  server.signal("SIGHUP");
  const failed = await server.until("reload-failed", {}, first);
  assertMatch(failed.msg, /denied\.txt:1/);
  assert(!agent.hasEnded && server.linesOf("peer-revoked").length === 0);
  const { serialNumber } = certificateIn(pki.agent);
  Deno.writeTextFileSync(denied, `${serialNumber.match(/../g)?.join(":")}\n`);
  await server.until("peer-revoked", {}, { ms: 5_000 });
  Deno.writeTextFileSync(config, `deny_list: ${denied}\nlimits: {services-per-connection: 0}\n`);
  await server.until("reload-failed", {}, after(server));
});

row("a key file is made with mode 0600 and read again after a restart; a client that was connected is back at once", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty();
  const { pki } = gateway;
  const keys = join(gateway.folder, "retry-keys");
  const first = await gateway.startServer("--retry-key-file", keys);
  assertEquals((Deno.statSync(keys).mode ?? 0) & 0o777, 0o600);
  const text = Deno.readTextFileSync(keys);
  assertMatch(text, /^retry 1 [0-9a-f]{64}$/m);
  await gateway.startConnector({ web: backend.port }, pki.connector);
  await gateway.startAgent(["web"], pki.agent);
  const marks = { connector: after(gateway.connector), agent: after(gateway.agent) };
  first.signal("SIGKILL");
  await first.end();
  const killed = performance.now();
  await gateway.startServer("--retry-key-file", keys);
  assertEquals(Deno.readTextFileSync(keys), text, "the keys are kept");
  // Without the stateless reset both would wait for the idle timeout of 30 s.
  await gateway.connector.until("registered", {}, marks.connector);
  await gateway.agent.until("uplink-connected", {}, marks.agent);
  assert(performance.now() - killed < 20_000);
  using connection = await gateway.connect("web");
  await assertEchoes(connection, "hello again");
});

row("wrong settings of the door are refused before anything is bound", async () => {
  using folder = new TemporaryFolder();
  const { server, caCert } = await makePki(join(folder.path, "pki"));
  const base = ["server", "--bind", "127.0.0.1:0", "--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
  const open = join(folder.path, "open-keys");
  Deno.writeTextFileSync(open, `retry 1 ${"ab".repeat(32)}\n`, { mode: 0o644 });
  const rows: readonly (readonly [flags: readonly string[], code: number, words: RegExp])[] = [
    [["--limit", "datagrams=5"], 2, /names no limit: datagrams/],
    [["--limit", "connections-per-all=0"], 2, /whole number/],
    [["--crl", join(folder.path, "none.pem")], 1, /Revocation list not found/],
    [["--crl", server.cert], 1, /No revocation list in/],
    [["--crl-max-stale", "24h"], 2, /no effect without --crl/],
    [["--crl-max-stale", "soon", "--crl", "x"], 2, /crl-max-stale/],
    [["--deny-list", caCert], 1, /ca-cert\.pem:1/],
    [["--retry-key-file", open], 1, /mode 0644/],
    [["--retry-key-file", caCert], 1, /Key file/],
    [["--cid-rotation-secs", "0"], 2, /at least 1/],
  ];
  for (const [flags, code, words] of rows) {
    const end = await runPostern([...base, ...flags], folder.path);
    assertEquals(end.code, code, `${flags.join(" ")}: ${end.said}`);
    assertMatch(end.said + end.lines.map(({ msg }) => msg).join("\n"), words);
    assertNotEquals(end.lines.some(({ event }) => event === "ready"), true);
  }
});

row("a client reads its certificate anew for the next connection", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.start({ services: { web: backend.port } });
  const { agent, connector, server } = gateway;
  for (const role of [agent, connector]) {
    const from = role.lines.length;
    role.signal("SIGHUP");
    await role.until("reloaded", {}, { from });
  }
  using connection = await gateway.connect("web");
  await assertEchoes(connection, "still connected");
  await sleep(50);
  assertEquals(server.linesOf("connection-closed").length, 0);
});
