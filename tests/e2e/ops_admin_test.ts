// The admin API as operators and their tools meet it: over the real socket, with the kernel's word about who calls.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { PosternError } from "../../src/base/mod.ts";
import { HttpClient } from "../../src/io/http/mod.ts";
import { needing } from "../../tools/needs.ts";
import { curlAs, LAST_PID, spawnCurl } from "./callers_fixture.ts";
import { SNAPSHOT, withRole } from "./ops_role_fixture.ts";

interface Answer {
  readonly status: number;
  // deno-lint-ignore no-explicit-any
  readonly json: any;
}

async function call(
  path: string,
  method: string,
  target: string,
  options: { token?: string; body?: unknown; type?: string } = {},
): Promise<Answer> {
  using client = await HttpClient.connect(path);
  const response = await client.request({
    method,
    target,
    headers: {
      ...(options.token === undefined ? {} : { authorization: options.token }),
      ...(options.type === undefined ? {} : { "content-type": options.type }),
    },
    ...(options.body === undefined
      ? {}
      : { body: new TextEncoder().encode(typeof options.body === "string" ? options.body : JSON.stringify(options.body)) }),
  });
  const text = new TextDecoder().decode(response.body);
  return { status: response.status, json: text.startsWith("{") ? JSON.parse(text) : text };
}

const token = async (path: string) => (await call(path, "POST", "/v1/tokens", { body: { bind: "caller" } })).json.token as string;

Deno.test("reading needs no token: status, peers, services, flows, limits, events, certificates, settings, metrics, health", async () => {
  await withRole({}, async ({ path, ops }) => {
    ops.record({ event_type: "auth_failure", details: { username: "u", reason: "r" } });
    const status = (await call(path, "GET", "/v1/status")).json;
    assertEquals([status.role, status.name, status.phase, status.pid, status.services[0].id], [
      "server",
      "gw-1",
      "ready",
      Deno.pid,
      "web",
    ]);
    const peer = (await call(path, "GET", "/v1/peers?limit=1")).json.peers[0];
    for (
      const field of [
        "remote_addr",
        "established",
        "last_activity",
        "bytes_sent",
        "bytes_received",
        "tls_version",
        "cipher_suite",
        "duration",
        "idle_duration",
      ]
    ) {
      assert(field in peer, field);
    }
    assertEquals((await call(path, "GET", "/v1/caller")).json.pid, Deno.pid);
    assertEquals((await call(path, "GET", "/v1/flows")).json.total, 1);
    // The connection that asks is the one of the admin socket.
    const own = { name: "admin_connections", used: 1, max: 64 };
    assertEquals((await call(path, "GET", "/v1/limits")).json.limits, [...SNAPSHOT.limits, own]);
    const events = (await call(path, "GET", "/v1/events?type=auth_failure")).json;
    assertEquals([events.events.length, events.statistics.auth_failures], [1, 1]);
    assertEquals((await call(path, "GET", "/v1/certificates")).json.status, "ok");
    assertEquals((await call(path, "GET", "/v1/config")).json.settings[0].key, "port");
    assertEquals((await call(path, "GET", "/v1/log-level")).json, { level: "info" });
    assertStringIncludes((await call(path, "GET", "/metrics")).json, "ztna_relay_bytes_total 5");
    assertEquals((await call(path, "GET", "/healthz")).json, "ok\n");
    assertEquals((await call(path, "GET", "/readyz")).json, "ready\n");
  });
});

