import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { native } from "../../../tests/e2e/ops_fixture.ts";
import type { MetricSample } from "../../base/mod.ts";
import { chooseFormat, formatExposition, OPS_METRICS, processMetrics } from "./mod.ts";

const SAMPLES: readonly MetricSample[] = [
  { definition: { name: "a_bytes_total", kind: "counter", help: "Bytes." }, value: 12 },
  {
    definition: { name: "b_seconds", kind: "gauge", help: 'Line\nand \\ and "quotes".', labels: { x: 'q"\\\n', y: "" } },
    value: -1.5,
  },
  { definition: { name: "b_seconds", kind: "gauge", help: "Second help.", labels: { x: "2" } }, value: Infinity },
  { definition: { name: "old", kind: "counter", help: "Kept name." }, value: 3 },
  { definition: { name: "a_bytes_total", kind: "counter", help: "Bytes." }, value: 30 },
];

Deno.test("the Prometheus text groups families, escapes, and adds up the workers", () => {
  assertEquals(
    formatExposition(SAMPLES, "prometheus"),
    `# HELP a_bytes_total Bytes.
# TYPE a_bytes_total counter
a_bytes_total 42
# HELP b_seconds Line\\nand \\\\ and "quotes".
# TYPE b_seconds gauge
b_seconds{x="q\\"\\\\\\n",y=""} -1.5
b_seconds{x="2"} +Inf
# HELP old Kept name.
# TYPE old untyped
old 3
`,
  );
});

Deno.test("the OpenMetrics text names counters by family, tells units and ends with EOF", () => {
  assertEquals(
    formatExposition(SAMPLES, "openmetrics"),
    `# TYPE a_bytes counter
# UNIT a_bytes bytes
# HELP a_bytes Bytes.
a_bytes_total 42
# TYPE b_seconds gauge
# UNIT b_seconds seconds
# HELP b_seconds Line\\nand \\\\ and \\"quotes\\".
b_seconds{x="q\\"\\\\\\n",y=""} -1.5
b_seconds{x="2"} +Inf
# TYPE old unknown
# HELP old Kept name.
old 3
# EOF
`,
  );
});

const ACCEPTS: readonly (readonly [string | undefined, "prometheus" | "openmetrics"])[] = [
  [undefined, "prometheus"],
  ["*/*", "prometheus"],
  ["text/plain", "prometheus"],
  ["application/openmetrics-text", "openmetrics"],
  [
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "openmetrics",
  ],
  ["application/openmetrics-text;q=0.1, text/plain;q=0.9", "prometheus"],
  ["application/openmetrics-text;q=0", "prometheus"],
  ["application/openmetrics-text;q=x", "prometheus"],
  ["Application/OpenMetrics-Text", "openmetrics"],
];

for (const [accept, format] of ACCEPTS) {
  Deno.test(`Accept: ${accept ?? "(none)"} gets ${format}`, () => assertEquals(chooseFormat(accept), format));
}

Deno.test("the kernel's numbers about this process are there and plausible", () => {
  const value = (name: string) => processMetrics(native).find((sample) => sample.definition.name === name)?.value ?? NaN;
  assert(value("process_resident_memory_bytes") > 1e7);
  assert(value("process_cpu_seconds_total") > 0);
  assert(value("process_open_fds") > 2 && value("process_open_fds") < value("process_max_fds"));
  assert(Math.abs(value("process_start_time_seconds") - Date.now() / 1000) < 3600);
});

Deno.test("every family of ours has a help and ends in its unit or in _total", () => {
  for (const definition of Object.values(OPS_METRICS)) {
    assert(definition.help.endsWith("."));
    assert(definition.kind !== "counter" || definition.name.endsWith("_total"));
    assertStringIncludes(definition.name, "postern_");
  }
});
