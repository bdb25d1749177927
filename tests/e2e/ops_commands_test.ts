// The operator's commands against a running role: what they print, and with which exit code they end.
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { PosternError } from "../../src/base/mod.ts";
import { type CommandPlatform, OPS_COMMANDS } from "../../src/ops/commands/mod.ts";
import { opsNative, scraper, withMetrics } from "./ops_metrics_fixture.ts";
import { PEER, SNAPSHOT, withRole } from "./ops_role_fixture.ts";

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

interface RunOptions {
  readonly options?: Record<string, string | boolean>;
  readonly positional?: readonly string[];
  readonly environment?: Record<string, string>;
  readonly signal?: AbortSignal;
  readonly onOut?: (text: string) => void;
}

async function run(
  name: string,
  { options = {}, positional = [], environment = {}, signal, onOut }: RunOptions = {},
): Promise<Ran> {
  const command = OPS_COMMANDS.find((known) => known.name === name);
  assert(command !== undefined, name);
  let out = "", error = "";
  const platform: CommandPlatform = {
    writeOut: (text) => {
      out += text;
      onOut?.(out);
    },
    writeError: (text) => error += text,
    isTerminal: () => false,
    environment: () => environment,
    readFile: (path) => Deno.readFile(path),
    createTlsContext: opsNative.createTlsContext,
  };
  return { code: await command.run({ options, positional }, platform, signal), out, error };
}

const at = (path: string, more: Record<string, string | boolean> = {}) => ({ options: { unixSocketPath: path, ...more } });

Deno.test("status is a page: state, uptime, services, peers, drops, certificates with days left", async () => {
  await withRole({}, async ({ path, world }) => {
    world.traffic = { bytes: 5_000_000, datagrams: 100 };
    const { code, out } = await run("status", at(path));
    assertEquals(code, 0);
    assertMatch(
      out,
      /^server gw-1 is ready, up 1h 02m \(version 0\.1\.0, pid \d+, log info\)\n {2}listening {3}quic 0\.0\.0\.0:4433\n/,
    );
    assertMatch(out, /throughput {2}[\d.]+ [KMG]B\/s/);
    assertStringIncludes(
      out,
      "Services\n  SERVICE  STATE       CONNECTORS  AGENTS  ENDPOINT\n  web      registered  1           1       -\n",
    );
    assertMatch(out, /Peers \(1\)\n.*\n {2}7 {3}agent {2}agent-1 {2}web .* 900 B .* 1\.5 MB {2}1\.3 ms\n/);
    assertStringIncludes(out, "Dropped\n  REASON     COUNT\n  malformed  2\nCertificates\n");
    assertMatch(out, /identity {2}CN=gw-1 .* 90 days\n/);
  });
});

Deno.test("status in JSON is the answer of the API, and hostile names cannot reach the terminal", async () => {
  await withRole({}, async ({ path, world }) => {
    world.status = () =>
      Promise.resolve({ ...SNAPSHOT, peers: [{ ...PEER, commonName: "a\x1b[31m\nb\u202e", services: ["x".repeat(300)] }] });
    assertEquals(JSON.parse((await run("status", at(path, { json: true }))).out).peers[0].common_name, "a\x1b[31m\nb\u202e");
    const { out } = await run("status", at(path));
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x09\x0b-\x1f\x7f\u202e]/.test(out));
    assert(out.split("\n").every((line) => line.length < 260));
  });
});

Deno.test("status shows what is wrong with an uplink", async () => {
  await withRole({}, async ({ path, world }) => {
    const uplink = {
      server: "gw:4433",
      state: "waiting",
      protocol: "",
      connectedAtMs: null,
      rttMs: null,
      attempts: 3,
      lastError: "refused",
      servers: [
        { server: "gw:4433", isCurrent: false, health: "failed", failures: 3, failedAtMs: 1, lastError: "refused" },
        { server: "gw-2:4433", isCurrent: true, health: "untried", failures: 0, failedAtMs: null, lastError: "" },
      ],
    } as const;
    world.status = () =>
      Promise.resolve({
        ...SNAPSHOT,
        role: "connector",
        name: "connector",
        phase: "degraded",
        reasons: ["no uplink"],
        uplinks: [uplink],
      });
    const { out } = await run("status", at(path));
    assertMatch(out, /^connector is degraded, .*\n {2}! no uplink\n/);
    assertStringIncludes(out, "  uplink      gw:4433 waiting, attempt 3: refused\n");
    assertMatch(out, /Servers\n.*\n +gw:4433 +failed +- +3 +refused\n +gw-2:4433 +untried +yes +0 +-\n/);
  });
});

