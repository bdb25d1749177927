import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Gateway } from "../e2e/gateway_fixture.ts";
import type { CertificateFiles } from "../e2e/pki_fixture.ts";
import type { ProcessEnd, RoleProcess } from "../e2e/processes_fixture.ts";
import { Backend, MARK } from "../e2e/tcp_fixture.ts";
import { createAuthority, createSelfSigned } from "../pki/mod.ts";

const DAY_MS = 86_400_000;
const AGENT = { dns: ["agent.web.ztna"], eku: ["clientAuth"] } as const;
/** A server and, behind it, the service `web` with a connector: what nobody in this file may reach without the right to. */
const backend = new Backend();
let gateway: Gateway;

Deno.test.beforeAll(async () => {
  gateway = await Gateway.empty({ logLevel: "debug" });
  await gateway.startServer();
  await gateway.startConnector({ web: backend.port }, gateway.pki.connector);
});

Deno.test.afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await backend[Symbol.asyncDispose]();
});

/** A row; the test runner cannot tell the reading of a process's log from a leak. */
function row(behaviour: string, fn: () => Promise<void>): void {
  Deno.test({ name: behaviour, fn, sanitizeOps: false, sanitizeResources: false });
}

const CLIENTS = {
  agent: ["agent", "--forward", "127.0.0.1:0=web"],
  connector: ["connector", "--service", "web", "--forward", "127.0.0.1:9"],
} as const;
type Client = keyof typeof CLIENTS;

/** A client of the server with these certificates, or none. */
function client(role: Client, files: CertificateFiles | null, ...flags: readonly string[]): RoleProcess {
  const identity = files === null ? [] : ["--client-cert", files.cert, "--client-key", files.key];
  return gateway.run([...CLIENTS[role], "--server", gateway.serverAddress, ...identity, ...flags]);
}

const trusting = (): readonly string[] => ["--ca-cert", gateway.pki.caCert];

/** It must end by itself with exit code 1 without ever having been connected, and say this. */
async function assertRefused(process: RoleProcess, ...said: readonly (string | RegExp)[]): Promise<ProcessEnd> {
  const end = await process.end(30_000);
  assertEquals(end.code, 1, end.said);
  assertEquals(process.linesOf("uplink-connected"), []);
  assertMatch(end.said, /^postern: error: .+\npostern: hint: .+\n$/s);
  for (const words of said) {
    if (typeof words === "string") assertStringIncludes(end.said, words);
    else assertMatch(end.said, words);
  }
  return end;
}

for (const role of ["agent", "connector"] as const) {
  row(`${role} without a certificate: refused by the server, the error names the flags`, async () => {
    const from = gateway.server.lines.length;
    await assertRefused(client(role, null, ...trusting()), "wants a client certificate", "--client-cert", "--client-key");
    await gateway.server.until("connection-refused", {}, { from });
  });

  row(`${role} with a certificate of another authority: refused by the server, both say why`, async () => {
    const { authority } = await gateway.pki.foreignAuthority(`foreign-${role}`);
    const files = await gateway.pki.issue(`of-foreign-${role}`, { ...AGENT, dns: [`${role}.web.ztna`] }, authority);
    const from = gateway.server.lines.length;
    await assertRefused(client(role, files, ...trusting()), "an authority that it does not trust");
    await gateway.server.until("connection-refused", { level: "warn", subject: `CN=of-foreign-${role}` }, { from });
  });

  row(`${role} at a server of another authority: refused by the client, it says which certificate and why`, async () => {
    const { caCert } = await gateway.pki.foreignAuthority(`other-ca-${role}`);
    const process = client(role, gateway.pki[role], "--ca-cert", caCert);
    await assertRefused(process, "TLS", gateway.serverAddress, "is not trusted", "--ca-cert");
  });

  row(`${role} at a server with another name: the error has both names and three ways out, one of which works`, async () => {
    await using other = await Gateway.empty();
    const files = await other.pki.issue("elsewhere", { dns: ["gw.example.com", "localhost"], eku: ["serverAuth"] });
    const server = other.run(
      ["server", "--bind", "127.0.0.1:0", "--cert", files.cert, "--key", files.key, "--ca-cert", other.pki.caCert],
    );
    const address = `127.0.0.1:${(await server.ports())[0]}`;
    const identity = ["--client-cert", other.pki[role].cert, "--client-key", other.pki[role].key];
    const flags = [...CLIENTS[role], "--server", address, "--ca-cert", other.pki.caCert, ...identity];
    await assertRefused(
      other.run(flags),
      /expected the name 127\.0\.0\.1/,
      "gw.example.com",
      /hint: .*--server-name.*--ca-cert.*right certificate/,
    );
    await assertRefused(other.run([...flags, "--server-name", "ztna-server"]), "expected the name ztna-server");
    const right = other.run([...flags, "--server-name", "gw.example.com"]);
    await right.until("uplink-connected");
  });

  row(`${role} with --no-verify-peer: takes any server, and warns`, async () => {
    const process = client(role, gateway.pki[role], "--no-verify-peer");
    const warning = await process.until("verification-disabled");
    assertEquals([warning.level, warning.msg], ["warn", "TLS peer verification DISABLED — do not use in production"]);
    await process.until("uplink-connected");
    await process.stop();
  });

  row(`${role}: an expired certificate and one that is not valid yet are refused before anything is sent`, async () => {
    const now = Date.now();
    const expired = await gateway.pki.issue(`expired-${role}`, {
      ...AGENT,
      notBefore: new Date(now - 2 * DAY_MS),
      notAfter: new Date(now - DAY_MS),
    });
    const early = await gateway.pki.issue(`early-${role}`, {
      ...AGENT,
      notBefore: new Date(now + DAY_MS),
      notAfter: new Date(now + 2 * DAY_MS),
    });
    await assertRefused(client(role, expired, ...trusting()), expired.cert, "expired");
    await assertRefused(client(role, early, ...trusting()), early.cert, "not valid before");
  });

  row(`${role} with a certificate for servers: refused by the server`, async () => {
    const files = await gateway.pki.issue(`server-only-${role}`, { dns: [`${role}.web.ztna`], eku: ["serverAuth"] });
    await assertRefused(client(role, files, ...trusting()), "extended key usage");
  });
}

