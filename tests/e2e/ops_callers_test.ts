/** Who may use the admin socket of a role that runs as a user of its own, not as root: the program, its socket, and other users' processes. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { curlAs, LAST_PID, spawnCurl } from "./callers_fixture.ts";
import { Gateway } from "./gateway_fixture.ts";
import { BINARY, RoleProcess } from "./processes_fixture.ts";

const OWNER = 1234, OTHER = 1235;
const RELOAD = ["-X", "POST"];
const asUser = (uid: number) => ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];

/** A server as {@linkcode OWNER}. Everybody can reach its socket: what keeps callers out is its own decision. */
async function withOwned(use: (server: RoleProcess, path: string) => Promise<void>): Promise<void> {
  await using gateway = await Gateway.empty();
  const { folder, pki } = gateway;
  const program = join(folder, "postern"), path = join(folder, "run", "server.sock");
  Deno.copyFileSync(BINARY, program);
  Deno.mkdirSync(join(folder, "run"));
  await new Deno.Command("chown", { args: ["-R", `${OWNER}:${OWNER}`, folder] }).output();
  Deno.chmodSync(folder, 0o711);
  const args = ["server", "--bind", "127.0.0.1:0", "--cert", pki.server.cert, "--key", pki.server.key, "--ca-cert", pki.caCert];
  // The copy is started in place of the program in the checkout, which others may not be able to reach.
  const wrapper = [...asUser(OWNER), "sh", "-c", 'program=$0; shift; exec "$program" "$@"', program];
  const flags = [...args, "--metrics-port", "0", "--unix-socket-path", path];
  await using server = new RoleProcess(flags, folder, { XDG_RUNTIME_DIR: join(folder, "run") }, wrapper);
  await server.until("ready");
  assertEquals(Deno.statSync(path).uid, OWNER);
  Deno.chmodSync(join(folder, "run"), 0o711);
  Deno.chmodSync(path, 0o666);
  await use(server, path);
}

/** A token for whoever uses it first, fetched as its owner. */
async function freeToken(path: string): Promise<string> {
  const [program = "", ...words] = [...asUser(OWNER), "curl", "-s", "--unix-socket", path];
  const body = ["-H", "Content-Type: application/json", "-d", '{"bind":"first-use"}', "http://localhost/v1/tokens"];
  const { stdout } = await new Deno.Command(program, { args: [...words, "-X", "POST", ...body], stderr: "null" }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).token;
}

/** Waits for a line of the log; who was answered may be ahead of it. */
async function untilSaid(server: RoleProcess, words: string): Promise<void> {
  for (let from = 0;;) {
    const line = await server.until("admin-token", {}, { from });
    if (line.msg.includes(words)) return;
    from = server.lines.indexOf(line) + 1;
  }
}

function row(behaviour: string, fn: () => Promise<void>, files: readonly string[] = []): void {
  const needs = { root: true, tools: ["setpriv", "curl", "chown"], files };
  // The test runner cannot tell the reading of a process's log from a leak.
  Deno.test({ ...needing(needs, behaviour, fn), sanitizeOps: false, sanitizeResources: false });
}

row("a role that runs as its own user answers that user and root, and nobody else", async () => {
  await withOwned(async (server, path) => {
    assertEquals(await curlAs(0, path), 200, "root");
    assertEquals(await curlAs(OWNER, path), 200, "the owner");
    assertEquals(await curlAs(OTHER, path), 403, "another user");
    assertEquals(await curlAs(OTHER, path, [`--regid=${OWNER}`, "--clear-groups"]), 403, "another user of the owner's group");
    const denied = await server.until("admin-denied");
    assertStringIncludes(denied.msg, String(OTHER));
  });
});

row("a token of the owner's is void in another process, for another user, and without one nobody steers", async () => {
  await withOwned(async (server, path) => {
    assertEquals(await curlAs(OWNER, path, [], RELOAD, "/v1/reload"), 403, "no token");
    const bound = await freeToken(path);
    const first = await spawnCurl(path, bound, null, asUser(OWNER));
    assertEquals(first.status, 200);
    const second = await spawnCurl(path, bound, null, asUser(OWNER));
    assertEquals(second.status, 403, "a second process");
    await untilSaid(server, "SECURITY: Token PID mismatch: expected");
    assertEquals((await spawnCurl(path, bound, null)).status, 403, "root");
    assertEquals(
      (await spawnCurl(path, await freeToken(path), null)).status,
      403,
      "root, with a token that was fetched by the owner",
    );
    assertEquals((await spawnCurl(path, await freeToken(path), null, asUser(OTHER))).status, 403, "another user");
    await untilSaid(server, "SECURITY: Token UID mismatch: expected");
  });
});

row("a token of the owner's is void in a later process of the same pid", async () => {
  await withOwned(async (server, path) => {
    const bound = await freeToken(path);
    const first = await spawnCurl(path, bound, null, asUser(OWNER));
    assertEquals(first.status, 200);
    for (let attempt = 0; attempt < 20; attempt++) {
      const later = await spawnCurl(path, bound, first.pid, asUser(OWNER));
      assertEquals(later.status, 403);
      if (later.pid !== first.pid) continue;
      return await untilSaid(server, "got a later one");
    }
    throw new Error("the kernel never gave the same pid again");
  });
}, [LAST_PID]);
