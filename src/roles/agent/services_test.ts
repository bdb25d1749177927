import { assertEquals } from "@std/assert";
import { SERVICES_MAX } from "./limits.ts";
import { AgentServices } from "./services.ts";

Deno.test("services have their configured address, or the next one of 10.100.0.0/24 that nobody has", () => {
  const services = new AgentServices([{ service: "db", address: "10.100.0.1" }, { service: "far", address: "192.0.2.9" }]);
  assertEquals(["web", "db", "far", "dns", "web"].map((id) => services.open(id)?.address), [
    "10.100.0.2",
    "10.100.0.1",
    "192.0.2.9",
    "10.100.0.3",
    "10.100.0.2",
  ]);
  assertEquals(services.size, 4);
  const word = new DataView(new Uint8Array([192, 0, 2, 9]).buffer).getInt32(0);
  assertEquals([services.at(word)?.id, services.at(1)?.id], ["far", undefined]);
});

Deno.test("the id of a ROUTED header is compared byte by byte", () => {
  const services = new AgentServices();
  services.open("web");
  const bytes = new TextEncoder().encode("xwebx");
  const named = (offset: number, length: number) => services.named(bytes, offset, length)?.id;
  assertEquals([named(1, 3), named(0, 3), named(1, 2), named(1, 4)], ["web", undefined, undefined, undefined]);
});

Deno.test("an agent speaks of so many services and no more; those that it knows stay", () => {
  const services = new AgentServices();
  for (let i = 0; i < SERVICES_MAX; i++) assertEquals(services.open(`s${i}`) === null, false);
  assertEquals(services.open("one-more"), null);
  assertEquals(services.open("s0")?.id, "s0");
});

Deno.test("what is forgotten makes room, and its address is not the next one's", () => {
  const services = new AgentServices();
  for (let i = 0; i < SERVICES_MAX; i++) services.keep(`s${i}`);
  const [first] = services.all();
  if (first === undefined) throw new Error("no service");
  services.forget(first);
  assertEquals(services.open("next")?.address, `10.100.0.${SERVICES_MAX + 1}`);
  assertEquals([services.named(first.idBytes, 0, first.idBytes.length), services.at(first.ends.destination3)], [null, null]);
  // However many come and go, there is an address.
  const late = services.open("next");
  for (let i = 0, last = late; i < 1_000 && last !== null; i++) {
    services.forget(last);
    last = services.open(`n${i}`);
    assertEquals(last === null, false, `${i}`);
  }
});