row("a server that shows a client's certificate, and one that signs itself: refused by the client", async () => {
  await using other = await Gateway.empty();
  const self = await createSelfSigned({ commonName: "self", ip: ["127.0.0.1"], eku: ["serverAuth"] });
  Deno.writeFileSync(`${other.folder}/self.pem`, self.certificatePem);
  Deno.writeFileSync(`${other.folder}/self.key`, self.privateKeyPem, { mode: 0o600 });
  const shown: readonly CertificateFiles[] = [
    await other.pki.issue("client-only", { ip: ["127.0.0.1"], eku: ["clientAuth"] }),
    { cert: `${other.folder}/self.pem`, key: `${other.folder}/self.key` },
  ];
  for (const files of shown) {
    const flags = ["--cert", files.cert, "--key", files.key, "--ca-cert", other.pki.caCert];
    const server = other.run(["server", "--bind", "127.0.0.1:0", ...flags]);
    const address = `127.0.0.1:${(await server.ports())[0]}`;
    const identity = ["--client-cert", other.pki.agent.cert, "--client-key", other.pki.agent.key];
    await assertRefused(
      other.run([...CLIENTS.agent, "--server", address, "--ca-cert", other.pki.caCert, ...identity]),
      "is not trusted",
    );
  }
});

row("a certificate without a name for the role authorises nothing", async () => {
  const legacy: CertificateFiles = { cert: `${gateway.pki.folder}/legacy-cert.pem`, key: `${gateway.pki.folder}/legacy-key.pem` };
  const shown = [legacy, gateway.pki.connector, await gateway.pki.issue("uri", { uri: ["agent.web.ztna"], eku: ["clientAuth"] })];
  for (const files of shown) {
    await gateway.startAgent(["web"], files);
    assertEquals(await gateway.refusal("web", MARK), "reset");
    await gateway.agent.until("stream-refused", { service: "web", code: "denied" });
    await gateway.agent.stop();
  }
  for (const files of [legacy, gateway.pki.agent, gateway.pki.wildcardAgent]) {
    const connector = client("connector", files, ...trusting());
    const refused = await connector.until("registration-refused", { service: "web" });
    assertStringIncludes(refused.msg, "(status=0x02)");
    assertEquals(connector.linesOf("registered"), []);
    await connector.stop();
  }
  await backend.nothing();
});

row("a wildcard is for its role alone, and names are compared in lower case", async () => {
  const upper = await gateway.pki.issue("upper", { dns: ["AGENT.Web.ZTNA"], eku: ["clientAuth"] });
  for (const files of [gateway.pki.wildcardAgent, upper]) {
    await gateway.startAgent(["web"], files);
    using _ends = await gateway.pair("web", backend);
    await gateway.agent.stop();
  }
});

