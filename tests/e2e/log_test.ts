/** The log of the program from outside: its file, its level from a variable, its name, and what it keeps to itself. */
import { join } from "node:path";
import { assert, assertEquals } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import type { RoleProcess } from "./processes_fixture.ts";
import { runPostern } from "./processes_fixture.ts";
import { Backend, echo, readExactly, sleep, writeAll } from "./tcp_fixture.ts";

interface Line {
  readonly event: string;
  readonly name?: string;
}

function linesIn(path: string): Line[] {
  return Deno.readTextFileSync(path).trim().split("\n").map((line) => JSON.parse(line));
}

/** A server that logs into a file of its own. */
function startLogging(gateway: Gateway, path: string, env: Readonly<Record<string, string>> = {}): RoleProcess {
  const { server, caCert } = gateway.pki;
  const files = ["--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
  return gateway.run(
    ["server", "--bind", "127.0.0.1:0", ...files, "--log-file", path, "--name", "edge-7", "--metrics-port", "0"],
    env,
  );
}

async function untilThere(path: string, event: string, from = 0): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const isThere = (() => {
      try {
        return linesIn(path).slice(from).some((line) => line.event === event);
      } catch {
        return false;
      }
    })();
    if (isThere) return;
    await sleep(20);
  }
  throw new Error(`no ${event} in ${path}`);
}

Deno.test("a log file is 0600, is opened anew by SIGUSR1 and by SIGHUP, loses no line, and has the name in every one", async () => {
  await using gateway = await Gateway.empty();
  const path = join(gateway.folder, "server.log");
  const role = startLogging(gateway, path);
  await untilThere(path, "ready");
  assertEquals((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
  assertEquals(role.lines, [], "nothing stands on standard error");
  Deno.renameSync(path, `${path}.1`);
  role.signal("SIGUSR1");
  await sleep(200);
  role.signal("SIGHUP");
  await untilThere(path, "reloaded");
  const first = linesIn(`${path}.1`).length;
  Deno.renameSync(path, `${path}.2`);
  role.signal("SIGHUP");
  await untilThere(path, "reloaded");
  assertEquals((await role.stop()).code, 0);
  assertEquals(linesIn(`${path}.1`).length, first, "nothing more went to the file that was moved");
  const all = [1, 2].flatMap((number) => linesIn(`${path}.${number}`)).concat(linesIn(path));
  assertEquals(all.filter(({ event }) => event === "reloaded").length, 2);
  assertEquals(all.at(-1)?.event, "stopped");
  assertEquals(all.filter(({ name }) => name !== "edge-7"), []);
});

Deno.test("the level comes from --log-level, else POSTERN_LOG, else RUST_LOG, and may name modules", async () => {
  await using gateway = await Gateway.empty();
  const events = async (env: Readonly<Record<string, string>>, ...flags: string[]) => {
    const { server, caCert } = gateway.pki;
    const files = ["--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
    await using role = gateway.run(["server", "--bind", "127.0.0.1:0", ...files, "--metrics-port", "0", ...flags], env);
    for (let tries = 0; tries < 500; tries++) {
      const asked = await runPostern(["health"], gateway.folder, { XDG_RUNTIME_DIR: role.runtimeFolder });
      if (asked.code === 0) break;
    }
    return new Set(role.lines.map(({ event }) => event));
  };
  assert((await events({})).has("ready"));
  assertEquals((await events({ RUST_LOG: "off" })).size, 0);
  assert((await events({ POSTERN_LOG: "info", RUST_LOG: "off" })).has("ready"));
  assertEquals((await events({ POSTERN_LOG: "info" }, "--log-level", "off")).size, 0);
  assertEquals([...await events({ POSTERN_LOG: "off,ready=info" })], ["ready"]);
});

Deno.test("at info no role writes where a client is or which way its bytes take; at debug it may", async () => {
  for (const level of ["info", "debug"]) {
    await using backend = new Backend(echo);
    await using gateway = await Gateway.start({ services: { web: backend.port }, logLevel: level });
    const clientPorts: string[] = [];
    for (let i = 0; i < 20; i++) {
      using client = await gateway.connect("web");
      clientPorts.push(`${(client.localAddr as Deno.NetAddr).port}`);
      await writeAll(client, new Uint8Array(100));
      await readExactly(client, 100);
    }
    const { stdout } = await runPostern(["peers", "--json"], gateway.folder, { XDG_RUNTIME_DIR: gateway.server.runtimeFolder });
    const remote: string[] = JSON.parse(stdout).peers.map(({ remote_addr }: { remote_addr: string }) => remote_addr);
    assertEquals(remote.length, 2);
    await sleep(100);
    const texts = [gateway.server, gateway.agent, gateway.connector].map((role) =>
      role.lines.map((line) => JSON.stringify(line)).join("\n")
    );
    const secrets = [...remote, ...clientPorts.map((port) => `127.0.0.1:${port}`), `127.0.0.1:${backend.port}`];
    const shown = secrets.filter((secret) => texts.some((text) => text.includes(secret)));
    if (level === "info") assertEquals(shown, []);
    else assert(texts.every((text) => text.includes('"level":"debug"')), "debug was on");
  }
});

Deno.test("a reload takes a changed level from the file, refuses a wrong one whole, and says what waits for the next start", async () => {
  await using gateway = await Gateway.empty();
  const { server, caCert } = gateway.pki;
  const path = join(gateway.folder, "server.yaml");
  const write = (...lines: string[]) => {
    const own = ["bind: 127.0.0.1:0", `cert: ${server.cert}`, `key: ${server.key}`, `ca_cert: ${caCert}`, "metrics_port: 0"];
    Deno.writeTextFileSync(`${path}.new`, [...own, ...lines].join("\n") + "\n");
    Deno.renameSync(`${path}.new`, path);
  };
  write("log_level: info");
  const role = gateway.run(["server", "--config", path]);
  await role.until("ready");
  const env = { XDG_RUNTIME_DIR: role.runtimeFolder };
  const postern = async (...args: string[]) => await runPostern(args, gateway.folder, env);
  write("log_level: debug,uplink=warn", "name: edge-9", "events_max: 500");
  const reloaded = await postern("reload");
  assertEquals(reloaded.code, 0, reloaded.said);
  assertEquals((await postern("log-level")).stdout, "debug,uplink=warn\n");
  assert(reloaded.stdout.includes("The log level is debug,uplink=warn"), reloaded.stdout);
  assert(reloaded.stdout.includes("take effect at the next start: name, events_max"), reloaded.stdout);
  await postern("log-level", "warn");
  write("log_level: debug,uplink=warn", "name: edge-9", "events_max: 600");
  assertEquals((await postern("reload")).code, 0);
  assertEquals(
    (await postern("log-level")).stdout,
    "warn\n",
    "what an operator has set stays when the file says the same as before",
  );
  write("log_level: loud");
  const refused = await postern("reload");
  assertEquals(refused.code, 1);
  assert(refused.said.includes("server.yaml:6 log_level: 'loud' is not a level"), refused.said);
  assertEquals((await postern("log-level")).stdout, "warn\n");
});
