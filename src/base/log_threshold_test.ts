import { assert, assertEquals } from "@std/assert";
import { LogThresholds } from "./log_threshold.ts";

Deno.test("a threshold that is set in one place holds wherever the buffer went", () => {
  const here = new LogThresholds(), there = new LogThresholds(here.buffer);
  assert(there.isOn("trace", "stream-closed"), "nothing is left out before anybody says so");
  here.set((event) => event === "uplink-lost" ? "debug" : event === "ready" ? "off" : "warn");
  const seen = (["debug", "info", "warn", "fatal"] as const).map((level) => [
    there.isOn(level, "uplink-lost"),
    there.isOn(level, "ready"),
    there.isOn(level, "stream-closed"),
  ]);
  assertEquals(seen, [[true, false, false], [true, false, false], [true, false, true], [true, false, true]]);
});
