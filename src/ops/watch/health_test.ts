import { assertEquals } from "@std/assert";
import { openAlerts, openEventStream } from "../events/mod.ts";
import { securityHealth } from "./health.ts";

Deno.test("an alert that was given up makes the webhook failing, until the next is delivered or an hour has passed", async () => {
  let status = 500, nowMs = 0;
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, () => new Response("", { status }));
  const url = new URL(`http://127.0.0.1:${server.addr.port}/`);
  const alerts = openAlerts({ url, timeoutMs: 20_000, tries: 1 }, () => {}, () => nowMs);
  const stream = openEventStream(() => {});
  stream.subscribe(alerts.sink);
  const health = () => securityHealth(stream, alerts).status;
  const settled = async (count: number) => {
    while (alerts.status().sent + alerts.status().failed < count) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  assertEquals(health(), "ok");
  stream.record({ event_type: "certificate_expired", details: {} });
  await settled(1);
  assertEquals(health(), "degraded");
  nowMs = 3_599_999;
  assertEquals(health(), "degraded");
  nowMs = 3_600_000;
  assertEquals(health(), "ok");
  stream.record({ event_type: "certificate_expired", details: {} });
  await settled(2);
  assertEquals(health(), "degraded");
  status = 200;
  stream.record({ event_type: "certificate_expired", details: {} });
  await settled(3);
  assertEquals([health(), alerts.status().failed], ["ok", 2]);
  alerts.close();
  await server.shutdown();
});
