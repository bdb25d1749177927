/** What the data plane sends up, and what it keeps. */
import { assertEquals } from "@std/assert";
import { LogThresholds } from "../../base/mod.ts";
import { createCommandChannel } from "./command_ring.ts";
import type { PlaneMessage } from "./messages.ts";
import { Plane, type PlanePlatform } from "./plane.ts";

Deno.test("a record that nobody wants is never sent up, and one that somebody wants again is", () => {
  const posted: PlaneMessage[] = [];
  const platform = { reactor: { add: () => 0 }, post: (message: PlaneMessage) => posted.push(message) } as unknown as PlanePlatform;
  const thresholds = new LogThresholds();
  const plane = new Plane(platform, createCommandChannel(0), new LogThresholds(thresholds.buffer));
  const log = () => {
    plane.log("debug", "stream-closed", "A stream ended");
    plane.log("warn", "stream-refused", "Refused");
    return posted.splice(0).map((message) => message.type === "log" ? message.record.event : message.type);
  };
  assertEquals(log(), ["stream-closed", "stream-refused"]);
  thresholds.set(() => "info");
  assertEquals([log(), plane.isLogged("debug", "stream-closed")], [["stream-refused"], false]);
  thresholds.set(() => "off");
  assertEquals(log(), []);
  thresholds.set((event) => event === "stream-closed" ? "trace" : "off");
  assertEquals([log(), plane.isLogged("debug", "stream-closed")], [["stream-closed"], true]);
});