row("--allow-legacy-certs lets a certificate without names in, with a warning", async () => {
  await using open = await Gateway.empty();
  const legacy: CertificateFiles = { cert: `${open.pki.folder}/legacy-cert.pem`, key: `${open.pki.folder}/legacy-key.pem` };
  await open.startServer("--allow-legacy-certs");
  assertEquals((await open.server.until("settings-warning", { subject: "allow_legacy_certs" })).level, "warn");
  await open.startConnector({ web: backend.port }, legacy);
  await open.startAgent(["web"], legacy);
  using _ends = await open.pair("web", backend);
});

row("a server without --ca-cert does not start: whom should it trust?", async () => {
  const { server } = gateway.pki;
  const { code, said } = await gateway.run(["server", "--bind", "127.0.0.1:0", "--cert", server.cert, "--key", server.key]).end();
  assertEquals(code, 2);
  assertMatch(said, /^postern: error: .*--ca-cert.*\npostern: hint: .*--ca-cert/);
});

row("a server whose own material is wrong does not start, and says which file", async () => {
  const { pki } = gateway;
  const expired = await pki.issue("expired-server", {
    ip: ["127.0.0.1"],
    eku: ["serverAuth"],
    notBefore: new Date(Date.now() - 2 * DAY_MS),
    notAfter: new Date(Date.now() - DAY_MS),
  });
  const junk = `${pki.folder}/junk.pem`;
  Deno.writeTextFileSync(junk, "this is not a certificate\n");
  const cases: readonly (readonly [cert: string, key: string, ca: string, words: string])[] = [
    ["/nowhere/cert.pem", pki.server.key, pki.caCert, "Certificate file not found: /nowhere/cert.pem"],
    [pki.server.cert, "/nowhere/key.pem", pki.caCert, "Private key file not found: /nowhere/key.pem"],
    [pki.server.cert, pki.server.key, "/nowhere/ca.pem", "/nowhere/ca.pem"],
    [pki.server.cert, pki.agent.key, pki.caCert, pki.agent.key],
    [expired.cert, expired.key, pki.caCert, expired.cert],
    [junk, pki.server.key, pki.caCert, junk],
    [pki.server.cert, pki.server.key, junk, junk],
  ];
  for (const [cert, key, ca, words] of cases) {
    const flags = ["--cert", cert, "--key", key, "--ca-cert", ca];
    await assertRefused(gateway.run(["server", "--bind", "127.0.0.1:0", ...flags]), words);
  }
});

row("a UDP port that is taken: exit code 1, the address and a hint; the server that has it goes on", async () => {
  const { server, caCert } = gateway.pki;
  const flags = ["--bind", gateway.serverAddress, "--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
  await assertRefused(gateway.run(["server", ...flags]), gateway.serverAddress, /hint: .*port/);
  const agent = client("agent", gateway.pki.agent, ...trusting());
  await agent.until("uplink-connected");
  await agent.stop();
});

row("a private key that others may read is used, with a warning that names the file", async () => {
  const files = await gateway.pki.issue("open-key", AGENT);
  Deno.chmodSync(files.key, 0o644);
  const agent = client("agent", files, ...trusting());
  const warning = await agent.until("settings-warning", { subject: files.key });
  assertEquals(warning.level, "warn");
  await agent.until("uplink-connected");
  await agent.stop();
});

row("an authority below the trusted one is trusted when its chain is shown, and not without it", async () => {
  const root = await createAuthority({ commonName: "Root" });
  const middle = await root.authority({ commonName: "Middle" });
  await using other = await Gateway.empty();
  const caCert = `${other.folder}/root.pem`;
  Deno.writeFileSync(caCert, root.certificatePem);
  const { server } = other.pki;
  const process = other.run(["server", "--bind", "127.0.0.1:0", "--cert", server.cert, "--key", server.key, "--ca-cert", caCert]);
  const address = `127.0.0.1:${(await process.ports())[0]}`;
  const chained = await other.pki.issue("chained", AGENT, middle);
  const flags = (cert: string) => ["--server", address, "--ca-cert", other.pki.caCert, "--client-cert", cert];
  const agent = other.run([...CLIENTS.agent, ...flags(chained.cert), "--client-key", chained.key]);
  await agent.until("uplink-connected");

  const [leaf = ""] = Deno.readTextFileSync(chained.cert).split(/(?<=-----END CERTIFICATE-----\n)/);
  const alone = `${other.folder}/alone.pem`;
  Deno.writeTextFileSync(alone, leaf);
  await assertRefused(other.run([...CLIENTS.agent, ...flags(alone), "--client-key", chained.key]), "does not trust");
});
