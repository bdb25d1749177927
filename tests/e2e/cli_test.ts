/** The compiled binary as a person meets it: from an empty directory, without this checkout, with right and wrong command lines. */

import { join, resolve } from "node:path";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { createDevelopmentPki } from "../../src/platform/certs/mod.ts";

const BINARY = join(resolve(import.meta.dirname ?? ".", "..", ".."), "dist", "postern");
const DAY_MS = 86_400_000;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Runs the binary to its end in `directory`, with nothing in its environment but what is given. */
async function run(directory: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const command = new Deno.Command(BINARY, {
    args: [...args],
    cwd: directory,
    clearEnv: true,
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await command.output();
  return { code, out: new TextDecoder().decode(stdout), error: new TextDecoder().decode(stderr) };
}

async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "postern-cli-" });
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** A set of certificates as it was made `daysAgo` for `days` days. */
async function makePki(directory: string, { daysAgo = 0, days = 30 } = {}): Promise<void> {
  const nowMs = Date.now() - daysAgo * DAY_MS;
  await createDevelopmentPki({ directory, service: "web", serverNames: [], days, force: false, nowMs });
}

const SERVER = ["server", "--cert", "pki/server-cert.pem", "--key", "pki/server-key.pem", "--ca-cert", "pki/ca-cert.pem"];

/** The same with another file for some of its flags. */
function serverWith(files: Readonly<Record<string, string>>): string[] {
  return SERVER.map((word, i) => files[SERVER[i - 1] ?? ""] ?? word);
}

/** A role that is started and must be ended. Its standard error is read until `event` stands in it. */
async function startUntil(
  directory: string,
  args: readonly string[],
  event: string,
): Promise<{ readonly child: Deno.ChildProcess; readonly log: string }> {
  const child = new Deno.Command(BINARY, {
    args: [...args],
    cwd: directory,
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let log = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stderr.values({ preventCancel: true })) {
    log += decoder.decode(chunk, { stream: true });
    if (log.includes(`"event":"${event}"`)) return { child, log };
  }
  await child.status;
  throw new Error(`no ${event} in:\n${log}`);
}

Deno.test("binary: version, help and completions need no file, no home and no variable", () =>
  inDirectory(async (directory) => {
    assertMatch((await run(directory, ["--version"])).out, /^postern \d+\.\d+\.\d+\n$/);
    for (const command of ["server", "connector", "agent", "certs", "config", "completions"]) {
      const { code, out, error } = await run(directory, [command, "--help"]);
      assertEquals([code, error], [0, ""]);
      assertMatch(out, /Examples:/);
    }
    assertMatch((await run(directory, ["completions", "bash"])).out, /complete -o default -F _postern postern\n$/);
    assertEquals([...Deno.readDirSync(directory)], []);
  }));

Deno.test("binary: certs init makes a set that certs check and openssl accept", () =>
  inDirectory(async (directory) => {
    const { code, out } = await run(directory, ["certs", "init", "pki", "--service", "web", "--name", "gw.example.com"]);
    assertEquals(code, 0);
    assertMatch(out, /postern agent --forward 127\.0\.0\.1:9000=web --client-cert pki\/agent-cert\.pem/);
    assertEquals((await Deno.stat(`${directory}/pki/ca-key.pem`)).mode ?? 0, 0o100600);
    const check = await run(directory, [
      "certs",
      "check",
      "--cert",
      "pki/server-cert.pem",
      "--key",
      "pki/server-key.pem",
      "--ca",
      "pki/ca-cert.pem",
    ]);
    assertEquals([check.code, check.error], [0, ""]);
    const [report] = JSON.parse((await run(directory, ["certs", "inspect", "--json", "pki/server-cert.pem"])).out);
    assert(report.names.includes("DNS:gw.example.com"));
    const openssl = await new Deno.Command("openssl", {
      args: ["verify", "-CAfile", "pki/ca-cert.pem", "pki/agent-cert.pem", "pki/connector-cert.pem", "pki/server-cert.pem"],
      cwd: directory,
    }).output().catch(() => null);
    if (openssl === null) console.log("openssl is not installed, its check is left out");
    else assert(openssl.success);
    const again = await run(directory, ["certs", "init", "pki"]);
    assertEquals(again.code, 1);
    assertMatch(again.error, /are there already\npostern: hint: .*--force/);
  }));

const REFUSED: readonly (readonly [what: string, args: readonly string[], code: number, error: RegExp])[] = [
  [
    "an unknown flag",
    ["server", "--prot", "1"],
    2,
    /^postern: error: unknown flag --prot\npostern: hint: did you mean --port\?\n$/,
  ],
  ["an unknown command", ["sever"], 2, /^postern: error: unknown command sever\npostern: hint: did you mean server\?\n$/],
  ["no command", [], 2, /postern: error: no command was given\n/],
  ["port 0", ["server", "--port", "0"], 2, /^postern: error: --port 0: must not be port 0/],
  ["port 70000", ["server", "--port", "70000"], 2, /^postern: error: --port 70000: must be a port number, 1 to 65535\n/],
  ["port abc", ["server", "--port", "abc"], 2, /^postern: error: --port "abc": must be a port number, 1 to 65535\n/],
  [
    "a server's port 0",
    ["agent", "--server", "gw:0", "--forward", "1=web"],
    2,
    /--server "gw:0": needs a port number of 1 to 65535/,
  ],
  ["the placeholder address", ["connector", "--server", "0.0.0.0:4433"], 2, /^postern: error: server address must be configured\n/],
  ["two forms of services", ["connector", "--service", "a=h:1", "--forward", "h:2"], 2, /both name a backend/],
  ["one of a pair", ["connector", "--client-cert", "pki/agent-cert.pem"], 2, /belong together/],
  ["no --ca-cert", SERVER.slice(0, 5), 2, /--ca-cert is missing/],
  [
    "a certificate that is missing",
    ["server", "--cert", "none.pem"],
    1,
    /^(?:\{.*\}\n)*postern: error: Certificate file not found: none\.pem\n/,
  ],
  ["a key that is missing", serverWith({ "--key": "none.pem" }), 1, /postern: error: Private key file not found: none\.pem\n/],
  [
    "a key of another certificate",
    serverWith({ "--key": "pki/agent-key.pem" }),
    1,
    /pki\/agent-key\.pem does not belong to certificate pki\/server-cert\.pem/,
  ],
  ["a key as a certificate", serverWith({ "--cert": "pki/server-key.pem" }), 1, /No certificate in pki\/server-key\.pem/],
  [
    "an expired certificate",
    serverWith({ "--cert": "old/server-cert.pem", "--key": "old/server-key.pem" }),
    1,
    /Certificate expired on \d{4}-/,
  ],
  ["an expired authority", serverWith({ "--ca-cert": "old/ca-cert.pem" }), 1, /CA certificate expired on \d{4}-/],
  [
    "a certificate of tomorrow",
    serverWith({ "--cert": "new/server-cert.pem", "--key": "new/server-key.pem" }),
    1,
    /Certificate is not valid before/,
  ],
  ["a named file that is missing", ["agent", "--config", "none.yaml"], 1, /Configuration file not found: none\.yaml/],
  ["an unknown key", ["config", "check", "agent.yaml"], 2, /agent\.yaml:2: forwrad: unknown key \(did you mean forward\?\)/],
];

Deno.test("binary: what is wrong is told with its place and its exit code", async (t) =>
  await inDirectory(async (directory) => {
    await makePki(`${directory}/pki`);
    await makePki(`${directory}/old`, { daysAgo: 40 });
    await makePki(`${directory}/new`, { daysAgo: -2 });
    await Deno.writeTextFile(`${directory}/agent.yaml`, "server: gw\nforwrad: 1=x\n");
    for (const [what, args, code, error] of REFUSED) {
      await t.step(`${what}: exit ${code}`, async () => {
        const ended = await run(directory, args);
        assertEquals([ended.code, ended.out], [code, ""], ended.error);
        assertMatch(ended.error, error);
      });
    }
  }));

Deno.test("binary: a server starts on any free port, takes SIGTERM and SIGINT, and ends with 0", () =>
  inDirectory(async (directory) => {
    await makePki(`${directory}/pki`);
    await Deno.chmod(`${directory}/pki/server-key.pem`, 0o644);
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const { child, log } = await startUntil(directory, [...SERVER, "--bind", "127.0.0.1:0"], "ready");
      assertMatch(log, /Private key pki\/server-key\.pem can be read by others \(mode 0644\)/);
      assertMatch(log, /"listen_0":"udp:127\.0\.0\.1:[1-9]\d*"/);
      child.kill(signal);
      assertEquals((await child.status).code, 0);
      await child.stderr.cancel();
    }
  }));

