import { assert, assertEquals } from "@std/assert";
import { LogGate } from "./log_gate.ts";

Deno.test("a threshold that is set in one place holds wherever the buffer went", () => {
  const here = new LogGate(), there = new LogGate(here.buffer);
  assert(there.isOn("trace", "stream-closed"), "nothing is left out before anybody says so");
  here.set((event) => event === "uplink-lost" ? "debug" : event === "ready" ? "off" : "warn");
  const seen = (["debug", "info", "warn", "fatal"] as const).map((level) => [
    there.isOn(level, "uplink-lost"),
    there.isOn(level, "ready"),
    there.isOn(level, "stream-closed"),
  ]);
  assertEquals(seen, [[true, false, false], [true, false, false], [true, false, true], [true, false, true]]);
});

Deno.test("what is left out in any isolate is told once, and only of events that may be told of", () => {
  const here = new LogGate(), there = new LogGate(here.buffer);
  for (let i = 0; i < 3; i++) there.leaveOut("registered");
  here.leaveOut("registered");
  there.leaveOut("stream-closed");
  assertEquals(here.takeLeftOut((event) => event === "registered"), [{ event: "registered", count: 4 }]);
  assertEquals(here.takeLeftOut(() => true), [{ event: "stream-closed", count: 1 }]);
  assertEquals(here.takeLeftOut(() => true), []);
});
