/** The three roles as their units start them: what the service manager hears, what they may do, and that they meet. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { type CertificateFiles, type DevelopmentPki, makePki } from "../e2e/pki_fixture.ts";
import { type RoleProcess, runPostern, TemporaryFolder } from "../e2e/processes_fixture.ts";
import { Backend, close, echo, readExactly, writeAll } from "../e2e/tcp_fixture.ts";
import { needing } from "../../tools/needs.ts";
import { lackOfLimits, Service } from "./service_fixture.ts";
import { run, UNITS } from "./unit_fixture.ts";

const ROLES = ["server", "connector", "agent"] as const;
const WORDS = new TextEncoder().encode("by the command lines of the units");

/** The test runner cannot tell the reading of a process's log from a leak. */
function row(behaviour: string, fn: () => Promise<void>): void {
  Deno.test({ ...needing({ files: ["dist/postern"] }, behaviour, fn), sanitizeOps: false, sanitizeResources: false });
}

/** A machine's files: certificates of all roles where the units look for them, and the files of variables as they are shipped. */
async function machine(root: string): Promise<DevelopmentPki> {
  const pki = await makePki(join(root, "pki"));
  const etc = join(root, "etc", "postern");
  Deno.mkdirSync(join(etc, "tls"), { recursive: true });
  Deno.mkdirSync(join(root, "var", "lib", "postern"), { recursive: true });
  for (const role of ROLES) {
    const files: CertificateFiles = pki[role];
    Deno.copyFileSync(files.cert, join(etc, "tls", `${role}.crt`));
    Deno.copyFileSync(files.key, join(etc, "tls", `${role}.key`));
    Deno.copyFileSync(join(UNITS, `${role}.env`), join(etc, `${role}.env`));
  }
  Deno.copyFileSync(pki.caCert, join(etc, "tls", "ca.crt"));
  return pki;
}

/** The ports that a role bound. */
async function portOf(process: RoleProcess): Promise<string> {
  return String((await process.ports())[0] ?? 0);
}

const limited = lackOfLimits();
row(
  `the units' command lines make a tunnel${limited === undefined ? " under their limits" : ` [limits need ${limited}]`}`,
  async () => {
    using folder = new TemporaryFolder();
    await machine(folder.path);
    await using backend = new Backend(echo);
    await using server = new Service("server", { root: folder.path, env: { POSTERN_BIND: "127.0.0.1:0" } });
    const address = { POSTERN_SERVER: `127.0.0.1:${await portOf(server.process)}` };
    const offer = { POSTERN_SERVICE: `web=127.0.0.1:${backend.port}` };
    await using connector = new Service("connector", { root: folder.path, env: { ...address, ...offer } });
    const forward = { POSTERN_FORWARD: "127.0.0.1:0=web" };
    await using agent = new Service("agent", { root: folder.path, env: { ...address, ...forward } });
    await connector.process.until("registered", { service: "web" });
    await agent.process.until("uplink-connected");
    const services = [server, connector, agent];
    for (const service of services) {
      assertStringIncludes(await service.told("READY=1"), `MAINPID=${service.process.pid}`);
      await service.told("WATCHDOG=1");
    }
    const client = await Deno.connect({ hostname: "127.0.0.1", port: Number(await portOf(agent.process)) });
    await writeAll(client, WORDS);
    assertEquals(await readExactly(client, WORDS.length), WORDS);
    close(client);
    for (const service of services) {
      const { code, said } = await service.reload();
      assertEquals(code, 0, said);
      await service.told("RELOADING=1");
      await service.told("READY=1");
    }
    assert(Deno.statSync(join(folder.path, "var", "lib", "postern", "retry-keys")).isFile);
    for (const service of services) {
      service.process.signal("SIGTERM");
      await service.told("STOPPING=1");
      const { code } = await service.process.end();
      assertEquals(code, 0, service.process.tail());
      assertEquals(service.process.linesOf("privileges-kept"), []);
    }
  },
);

