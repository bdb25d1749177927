/** Alerts of the program to a webhook that is really there: what is posted, what a webhook that is slow or gone costs. */
import { join } from "node:path";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import { type RoleProcess, runPostern } from "./processes_fixture.ts";
import { sleep } from "./tcp_fixture.ts";

/** A server with a metrics listener whose events go to the webhook. */
async function startAlerting(gateway: Gateway, webhook: string): Promise<{ readonly server: RoleProcess; readonly port: number }> {
  const metrics = (name: string) => join(gateway.pki.folder, "metrics", name);
  const server = await gateway.startServer(
    ...["--alert-webhook", webhook, "--metrics-addr", "[::1]:0", "--metrics-cert", metrics("server.crt")],
    ...["--metrics-key", metrics("server.key"), "--metrics-ca", metrics("ca.crt")],
  );
  for (let tries = 0; tries < 200; tries++) {
    const line = server.linesOf("metrics-listening").find(({ msg }) => msg.startsWith("Listening on"));
    if (line !== undefined) return { server, port: Number(/:(\d+) /.exec(line.msg)?.[1]) };
    await sleep(20);
  }
  throw new Error(`no metrics port\n${server.tail()}`);
}

/** Something that is no TLS: a failed handshake. */
async function failHandshake(port: number): Promise<void> {
  using connection = await Deno.connect({ hostname: "::1", port });
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await connection.read(new Uint8Array(64)).catch(() => null);
}

Deno.test("a failed handshake is an event, a log line, a counter and a post to the webhook, after a try that failed", async () => {
  const posts: { readonly body: Record<string, unknown>; readonly type: string | null }[] = [];
  let calls = 0;
  const webhook = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    if (++calls === 1) return new Response("later", { status: 503 });
    posts.push({ body: await request.json(), type: request.headers.get("content-type") });
    return new Response("ok");
  });
  {
    await using gateway = await Gateway.empty();
    const { server, port } = await startAlerting(gateway, `http://127.0.0.1:${webhook.addr.port}/hook`);
    await failHandshake(port);
    for (let tries = 0; tries < 500 && posts.length < 1; tries++) await sleep(20);
    const [post] = posts;
    assertEquals([post?.type, post?.body["event_type"], post?.body["severity"]], [
      "application/json",
      "handshake_failure",
      "warning",
    ]);
    assertMatch(String(post?.body["timestamp"]), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assertEquals(calls, 2);
    const env = { XDG_RUNTIME_DIR: server.runtimeFolder };
    const { stdout } = await runPostern(["events", "--json", "--type", "handshake_failure"], gateway.folder, env);
    assert(stdout.includes(String(post?.body["timestamp"])), stdout);
  }
  await webhook.shutdown();
});

Deno.test("a webhook that is gone is told of in the log and keeps nothing waiting", async () => {
  await using gateway = await Gateway.empty();
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port: webhookPort } = closed.addr;
  closed.close();
  const { server, port } = await startAlerting(gateway, `http://127.0.0.1:${webhookPort}/`);
  await failHandshake(port);
  const line = await server.until("alert-failed");
  assertMatch(line.msg, /An alert was not delivered: /);
  const begin = performance.now();
  assertEquals((await server.stop()).code, 0);
  assert(performance.now() - begin < 4_000, "the end waits for no webhook");
});

Deno.test("an address that no webhook has is exit 2 before anything is bound", async () => {
  await using gateway = await Gateway.empty();
  for (const url of ["http://alerts.example.com/", "https://169.254.169.254/latest", "ftp://127.0.0.1/", "nonsense"]) {
    const { server, caCert } = gateway.pki;
    const files = ["--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
    const end = await runPostern(["server", "--bind", "127.0.0.1:0", ...files, "--alert-webhook", url], gateway.folder);
    assertEquals(end.code, 2, url);
    assertMatch(end.said, /webhook/);
    assertEquals(end.lines.filter(({ event }) => event === "ready"), []);
  }
});
