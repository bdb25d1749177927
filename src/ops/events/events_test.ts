import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { PosternError, SECURITY_EVENTS, type SecurityEvent, type SecurityEventType } from "../../base/mod.ts";
import { EVENT_AGE_MAX_MS, EVENTS_MAX } from "./event_stream.ts";
import { openAlerts, openEventStream } from "./mod.ts";
import { parseWebhookUrl } from "../../config/mod.ts";

Deno.test("an event has the published fields, stamped by its type", () => {
  const stream = openEventStream(() => {}, () => Date.UTC(2026, 0, 26, 10, 30));
  stream.record({
    event_type: "handshake_failure",
    details: { error: "bad\ncertificate" },
    remote_addr: "[2001:db8::1]:5",
    tls_version: "TLS 1.3",
  });
  assertEquals(stream.query({ limit: 10 }), [{
    timestamp: "2026-01-26T10:30:00.000Z",
    event_type: "handshake_failure",
    severity: "warning",
    source: "tls_auditor",
    description: "TLS handshake failed",
    details: { error: "bad\\u000acertificate" },
    remote_addr: "[2001:db8::1]:5",
    tls_version: "TLS 1.3",
  }]);
});

Deno.test("events are found by type, severity and count, newest first", () => {
  const stream = openEventStream(() => {});
  for (let i = 0; i < 10; i++) stream.record({ event_type: i % 2 === 0 ? "auth_failure" : "tls_connection", details: { i } });
  assertEquals(stream.query({ type: "auth_failure", limit: 2 }).map((event) => event.details["i"]), [8, 6]);
  assertEquals(stream.query({ severity: "info", limit: 100 }).length, 5);
  assertEquals(stream.query({ severity: "critical", limit: 100 }), []);
});

Deno.test("the ring keeps ten thousand, drops the oldest tenth when full, and forgets what is older than thirty days", () => {
  const clock = { nowMs: 1_700_000_000_000 };
  const stream = openEventStream(() => {}, () => clock.nowMs);
  for (let i = 0; i <= EVENTS_MAX; i++) stream.record({ event_type: "auth_failure", details: { i } });
  assertEquals(stream.size, EVENTS_MAX - EVENTS_MAX / 10 + 1);
  assertEquals(stream.query({ limit: 1 })[0]?.details["i"], EVENTS_MAX);
  assertEquals(stream.statistics().auth_failures, EVENTS_MAX + 1);
  clock.nowMs += EVENT_AGE_MAX_MS + 1;
  stream.record({ event_type: "weak_protocol", details: {} });
  assertEquals(stream.query({ limit: 100 }).map((event) => event.event_type), ["weak_protocol"]);
});

Deno.test("a flood of one type pushes out its own kind, and nothing that is more severe or of another type", () => {
  const stream = openEventStream(() => {}, Date.now, { max: 1_000, ageMaxMs: EVENT_AGE_MAX_MS });
  const record = (event_type: SecurityEventType, count: number) => {
    for (let i = 0; i < count; i++) stream.record({ event_type, details: { i } });
  };
  const kept = (type: SecurityEventType) => stream.query({ type, limit: 1_000 }).length;
  record("certificate_revoked", 100);
  record("registration_denied", 200);
  record("admin_steered", 50);
  record("tls_connection", 20_000);
  assertEquals([kept("certificate_revoked"), kept("registration_denied"), kept("admin_steered")], [100, 200, 50]);
  record("handshake_failure", 20_000);
  assertEquals([kept("certificate_revoked"), kept("registration_denied"), kept("admin_steered")], [100, 200, 50]);
  assert(kept("tls_connection") + kept("admin_steered") >= 225, "a share of the ring is each severity's own");
  assert(stream.size > 900 && stream.size <= 1_000);
  record("certificate_expired", 20_000);
  record("tls_connection", 1);
  assert(kept("certificate_expired") >= 300 && kept("certificate_revoked") === 100);
  assertEquals(kept("registration_denied") + kept("handshake_failure") >= 225, true);
  const newest = stream.query({ limit: 2 }).map(({ event_type }) => event_type);
  assertEquals(newest, ["tls_connection", "certificate_expired"], "newest first, whatever their kind");
});