row("a key that the service manager guards by an access list is not called open to others; one that is open is", async () => {
  using folder = new TemporaryFolder();
  await machine(folder.path);
  const env = { POSTERN_BIND: "127.0.0.1:0" };
  const said = async (credentialMode: number) => {
    await using server = new Service("server", { root: folder.path, env, credentialMode });
    await server.process.until("ready");
    await server.process.stop();
    Deno.removeSync(join(folder.path, "run"), { recursive: true });
    return server.process.lines.filter(({ msg }) => msg.includes("can be read by others")).length;
  };
  assertEquals([await said(0o400), await said(0o440), await said(0o444)], [0, 0, 1]);
});

row("with its drop-in the server serves what install-certificate.sh renews, and no half of it", async () => {
  using folder = new TemporaryFolder();
  const pki = await machine(folder.path);
  const target = join(folder.path, "etc", "postern", "renewed");
  const lineage = join(folder.path, "lineage");
  const renew = async (files: CertificateFiles, key = files.key) => {
    Deno.mkdirSync(lineage, { recursive: true });
    for (const [name, path] of Object.entries({ fullchain: files.cert, privkey: key, chain: pki.caCert })) {
      Deno.writeFileSync(join(lineage, `${name}.pem`), Deno.readFileSync(path));
    }
    const env = { POSTERN_RENEWED_DIR: target, POSTERN_OWNER: String(Deno.uid()), POSTERN_BINARY: "dist/postern" };
    return await run(join(UNITS, "install-certificate.sh"), [], { env: { ...env, RENEWED_LINEAGE: lineage } });
  };
  const names = { dns: ["localhost"], ip: ["127.0.0.1"], eku: ["serverAuth"] as const };
  assertEquals((await renew(await pki.issue("first", { ...names, serial: "0a0b01" }))).code, 0);
  await using server = new Service("server", {
    root: folder.path,
    env: { POSTERN_BIND: "127.0.0.1:0" },
    dropIn: "renewed-files.conf",
  });
  await server.process.until("ready");
  const second = await pki.issue("second", { ...names, serial: "0a0b02" });
  const refused = await renew(second, pki.agent.key);
  assertEquals(refused.code, 1);
  assertStringIncludes(refused.stderr, "the one before stays in use");
  const from = server.process.lines.length;
  assertEquals((await renew(second)).code, 0);
  server.process.signal("SIGHUP");
  await server.process.until("reloaded", {}, { from });
  assertEquals(server.process.linesOf("reload-failed"), []);
  assertEquals([...Deno.readDirSync(target)].map(({ name }) => name.replace(/^set\..*/, "set")).sort(), [
    "ca-cert.pem",
    "cert.pem",
    "current",
    "key.pem",
    "set",
  ]);
  assertEquals((Deno.statSync(join(target, "key.pem")).mode ?? 0) & 0o777, 0o400);
  const { stdout } = await runPostern(["status", "--role", "server", "--json"], folder.path, {
    XDG_RUNTIME_DIR: server.process.runtimeFolder,
  });
  assert(stdout.toLowerCase().includes("second"), stdout);
});

for (const role of ROLES) {
  row(`${role}.env names settings of the ${role}, those in comments too`, async () => {
    using folder = new TemporaryFolder();
    const lines = Deno.readTextFileSync(join(UNITS, `${role}.env`)).split("\n").map((line) => line.replace(/^#(?=[A-Z_]+=)/, ""));
    const settings = lines.filter((line) => line !== "" && !line.startsWith("#")).map((line) => line.split(/=(.*)/s));
    assert(settings.length > 3);
    const env = Object.fromEntries(settings.map(([name = "", value = ""]) => [name, value]));
    const { code, stdout, said, lines: log } = await runPostern(["config", "show", role, "--json"], folder.path, {
      POSTERN_CA_CERT: "ca.crt",
      ...env,
    });
    assertEquals([code, said, log.length], [0, "", 0]);
    for (const name of Object.keys(env)) assertStringIncludes(stdout, name);
  });
}
