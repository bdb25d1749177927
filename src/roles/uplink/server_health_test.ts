/** The order in which several servers are tried. */
import { assertEquals } from "@std/assert";
import { FAILURE_MEMORY_MS } from "./limits.ts";
import { ServerHealth } from "./server_health.ts";

Deno.test("servers come in the order of the settings; one that failed goes behind those that did not", () => {
  const health = new ServerHealth(3);
  assertEquals(health.best(0), 0);
  health.failed(0, "no answer", false, 10);
  assertEquals([health.best(11), health.isHealthy(0, 11), health.isHealthy(1, 11)], [1, false, true]);
  health.failed(1, "no answer", false, 20);
  health.failed(2, "no answer", false, 30);
  // All have failed: the one that did so longest ago may be back first.
  assertEquals(health.best(31), 0);
  health.failed(0, "no answer", false, 40);
  assertEquals(health.best(41), 1);
  health.worked(2);
  assertEquals(health.best(42), 2);
});

Deno.test("a failure is forgotten after a while, and who is not there is passed over", () => {
  const health = new ServerHealth(2);
  health.failed(0, "no answer", false, 100);
  assertEquals(health.best(100 + FAILURE_MEMORY_MS - 1), 1);
  assertEquals(health.best(100 + FAILURE_MEMORY_MS), 0);
  assertEquals(health.best(101, (server) => server === 0), 0);
  assertEquals(health.best(101, () => false), -1);
});

Deno.test("it is hopeless only when every server is", () => {
  const health = new ServerHealth(2);
  health.failed(0, "not trusted", true, 1);
  assertEquals(health.isHopeless, false);
  health.failed(1, "not trusted", true, 2);
  assertEquals(health.isHopeless, true);
  health.failed(0, "no answer", false, 3);
  assertEquals(health.isHopeless, false);
});

Deno.test("the report names each server, its health, and which one is used", () => {
  const health = new ServerHealth(3);
  health.failed(0, "no answer", false, 1_000);
  health.failed(0, "no answer again", false, 2_000);
  health.worked(1);
  assertEquals(health.report(["a:1", "b:2", "c:3"], 1, 5_000), [
    { server: "a:1", isCurrent: false, health: "failed", failures: 2, failedForMs: 3_000, lastError: "no answer again" },
    { server: "b:2", isCurrent: true, health: "works", failures: 0, failedForMs: null, lastError: "" },
    { server: "c:3", isCurrent: false, health: "untried", failures: 0, failedForMs: null, lastError: "" },
  ]);
});