Deno.test("a tiny ring holds what it can", () => {
  const stream = openEventStream(() => {}, Date.now, { max: 1, ageMaxMs: EVENT_AGE_MAX_MS });
  for (let i = 0; i < 5; i++) stream.record({ event_type: "auth_failure", details: { i } });
  assertEquals(stream.query({ limit: 9 }).map(({ details }) => details["i"]), [4]);
});

Deno.test("statistics and metrics count every type", () => {
  const stream = openEventStream(() => {});
  assertEquals(stream.statistics().last_update, null);
  const types = Object.keys(SECURITY_EVENTS) as (keyof typeof SECURITY_EVENTS)[];
  for (const event_type of types) stream.record({ event_type, details: {} });
  const statistics = stream.statistics();
  assertEquals([statistics.total_connections, statistics.expired_certs, statistics.revoked_certs, statistics.weak_protocols], [
    2,
    1,
    1,
    1,
  ]);
  assertEquals(stream.metrics().map((sample) => sample.value), types.map(() => 1));
});

Deno.test("events that were left out before one are counted with it", () => {
  const stream = openEventStream(() => {});
  stream.record({ event_type: "handshake_failure", details: { error: "x" } });
  stream.record({ event_type: "handshake_failure", details: { error: "x", left_out: 40 } });
  assertEquals([stream.statistics().failed_handshakes, stream.size], [42, 2]);
});

Deno.test("recording an event takes well under a millisecond", () => {
  const stream = openEventStream(() => {});
  stream.subscribe(() => {});
  const started = performance.now();
  for (let i = 0; i < 20_000; i++) {
    stream.record({ event_type: "auth_failure", details: { username: "u", reason: "r" }, remote_addr: "192.0.2.1:1" });
  }
  const eachMs = (performance.now() - started) / 20_000;
  assert(eachMs < 0.5, `${eachMs} ms an event`);
});

Deno.test("a follower that throws is taken off and reported; the others go on", () => {
  const failures: string[] = [];
  const seen: SecurityEvent[] = [];
  const stream = openEventStream((why) => failures.push(why));
  stream.subscribe(() => {
    throw new Error("broken");
  });
  const leave = stream.subscribe((event) => seen.push(event));
  stream.record({ event_type: "auth_failure", details: {} });
  stream.record({ event_type: "auth_failure", details: {} });
  leave();
  stream.record({ event_type: "auth_failure", details: {} });
  assertEquals([failures, seen.length], [["broken"], 2]);
});

const WEBHOOKS: readonly (readonly [string, boolean])[] = [
  ["https://alerts.example.com/x", true],
  ["http://127.0.0.1:9/x", true],
  ["http://[::1]:9/x", true],
  ["http://localhost:9/x", true],
  ["http://alerts.example.com/x", false],
  ["http://192.0.2.1/x", false],
  ["https://169.254.169.254/latest/meta-data", false],
  ["https://0xa9fea9fe/", false],
  ["https://[fe80::1]/", false],
  ["https://[::ffff:169.254.169.254]/", false],
  ["https://[::]/", false],
  ["https://0.0.0.0/", false],
  ["https://224.0.0.1/", false],
  ["https://user:secret@alerts.example.com/", false],
  ["file:///etc/passwd", false],
  ["gopher://example.com/", false],
  ["alerts", false],
];

for (const [text, isTaken] of WEBHOOKS) {
  Deno.test(`the webhook address ${text} is ${isTaken ? "taken" : "refused"}`, () => {
    if (isTaken) assertEquals(parseWebhookUrl(text).href, new URL(text).href);
    else assertEquals(assertThrows(() => parseWebhookUrl(text), PosternError).exitCode, 2);
  });
}