Deno.test("status --watch shows the page again and again until it is stopped", async () => {
  await withRole({}, async ({ path }) => {
    const stop = new AbortController();
    const { code } = await run("status", {
      ...at(path, { watch: "0.1" }),
      signal: stop.signal,
      onOut: (out) => {
        if ((out.match(/is ready/g) ?? []).length >= 3) stop.abort();
      },
    });
    assertEquals(code, 0);
    const wrong = await assertRejects(() => run("status", at(path, { watch: "often" })), PosternError);
    assertEquals(wrong.exitCode, 2);
  });
});

Deno.test("health is 0 for a ready role and 1 for one that is not, hangs or is gone", async () => {
  await withRole({}, async ({ path, world }) => {
    assertEquals(await run("health", at(path)), { code: 0, out: `ok  ${path}  ready\n`, error: "" });
    world.status = () => Promise.resolve({ ...SNAPSHOT, phase: "degraded", reasons: ["the uplink is down"] });
    assertEquals(await run("health", at(path)), { code: 1, out: `FAIL  ${path}  degraded; the uplink is down\n`, error: "" });
    const live = () => run("health", { ...at(path), positional: ["live"] });
    assertEquals(await live(), { code: 0, out: `ok  ${path}  ok\n`, error: "" });
    world.status = () => new Promise(() => {});
    assertEquals((await run("health", at(path, { json: true }))).code, 1);
    assertEquals(await live(), { code: 1, out: `FAIL  ${path}  the data plane does not answer\n`, error: "" });
    assertEquals((await assertRejects(() => run("health", { ...at(path), positional: ["lively"] }), PosternError)).exitCode, 2);
    assertEquals((await run("health", at("/nonexistent/x.sock"))).code, 1);
  });
});

Deno.test("peers, log-level, reload, disconnect, deny and drain do what they say", async () => {
  await withRole({}, async ({ path, world }) => {
    assertStringIncludes((await run("peers", at(path))).out, "agent-1");
    assertEquals(JSON.parse((await run("peers", at(path, { json: true }))).out).peers[0].id, "7");
    assertEquals((await run("log-level", at(path))).out, "info\n");
    const changed = await run("log-level", { ...at(path), positional: ["debug,nowhere=off"] });
    assertEquals(changed.out, "debug,nowhere=off\n");
    assertStringIncludes(changed.error, "no log event belongs to 'nowhere'");
    assertEquals((await run("reload", at(path))).out, "the log file was opened again\nthe policy was read\n");
    assertEquals((await run("disconnect", { ...at(path), positional: ["7"] })).out, "disconnected 7\n");
    assertEquals(
      (await run("deny", { ...at(path, { reason: "stolen" }), positional: ["0A:1B"] })).out,
      "denied 0a1b, ended 1 connections\n",
    );
    assertEquals((await run("drain", at(path))).out, "draining\n");
    assertEquals(world.asked, ["reload", "disconnect 7", "deny 0a1b stolen", "drain"]);
    const missing = await assertRejects(() => run("disconnect", { ...at(path), positional: ["9"] }), PosternError);
    assertEquals([missing.exitCode, missing.message], [1, "there is no peer 9"]);
    for (const [name, positional] of [["disconnect", ["a/b"]], ["deny", ["xyz"]]] as const) {
      assertEquals((await assertRejects(() => run(name, { ...at(path), positional }), PosternError)).exitCode, 2);
    }
  });
});

Deno.test("a reload that fails is told in the words of the process", async () => {
  await withRole({}, async ({ path, world }) => {
    world.reload = () => Promise.reject(new PosternError("the policy has a mistake", { code: "policy", hint: "line 3" }));
    const error = await assertRejects(() => run("reload", at(path)), PosternError);
    assertEquals([error.message, error.hint, error.exitCode], ["the policy has a mistake", "line 3", 1]);
  });
});

Deno.test("events shows the newest, oldest first, and follows those that match", async () => {
  await withRole({}, async ({ path, ops }) => {
    ops.record({ event_type: "auth_failure", details: { username: "first" } });
    ops.record({ event_type: "weak_protocol", details: {} });
    ops.record({ event_type: "auth_failure", details: { username: "second\x1b[2J" }, remote_addr: "192.0.2.1:5" });
    const { out } = await run("events", at(path, { type: "auth_failure" }));
    const lines = out.trimEnd().split("\n");
    assertEquals(lines.length, 2);
    assertStringIncludes(lines[0] ?? "", 'auth_failure: Authentication failed username="first"');
    assertStringIncludes(lines[1] ?? "", "from 192.0.2.1:5");
    assert(!out.includes("\x1b"));
    const stop = new AbortController();
    // The follower comes at some time; events are made until it has seen one.
    const making = setInterval(() => ops.record({ event_type: "certificate_revoked", details: {} }), 20);
    const followed = await run("events", {
      ...at(path, { follow: true, json: true, severity: "error", limit: "1" }),
      signal: stop.signal,
      onOut: (text) => {
        if ((text.match(/certificate_revoked/g) ?? []).length >= 3) stop.abort();
      },
    });
    clearInterval(making);
    assert(followed.out.trimEnd().split("\n").every((line) => JSON.parse(line).severity === "error"));
  });
});