Deno.test("steering needs a token of the calling process, works, and is logged with the caller", async () => {
  await withRole({}, async ({ path, world, ops }) => {
    for (const [method, target, body] of [["POST", "/v1/reload"], ["POST", "/v1/drain", {}], ["DELETE", "/v1/peers/7"]] as const) {
      const refused = await call(path, method, target, body === undefined ? {} : { body });
      assertEquals([refused.status, refused.json.error.message], [403, "invalid Authorization token"], target);
    }
    assertEquals(world.asked, []);
    const own = await token(path);
    assertEquals((await call(path, "POST", "/v1/reload", { token: own })).json.changes, [
      "the log file was opened again",
      "the policy was read",
    ]);
    assertEquals(
      (await call(path, "PUT", "/v1/log-level", { token: own, body: { level: "info,uplink=trace" } })).json.level,
      "info,uplink=trace",
    );
    assertEquals((await call(path, "POST", "/v1/drain", { token: own, body: {} })).status, 200);
    assertEquals((await call(path, "DELETE", "/v1/peers/7", { token: own })).status, 200);
    assertEquals((await call(path, "DELETE", "/v1/peers/8", { token: own })).status, 404);
    assertEquals(
      (await call(path, "POST", "/v1/denied-serials", { token: own, body: { serial: "0a1b", reason: "lost" } })).json.disconnected,
      1,
    );
    assertEquals(world.asked, ["reload", "drain", "disconnect 7", "disconnect 8", "deny 0a1b lost"]);
    const log = world.lines.join("");
    assertStringIncludes(log, `reload by uid ${Deno.uid()}, pid ${Deno.pid}: done`);
    assertStringIncludes(log, `disconnect 8 by uid ${Deno.uid()}, pid ${Deno.pid}: refused (404)`);
    assert(!log.includes(own), "no token in the log");
    assertEquals(ops.events.query({ type: "admin_steered", limit: 100 }).length, 6);
    assertEquals(ops.events.query({ type: "admin_denied", limit: 100 }).length, 3);
  });
});

Deno.test("a reload that fails is told with its words, and the next health says so", async () => {
  await withRole({}, async ({ path, world }) => {
    world.reload = () => Promise.reject(new PosternError("the policy has a mistake", { code: "policy", hint: "line 3" }));
    const answer = await call(path, "POST", "/v1/reload", { token: await token(path) });
    assertEquals([answer.status, answer.json.error], [409, {
      code: "policy",
      message: "the policy has a mistake",
      hint: "line 3",
    }]);
    assertEquals((await call(path, "GET", "/health/tls")).json.status, "degraded");
  });
});

const WRONG: readonly (readonly [method: string, target: string, options: { body?: unknown; type?: string }, status: number])[] = [
  ["GET", "/", {}, 404],
  ["GET", "/v1/nothing", {}, 404],
  ["POST", "/v1/status", {}, 405],
  ["GET", "/v1/reload", {}, 405],
  ["GET", "/v1/peers?limit=0", {}, 400],
  ["GET", "/v1/peers?limit=1&limit=2", {}, 400],
  ["GET", "/v1/peers?colour=red", {}, 400],
  ["GET", "/v1/events?type=nonsense", {}, 400],
  ["POST", "/v1/tokens", {}, 400],
  ["POST", "/v1/tokens", { body: "{" }, 400],
  ["POST", "/v1/tokens", { body: { bind: "anyone" } }, 400],
  ["POST", "/v1/tokens", { body: { bind: "caller", extra: 1 } }, 400],
  ["POST", "/v1/tokens", { body: { bind: "caller" }, type: "text/plain" }, 415],
  ["PUT", "/v1/log-level", { body: { level: "loud" } }, 400],
  ["DELETE", "/v1/peers/a%20b", {}, 400],
  ["POST", "/v1/denied-serials", { body: { serial: "0A" } }, 400],
  ["POST", "/healthz", {}, 405],
];

Deno.test("what is wrong with a request is told in one shape, and nothing happens", async () => {
  await withRole({}, async ({ path, world }) => {
    for (const [method, target, options, status] of WRONG) {
      const answer = await call(path, method, target, options);
      assertEquals(answer.status, status, `${method} ${target}`);
      assertEquals(Object.keys(answer.json.error).sort(), ["code", "hint", "message"]);
    }
    assertEquals(world.asked, []);
  });
});

