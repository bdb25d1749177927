// The formats and files of the control plane, judged by programs that nobody here wrote.
import { assertEquals } from "@std/assert";
import { metricCells, type MetricSample, readMetrics } from "../../src/base/mod.ts";
import { openEventStream } from "../../src/ops/events/mod.ts";
import { createLog, fileDestination, parseFilter } from "../../src/ops/log/mod.ts";
import { formatExposition, OPS_METRICS, processMetrics } from "../../src/ops/metrics/mod.ts";
import { needing } from "../../tools/needs.ts";
import { native } from "./ops_fixture.ts";

Deno.test(needing({ tools: ["promtool"] }, "promtool finds nothing wrong with our families", async () => {
  const old: MetricSample = { definition: { name: "ztna_retry_tokens_validated", kind: "counter", help: "Kept name." }, value: 1 };
  const samples = [
    ...readMetrics(metricCells(OPS_METRICS)),
    ...processMetrics(native),
    ...openEventStream(() => {}).metrics(),
    old,
  ];
  const tool = new Deno.Command("promtool", { args: ["check", "metrics"], stdin: "piped", stdout: "piped", stderr: "piped" })
    .spawn();
  const writer = tool.stdin.getWriter();
  await writer.write(new TextEncoder().encode(formatExposition(samples, "prometheus")));
  await writer.close();
  const { code, stderr, stdout } = await tool.output();
  assertEquals([code, new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout)], [0, ""]);
}));

Deno.test("a log on a full disk is counted and does not throw", () => {
  const log = createLog({
    role: null,
    filter: parseFilter("info", "test").filter,
    destination: fileDestination("/dev/full"),
    format: "json",
  });
  log.sink({ level: "info", event: "ready", message: "", fields: {} });
  log.close();
  assertEquals(log.statistics(), { written: 0, dropped: 0, failed: 1 });
});

Deno.test(needing({ tools: ["socat"] }, "a service manager on an abstract socket is reached", async () => {
  const name = `postern-test-${Deno.pid}`;
  const socat = new Deno.Command("socat", { args: ["-u", `ABSTRACT-RECV:${name}`, "STDOUT"], stdout: "piped", stderr: "null" })
    .spawn();
  const reader = socat.stdout.getReader();
  const deadline = Date.now() + 5_000;
  while (native.sendToUnix(`@${name}`, "READY=1") < 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals(new TextDecoder().decode((await reader.read()).value), "READY=1");
  socat.kill("SIGKILL");
  await reader.cancel();
  await socat.status;
}));
