/** `postern agent connect`: one connection on standard input and output, with no agent running. */
import { assert, assertEquals } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { BINARY } from "./processes_fixture.ts";
import { Backend, close, closedPort, echo, readToEnd } from "./tcp_fixture.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

async function startGateway(services: Readonly<Record<string, number>>) {
  const gateway = await Gateway.empty();
  const { pki } = gateway;
  const ids = Object.keys(services);
  const [connectorFiles, agentFiles] = await Promise.all([
    pki.issue("stdio-connector", { dns: ids.map((id) => `connector.${id}.ztna`), eku: ["clientAuth"] }),
    pki.issue("stdio-agent", { dns: [...ids, "nobody"].map((id) => `agent.${id}.ztna`), eku: ["clientAuth"] }),
    gateway.startServer(),
  ]);
  await gateway.startConnector(services, connectorFiles);
  const flags = gateway.uplinkFlags(agentFiles);
  return { gateway, flags, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

/** Runs `postern agent connect` with this on its standard input, and says how it ended. */
async function connect(args: readonly string[], input: Uint8Array, cwd: string) {
  const child = new Deno.Command(BINARY, {
    args: ["agent", "connect", ...args],
    cwd,
    clearEnv: true,
    env: { HOME: cwd },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writing = (async () => {
    const writer = child.stdin.getWriter();
    await writer.write(input);
    await writer.close();
  })().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await writing;
  return { code, out: stdout, said: new TextDecoder().decode(stderr) };
}

Deno.test("everything that is said comes to the service, and everything that it says back, to the last byte", async () => {
  await using backend = new Backend(echo);
  await using late = new Backend(async (connection) => {
    // Its answer depends on the end of what it heard.
    const { bytes } = await readToEnd(connection);
    await connection.write(utf8(`${bytes.length} bytes`));
    close(connection);
  });
  await using setup = await startGateway({ web: backend.port, late: late.port });
  const input = new Uint8Array(3_000_000).map((_, i) => i * 7 + (i >> 8));
  for (const name of ["web", "web.ztna:22"]) {
    const { code, out, said } = await connect([name, ...setup.flags], input, setup.gateway.folder);
    assertEquals([code, said], [0, ""]);
    assertEquals(out, input);
  }
  const counted = await connect(["late", ...setup.flags], input, setup.gateway.folder);
  assertEquals([counted.code, new TextDecoder().decode(counted.out)], [0, "3000000 bytes"]);
});

Deno.test("what cannot be reached is said in one sentence, with an exit code", async () => {
  await using setup = await startGateway({ down: closedPort() });
  const attempt = (...args: readonly string[]) => connect([...args], utf8("hello"), setup.gateway.folder);
  const refusals = [["down", "backend-refused"], ["secret", "denied"], ["nobody", "unknown-service"]] as const;
  for (const [name, code] of refusals) {
    const refused = await attempt(name, ...setup.flags);
    assertEquals([refused.code, refused.out.length], [1, 0]);
    assert(refused.said.includes(`postern: error: no connection to ${name}: ${code}\n`), refused.said);
  }
  const outside = await attempt("example.com", ...setup.flags);
  assertEquals(outside.code, 2);
  assert(outside.said.includes('"example.com" names no service'), outside.said);
  assertEquals((await attempt(...setup.flags)).code, 2);
  assertEquals((await attempt("web:0", ...setup.flags)).code, 2);
  const away = await attempt("down", ...setup.flags, "--server", `127.0.0.1:${closedPort()}`);
  assertEquals(away.code, 1, away.said);
  assert(/postern: error: /.test(away.said), away.said);
});

Deno.test(needing({ tools: ["sshd", "ssh", "ssh-keygen"] }, "ssh logs in through ProxyCommand at a real sshd", async () => {
  const sshPort = closedPort();
  await using setup = await startGateway({ bastion: sshPort });
  const { folder } = setup.gateway;
  const run = async (program: string, ...args: readonly string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args], cwd: folder, stdin: "null" }).output();
    return { code, out: new TextDecoder().decode(stdout).trim(), said: new TextDecoder().decode(stderr) };
  };
  for (const name of ["host_key", "user_key"]) {
    assertEquals((await run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", `${folder}/${name}`)).code, 0);
  }
  const hostKey = Deno.readTextFileSync(`${folder}/host_key.pub`).split(" ").slice(0, 2).join(" ");
  Deno.writeTextFileSync(`${folder}/known_hosts`, `bastion.ztna ${hostKey}\n`);
  Deno.writeTextFileSync(
    `${folder}/sshd_config`,
    [
      `Port ${sshPort}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${folder}/host_key`,
      `AuthorizedKeysFile ${folder}/user_key.pub`,
      `PidFile ${folder}/sshd.pid`,
      "StrictModes no",
      "UsePAM no",
      "PermitRootLogin prohibit-password",
      "PasswordAuthentication no",
    ].join("\n"),
  );
  // Where it separates its privileges, if it has any.
  if (Deno.uid() === 0) Deno.mkdirSync("/run/sshd", { recursive: true });
  const program = (await run("sh", "-c", "command -v sshd || echo /usr/sbin/sshd")).out;
  const sshd = new Deno.Command(program, { args: ["-D", "-e", "-f", `${folder}/sshd_config`], stdout: "null", stderr: "null" })
    .spawn();
  try {
    const user = (await run("id", "-un")).out;
    const proxyCommand = `${BINARY} agent connect %h:%p ${setup.flags.join(" ")}`;
    const options = [`ProxyCommand=${proxyCommand}`, `UserKnownHostsFile=${folder}/known_hosts`, `IdentityFile=${folder}/user_key`]
      .concat(["IdentitiesOnly=yes", "BatchMode=yes", "GlobalKnownHostsFile=/dev/null"]);
    const ssh = (command: string) =>
      run("ssh", "-F", "none", ...options.flatMap((option) => ["-o", option]), `${user}@bastion.ztna`, command);
    let last = await ssh("echo inside; exit 7");
    for (let tries = 0; tries < 5 && last.code === 255; tries++) last = await ssh("echo inside; exit 7");
    assertEquals([last.code, last.out], [7, "inside"], last.said);
    // More than fits into any buffer on the way.
    const much = await ssh("head -c 5000000 /dev/zero | tr '\\0' x | wc -c; head -c 5000000 /dev/zero | tr '\\0' y");
    assertEquals([much.code, much.out.length, much.out.slice(0, 9)], [0, 5_000_008, "5000000\ny"], much.said);
  } finally {
    sshd.kill("SIGTERM");
    await sshd.status;
  }
}));