Deno.test("admin-token prints one token and nothing else", async () => {
  await withRole({}, async ({ path }) => {
    assertMatch((await run("admin-token", at(path))).out, /^[A-Za-z0-9_-]{43}\n$/);
  });
});

Deno.test("sockets are found at their default places; several roles are all shown, and steering one asks which", async () => {
  const runtime = Deno.makeTempDirSync();
  const environment = { XDG_RUNTIME_DIR: runtime };
  const none = await assertRejects(() => run("status", { environment }), PosternError);
  assertStringIncludes(none.message, "no postern runs on this machine");
  await withRole({ adminSocketPath: `${runtime}/postern/server.sock` }, async () => {
    assertStringIncludes((await run("status", { environment })).out, "server gw-1 is ready");
    await withRole({ adminSocketPath: `${runtime}/postern/agent.sock` }, async () => {
      assertEquals(((await run("status", { environment })).out.match(/is ready/g) ?? []).length, 2);
      assertEquals(JSON.parse((await run("status", { environment, options: { json: true } })).out).length, 2);
      const error = await assertRejects(() => run("reload", { environment }), PosternError);
      assertEquals([error.exitCode, error.hint], [2, "add --role ROLE"]);
      assertEquals((await run("reload", { environment, options: { role: "agent" } })).code, 0);
      assertEquals(
        (await assertRejects(() => run("reload", { environment, options: { role: "king" } }), PosternError)).exitCode,
        2,
      );
    });
  });
  Deno.removeSync(runtime, { recursive: true });
});

Deno.test("a socket that nobody serves any more is said to be one", async () => {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/server.sock`;
  const listener = Deno.listen({ transport: "unix", path });
  Deno.renameSync(path, `${path}.kept`);
  listener.close();
  Deno.renameSync(`${path}.kept`, path);
  const error = await assertRejects(() => run("status", at(path)), PosternError);
  assertStringIncludes(error.message, "nobody answers on the admin socket");
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("health tls shows what a server negotiates and shows, and fails when it refuses or is not who it should be", async () => {
  await withMetrics({}, async ({ port, authority, folder }) => {
    const client = await scraper(authority);
    Deno.writeFileSync(`${folder}/client.crt`, client.certificatePem);
    Deno.writeFileSync(`${folder}/client.key`, client.privateKeyPem);
    const own = { clientCert: `${folder}/client.crt`, clientKey: `${folder}/client.key` };
    const check = (options: Record<string, string | boolean>) =>
      run("health", { positional: ["tls"], options: { connect: `[::1]:${port}`, ...options } });
    const good = await check({ ...own, caCert: `${folder}/ca.crt`, json: true });
    const report = JSON.parse(good.out);
    assertEquals([good.code, report.version, report.verified, report.subject, report.days_left], [
      0,
      "TLSv1.3",
      true,
      "CN=localhost",
      0,
    ]);
    assertStringIncludes(report.names, "localhost");
    const text = await check(own);
    assertMatch(text.out, /^version {6}TLSv1\.3$/m);
    const anonymous = await check({ caCert: `${folder}/ca.crt` });
    assertEquals(anonymous.code, 1);
    assertMatch(anonymous.out, /^refused {6}.*certificate required/m);
    const wrongName = await assertRejects(
      () => check({ ...own, caCert: `${folder}/ca.crt`, serverName: "example.com" }),
      PosternError,
    );
    assertStringIncludes(wrongName.message, "no DNS name that matches");
    for (const options of [{ connect: "x" }, { ...own, clientKey: "" }]) {
      const error = await assertRejects(() => check({ ...options }));
      assert(error instanceof PosternError || error instanceof Deno.errors.NotFound);
    }
    assertEquals((await assertRejects(() => run("health", { positional: ["tls"] }), PosternError)).exitCode, 2);
  });
});

Deno.test("every command has a summary, a description and an example", () => {
  for (const command of OPS_COMMANDS) {
    assert(command.summary.length > 10 && !command.summary.endsWith("."), command.name);
    assert(command.description.endsWith("."), command.name);
    assert(command.examples.length > 0, command.name);
  }
});