Deno.test("a data plane that hangs is unhealthy: probes do not wait for it long, readers a while, and nobody for ever", async () => {
  await withRole({}, async ({ path, world }) => {
    world.status = () => new Promise(() => {});
    let haveRead = false;
    const ask = async (...targets: string[]) => {
      const answers = await Promise.all(targets.map((target) => call(path, "GET", target)));
      return answers.map((answer) => answer.status);
    };
    const reading = ask("/v1/status", "/v1/peers").finally(() => haveRead = true);
    assertEquals([await ask("/healthz", "/readyz"), haveRead], [[503, 503], false]);
    assertEquals((await call(path, "GET", "/v1/log-level")).status, 200);
    assertEquals(await reading, [503, 503]);
  });
});

Deno.test("a role that is not ready says why", async () => {
  await withRole({}, async ({ path, world }) => {
    world.status = () => Promise.resolve({ ...SNAPSHOT, phase: "degraded", reasons: ["the uplink is down"] });
    const answer = await call(path, "GET", "/readyz");
    assertEquals([answer.status, answer.json], [503, "degraded; the uplink is down\n"]);
    assertEquals((await call(path, "GET", "/healthz")).status, 200);
  });
});

Deno.test("certificates: ended ones fail, self-signed and soon-ending ones degrade, and all three are told once", async () => {
  await withRole({}, async ({ path, world }) => {
    const [certificate] = world.certificates;
    assert(certificate !== undefined);
    const day = 86_400_000;
    const health = async () => (await call(path, "GET", "/health/certs"));
    world.certificates = [{ ...certificate, notAfterMs: Date.now() - day }];
    const ended = await health();
    assertEquals([ended.status, ended.json.status, ended.json.certificates[0].days_left < 0], [503, "failing", true]);
    world.certificates = [{ ...certificate, notAfterMs: Date.now() + 10 * day }];
    assertEquals((await health()).json.status, "degraded");
    world.certificates = [{ ...certificate, isSelfSigned: true }];
    assertEquals((await health()).json.status, "degraded");
    world.certificates = [{ ...certificate, purpose: "ca", isSelfSigned: true }];
    assertEquals((await health()).json.status, "ok");
    world.certificates = [{ ...certificate, isRevoked: true }];
    assertEquals((await health()).status, 503);
    world.certificates = [certificate];
    world.lists = [{ path: "/crl", issuer: "CN=ca", nextUpdateMs: Date.now() + day / 2 }];
    assertEquals((await health()).json.status, "degraded");
  });
});

Deno.test("events are followed as they happen, and the follower is let go", async () => {
  await withRole({}, async ({ path, ops }) => {
    const client = await HttpClient.connect(path);
    let text = "";
    const followed = client.follow(
      { method: "GET", target: "/v1/events/stream" },
      (piece) => text += new TextDecoder().decode(piece),
    );
    while (text !== "\n") await new Promise((resolve) => setTimeout(resolve, 5));
    ops.record({ event_type: "weak_protocol", details: {} });
    while (!text.includes("weak_protocol")) await new Promise((resolve) => setTimeout(resolve, 5));
    client[Symbol.dispose]();
    await followed.catch(() => {});
  });
});

