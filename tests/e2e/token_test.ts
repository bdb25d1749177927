/** Registration tokens with the binary: keys and tokens from the command line, a connector and an agent that have no certificate. */
import { join } from "node:path";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import { runPostern } from "./processes_fixture.ts";
import { Backend, echo, readExactly, writeAll } from "./tcp_fixture.ts";

/** The test runner cannot tell the reading of a process's log from a leak. */
function row(behaviour: string, fn: () => Promise<void>): void {
  Deno.test({ name: behaviour, fn, sanitizeOps: false, sanitizeResources: false });
}

/** Runs a command of the binary that must succeed, and returns what it printed. */
async function printed(gateway: Gateway, ...args: string[]): Promise<string> {
  const { code, stdout, said } = await runPostern(args, gateway.folder);
  assertEquals(code, 0, said);
  return stdout;
}

/** Makes a key pair and a token for a role of the service `web`; returns the flags with which a client uses them. */
async function tokenFlags(gateway: Gateway, role: string, name: string, expires = "1h", issuer = "issuer"): Promise<string[]> {
  await printed(gateway, "token", "keys", name);
  const issue = [
    "token",
    "issue",
    "--issuer-key",
    `${issuer}-key.pem`,
    "--holder",
    `${name}-pub.pem`,
    "--role",
    role,
    "--service",
    "web",
  ];
  const token = join(gateway.folder, `${name}.token`);
  Deno.writeTextFileSync(token, await printed(gateway, ...issue, "--expires-in", expires));
  const server = ["--server", gateway.serverAddress, "--ca-cert", gateway.pki.caCert];
  return [...server, "--token", token, "--token-key", join(gateway.folder, `${name}-key.pem`)];
}

row("a connector and an agent with tokens serve and use a service; a token for the other role is not enough", async () => {
  await using backend = new Backend(echo);
  await using gateway = await Gateway.empty();
  assertMatch(await printed(gateway, "token", "keys", "issuer"), /^issuer-key\.pem\nissuer-pub\.pem\n$/);
  assertEquals((Deno.statSync(join(gateway.folder, "issuer-key.pem")).mode ?? 0) & 0o777, 0o600);
  const server = await gateway.startServer("--token-public-key", join(gateway.folder, "issuer-pub.pem"));
  const connector = gateway.run([
    "connector",
    "--service",
    `web=127.0.0.1:${backend.port}`,
    ...await tokenFlags(gateway, "connector", "box"),
    "--log-level",
    "info",
  ]);
  await connector.until("registered", { service: "web" });
  const agent = gateway.run(["agent", "--forward", "127.0.0.1:0=web", ...await tokenFlags(gateway, "agent", "laptop")]);
  const [port = 0] = await agent.ports();
  await agent.until("uplink-connected");
  using connection = await Deno.connect({ port });
  await writeAll(connection, new TextEncoder().encode("hello"));
  assertEquals(new TextDecoder().decode(await readExactly(connection, 5)), "hello");
  const claims = JSON.parse(await printed(gateway, "token", "inspect", "laptop.token"));
  assertEquals([claims.role, claims.services, claims.is_expired], ["agent", ["web"], false]);
  const wrong = gateway.run(["connector", "--service", "web=127.0.0.1:1", ...await tokenFlags(gateway, "agent", "thief")]);
  await wrong.until("registration-refused");
  assertEquals(server.linesOf("connector-replaced").length, 0);

  const doctor = async (role: string, name: string) => {
    const flags = await tokenFlags(gateway, role, name);
    const { code, stdout, said } = await runPostern(
      ["doctor", "--json", "--service", "web", ...flags],
      gateway.folder,
      {},
      120_000,
    );
    const findings: { check: string; level: string; message: string }[] = JSON.parse(stdout).findings;
    const of = (check: string) =>
      findings.filter((finding) => finding.check === check).map(({ level, message }) => `${level}: ${message}`);
    return { code, admission: of("admission"), service: of("service"), said };
  };
  const admission = ["ok: the server took the registration token"];
  assertEquals(await doctor("agent", "looker"), {
    code: 0,
    admission,
    service: ["ok: open: its backend took a connection"],
    said: "",
  });
  const { code, admission: again, service: [denied = ""] } = await doctor("connector", "other");
  assertEquals([code, again], [1, admission]);
  assertMatch(denied, /^fail: the server denies it: /);
});

row("an expired token, and one of an issuer that the server does not know, are refused with words at both ends", async () => {
  await using gateway = await Gateway.empty();
  await printed(gateway, "token", "keys", "issuer");
  const server = await gateway.startServer("--token-public-key", join(gateway.folder, "issuer-pub.pem"));
  const flags = await tokenFlags(gateway, "agent", "late", "1s");
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const late = gateway.run(["agent", "--forward", "127.0.0.1:0=web", ...flags]);
  const refused = await server.until("connection-refused", { why: "expired" });
  assertMatch(refused.msg, /registration token/);
  assertEquals((await late.end()).code, 1);
  await printed(gateway, "token", "keys", "stranger");
  const foreign = gateway.run([
    "agent",
    "--forward",
    "127.0.0.1:0=web",
    ...await tokenFlags(gateway, "agent", "foreign", "1h", "stranger"),
  ]);
  await server.until("connection-refused", { why: "issuer" });
  assertEquals((await foreign.end()).code, 1);
});

row("wrong commands and files are refused with what was expected", async () => {
  await using gateway = await Gateway.empty();
  await printed(gateway, "token", "keys", "issuer");
  const issue = ["token", "issue", "--issuer-key", "issuer-key.pem", "--holder", "issuer-pub.pem"];
  const { agent } = gateway.pki;
  // One character too many for whole bytes.
  await Deno.writeTextFile(join(gateway.folder, "cut"), "AAAAA\n");
  const rows: readonly (readonly [args: readonly string[], code: number, words: RegExp])[] = [
    [["token", "keys", "issuer"], 1, /is there already/],
    [[...issue, "--role", "boss", "--service", "web"], 2, /must be agent or connector/],
    [[...issue, "--role", "agent", "--service", "../x"], 2, /--service/],
    [[...issue, "--role", "agent", "--service", "*", "--service", "web"], 2, /means all/],
    [[...issue, "--role", "agent", "--service", "web", "--expires-in", "soon"], 2, /duration/],
    [["token", "inspect", agent.cert], 1, /holds no registration token/],
    [["token", "inspect", join(gateway.folder, "cut")], 1, /holds no registration token/],
    [["agent", "--forward", "0=web", "--token", "x"], 2, /belong together/],
    [
      ["agent", "--forward", "0=web", "--token", agent.cert, "--token-key", "issuer-key.pem", "--ca-cert", gateway.pki.caCert],
      1,
      /token/,
    ],
    [["server", "--token-public-key", "issuer-key.pem", "--ca-cert", gateway.pki.caCert], 1, /./],
  ];
  for (const [args, code, words] of rows) {
    const end = await runPostern(args, gateway.folder);
    assertEquals(end.code, code, `${args.join(" ")}: ${end.said}`);
    assertMatch(end.said, words);
    assert(!end.said.includes("PRIVATE KEY"));
  }
});