Deno.test("binary: a port that is taken is exit 1 with a hint", () =>
  inDirectory(async (directory) => {
    await makePki(`${directory}/pki`);
    const { child, log } = await startUntil(directory, [...SERVER, "--bind", "127.0.0.1:0"], "ready");
    const port = /udp:127\.0\.0\.1:(\d+)/.exec(log)?.[1];
    const { code, error } = await run(directory, [...SERVER, "--bind", `127.0.0.1:${port}`]);
    child.kill("SIGTERM");
    await child.status;
    await child.stderr.cancel();
    assertEquals(code, 1, error);
    assertMatch(error, /postern: error: .*\npostern: hint: /);
  }));

Deno.test("binary: variables, files and flags join as the manual says", () =>
  inDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/c.json`, '{\n  "_comment": "x",\n  "server": "gw:5000",\n  "name": "file"\n}\n');
    const { code, out, error } = await run(directory, ["config", "show", "connector", "--config", "c.json", "--service", "web"], {
      POSTERN_NAME: "variable",
      POSTERN_SERVRE: "typo",
      POSTERN_PORT: "tcp://10.0.0.1:4433",
    });
    assertEquals(code, 0);
    assertMatch(out, /^server +gw:5000 +c\.json:3 server$/m);
    assertMatch(out, /^name +variable +POSTERN_NAME$/m);
    assertMatch(out, /^service +web +--service$/m);
    assertMatch(error, /POSTERN_SERVRE \(did you mean POSTERN_SERVER\?\)/);
    assertMatch(error, /Kubernetes.*: POSTERN_PORT\n/);
  }));
