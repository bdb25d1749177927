/** What the data plane sends up, and what it keeps. */
import { assertEquals } from "@std/assert";
import { DEFAULT_SAMPLING, LogGate } from "../../base/mod.ts";
import { createCommandChannel } from "./command_ring.ts";
import type { PlaneMessage } from "./messages.ts";
import { Plane, type PlanePlatform } from "./plane.ts";

Deno.test("a record that nobody wants is never sent up, and one that somebody wants again is", () => {
  const posted: PlaneMessage[] = [];
  const platform = {
    reactor: { add: () => 0, nowMs: 0 },
    post: (message: PlaneMessage) => posted.push(message),
  } as unknown as PlanePlatform;
  const gate = new LogGate();
  const plane = new Plane(platform, createCommandChannel(0), new LogGate(gate.buffer));
  const log = () => {
    plane.log("debug", "stream-closed", "A stream ended");
    plane.log("warn", "stream-refused", "Refused");
    return posted.splice(0).map((message) => message.type === "log" ? message.record.event : message.type);
  };
  assertEquals(log(), ["stream-closed", "stream-refused"]);
  gate.set(() => "info");
  assertEquals([log(), plane.isLogged("debug", "stream-closed")], [["stream-refused"], false]);
  gate.set(() => "off");
  assertEquals(log(), []);
  gate.set((event) => event === "stream-closed" ? "trace" : "off");
  assertEquals([log(), plane.isLogged("debug", "stream-closed")], [["stream-closed"], true]);
});

Deno.test("of records that come too fast some are sent up, and all of the others are counted", () => {
  const posted: PlaneMessage[] = [];
  const reactor = { add: () => 0, nowMs: 0 };
  const platform = { reactor, post: (message: PlaneMessage) => posted.push(message) } as unknown as PlanePlatform;
  const gate = new LogGate();
  const plane = new Plane(platform, createCommandChannel(0), new LogGate(gate.buffer));
  for (let i = 0; i < 1000; i++) plane.log("info", "registered", "Registered");
  plane.log("info", "withdrawn", "Another event has room of its own");
  const { burst, perSecond } = DEFAULT_SAMPLING;
  assertEquals(posted.length, burst + 1);
  assertEquals(gate.takeLeftOut(() => true), [{ event: "registered", count: 1000 - burst }]);
  reactor.nowMs = 1000;
  for (let i = 0; i < 1000; i++) plane.log("info", "registered", "Registered");
  assertEquals(posted.length, burst + 1 + perSecond);
});