Deno.test("the socket is 0600 in a 0700 folder, goes at the end, and a stale one is replaced", async () => {
  let place = "";
  await withRole({}, ({ path, folder }) => {
    place = path;
    assertEquals((Deno.lstatSync(path).mode ?? 0) & 0o777, 0o600);
    assertEquals((Deno.statSync(`${folder}/run`).mode ?? 0) & 0o777, 0o700);
    return Promise.resolve();
  });
  await assertRejects(() => Deno.lstat(place), Deno.errors.NotFound);
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/server.sock`;
  // A process that ends without a word leaves its socket behind.
  const left = new Deno.Command("python3", {
    args: ["-c", `import socket; s=socket.socket(socket.AF_UNIX); s.bind(${JSON.stringify(path)}); s.listen()`],
  });
  if ((await left.output()).success) {
    assertEquals(Deno.lstatSync(path).isSocket, true);
    await withRole({ adminSocketPath: path }, async () => assertEquals((await call(path, "GET", "/healthz")).status, 200));
  }
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("a live socket is never replaced, whether ours or a stranger's; a file that is no socket stays", async () => {
  await withRole({}, async ({ path, folder }) => {
    const error = await assertRejects(() => withRole({ adminSocketPath: path }, () => Promise.resolve()), PosternError);
    assertEquals([error.code, error.exitCode], ["socket-live", 1]);
    assertEquals((await call(path, "GET", "/healthz")).status, 200);
    const stranger = Deno.listen({ transport: "unix", path: `${folder}/stranger.sock` });
    const other = await assertRejects(
      () => withRole({ adminSocketPath: `${folder}/stranger.sock` }, () => Promise.resolve()),
      PosternError,
    );
    assertEquals(other.code, "socket-live");
    stranger.close();
    Deno.writeTextFileSync(`${folder}/file`, "kept");
    await assertRejects(
      () => withRole({ adminSocketPath: `${folder}/file` }, () => Promise.resolve()),
      PosternError,
      "not a socket",
    );
    assertEquals(Deno.readTextFileSync(`${folder}/file`), "kept");
  });
});

Deno.test(
  needing(
    { root: true, tools: ["setpriv", "curl"] },
    "the kernel's word decides: root and the owner may, others may not, and a folder keeps them out before that",
    async () => {
      await withRole({}, async ({ path, folder }) => {
        Deno.chmodSync(folder, 0o711);
        assertEquals(await curlAs(0, path), 200);
        assertEquals(await curlAs(65534, path), 0, "the folder is closed");
        Deno.chmodSync(`${folder}/run`, 0o711);
        Deno.chmodSync(path, 0o666);
        assertEquals(await curlAs(65534, path), 403, "and if it were not, the caller is refused");
      });
    },
  ),
);

Deno.test(
  needing(
    { root: true, tools: ["setpriv", "curl"] },
    "users and groups that are named may call, by their primary or another group",
    async () => {
      const folder = Deno.makeTempDirSync();
      Deno.chmodSync(folder, 0o711);
      await withRole({ adminUids: [1234], adminGids: [4321], adminSocketPath: `${folder}/run/x.sock` }, async ({ path }) => {
        assertEquals(await curlAs(1234, path), 200);
        assertEquals(await curlAs(1235, path), 403);
        assertEquals(await curlAs(1235, path, ["--regid=4321", "--clear-groups"]), 200);
        assertEquals(await curlAs(1235, path, ["--regid=1235", "--groups=7,4321"]), 200);
      });
      Deno.removeSync(folder, { recursive: true });
    },
  ),
);

Deno.test(
  needing(
    { tools: ["curl"] },
    "a token of one process is refused from another, and one for first use belongs to whoever came first",
    async () => {
      await withRole({}, async ({ path, world }) => {
        const own = await token(path);
        assertEquals(await curlAs(null, path, [], ["-X", "POST", "-H", `Authorization: ${own}`], "/v1/reload"), 403);
        assertStringIncludes(world.lines.join(""), `SECURITY: Token PID mismatch: expected ${Deno.pid}, got `);
        const free = (await call(path, "POST", "/v1/tokens", { body: { bind: "first-use" } })).json.token;
        assertEquals(await curlAs(null, path, [], ["-X", "POST", "-H", `Authorization: ${free}`], "/v1/reload"), 200);
        assertStringIncludes(world.lines.join(""), "Token bound to PID ");
        assertEquals((await call(path, "POST", "/v1/reload", { token: free })).status, 403);
      });
    },
  ),
);

Deno.test(
  needing(
    { root: true, tools: ["curl"], files: [LAST_PID] },
    "a later process with the same pid cannot use the token",
    async () => {
      await withRole({}, async ({ path, world }) => {
        const free = (await call(path, "POST", "/v1/tokens", { body: { bind: "first-use" } })).json.token;
        const steer = (pid: number | null) => spawnCurl(path, free, pid);
        const first = await steer(null);
        assertEquals(first.status, 200);
        for (let attempt = 0; attempt < 20; attempt++) {
          const second = await steer(first.pid);
          assertEquals(second.status, 403);
          if (second.pid === first.pid) {
            assertStringIncludes(world.lines.join(""), "got a later one");
            return;
          }
        }
        throw new Error("the kernel never gave the same pid again");
      });
    },
  ),
);