Deno.test("what matters reaches the webhook, after a failed try as well; information does not", async () => {
  const bodies: SecurityEvent[] = [];
  let calls = 0;
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    if (++calls === 1) return new Response("later", { status: 503 });
    bodies.push(await request.json());
    return new Response("ok");
  });
  const alerts = openAlerts({ url: new URL(`http://127.0.0.1:${server.addr.port}/hook`), timeoutMs: 2_000, tries: 3 }, () => {});
  const stream = openEventStream(() => {});
  stream.subscribe(alerts.sink);
  stream.record({ event_type: "tls_connection", details: {} });
  stream.record({ event_type: "certificate_expired", details: { subject: "CN=a" } });
  while (bodies.length < 1) await new Promise((resolve) => setTimeout(resolve, 10));
  assertEquals([bodies[0]?.event_type, bodies[0]?.severity, calls], ["certificate_expired", "error", 2]);
  while (alerts.status().sent < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(alerts.status(), { queued: 0, sent: 1, failed: 0, last_error: "", is_failing: false });
  alerts.close();
  await server.shutdown();
});

Deno.test("a webhook that never answers is left after the timeout, tried again, and the next alert still arrives", async () => {
  const arrived: string[] = [], failures: string[] = [];
  let calls = 0;
  const held = Promise.withResolvers<void>();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const event = await request.json();
    if (++calls <= 2) await held.promise;
    else arrived.push(event.event_type);
    return new Response("ok");
  });
  const url = new URL(`http://127.0.0.1:${server.addr.port}/`);
  const alerts = openAlerts({ url, timeoutMs: 200, tries: 2 }, (why) => failures.push(why));
  const stream = openEventStream(() => {});
  stream.subscribe(alerts.sink);
  const begin = performance.now();
  stream.record({ event_type: "certificate_expired", details: {} });
  stream.record({ event_type: "certificate_revoked", details: {} });
  assertEquals(alerts.status().queued, 1, "recording waits for nobody: one is on its way, one waits");
  while (arrived.length < 1) await new Promise((resolve) => setTimeout(resolve, 10));
  assertEquals([arrived, calls, failures.length], [["certificate_revoked"], 3, 1]);
  assertStringIncludes(failures[0] ?? "", "timed out");
  const tookMs = performance.now() - begin;
  assert(tookMs >= 2 * 200, `${tookMs} ms`);
  while (alerts.status().sent < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(alerts.status(), { queued: 0, sent: 1, failed: 1, last_error: failures[0] ?? "", is_failing: false });
  alerts.close();
  held.resolve();
  await server.shutdown();
});

Deno.test("a webhook that redirects is given up after its tries, and a full queue is counted", async () => {
  const failures: string[] = [];
  let calls = 0;
  // Ended at once: a graceful end would wait for what an alert that was given up has left open.
  const ending = new AbortController();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {}, signal: ending.signal }, () => {
    calls++;
    return Response.redirect("http://127.0.0.1:1/elsewhere", 302);
  });
  const alerts = openAlerts(
    { url: new URL(`http://127.0.0.1:${server.addr.port}/`), timeoutMs: 500, tries: 2 },
    (why) => failures.push(why),
  );
  const stream = openEventStream(() => {});
  stream.subscribe(alerts.sink);
  for (let i = 0; i < 400; i++) stream.record({ event_type: "auth_failure", details: {} });
  while (failures.length < 1) await new Promise((resolve) => setTimeout(resolve, 10));
  assertStringIncludes(failures[0] ?? "", "302");
  const value = (name: string) => alerts.metrics().find((sample) => sample.definition.name === name)?.value;
  assert((value("postern_alerts_dropped_total") ?? 0) >= 140);
  assert(calls >= 2);
  alerts.close();
  ending.abort();
  await server.finished;
});
