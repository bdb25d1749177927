import { assertEquals } from "@std/assert";
import type { RegistrationReport } from "../uplink/mod.ts";
import { serviceReport } from "./status.ts";

Deno.test("a service shows what its last open was answered, else how far its registration is, and why", () => {
  const of = (registration: RegistrationReport | null, answer = "") => {
    const { state, why, agents } = serviceReport({ id: "web", registration, answer });
    return [state, why, agents];
  };
  assertEquals(of(null), ["pending", "", 0]);
  assertEquals(of({ state: "idle", why: "" }), ["pending", "", 0]);
  assertEquals(of({ state: "pending", why: "" }), ["pending", "", 0]);
  assertEquals(of({ state: "registered", why: "" }), ["registered", "", 0]);
  assertEquals(of({ state: "registered", why: "" }, "accepted"), ["open", "", 1]);
  assertEquals(of({ state: "registered", why: "" }, "no-connector"), ["unserved", "no-connector", 0]);
  assertEquals(of({ state: "registered", why: "" }, "unknown-service"), ["denied", "unknown-service", 0]);
  assertEquals(of({ state: "denied", why: "not-authorised" }, "accepted"), ["denied", "not-authorised", 0]);
  assertEquals(of({ state: "withdrawn", why: "not-authorised" }), ["withdrawn", "not-authorised", 0]);
  assertEquals(of({ state: "denied", why: "no-answer" }), ["pending", "the server does not answer", 0]);
});
