import { assertEquals } from "@std/assert";
import { NetStack, type NetStackOwner } from "../../core/netstack/mod.ts";
import { packetMemory } from "../../core/wire/mod.ts";
import { WAITING_PACKETS_MAX } from "./limits.ts";
import { PacketLinks } from "./packet_links.ts";
import { AGENT_ADDRESS, AgentServices } from "./services.ts";

const NOBODY: NetStackOwner = {
  onSyn: () => null,
  onSynRefused: () => {},
  onFlow: () => null,
  answersEcho: () => false,
  onPathReady: () => {},
};

Deno.test("while a registration is not answered the newest packets of its service wait; older ones are dropped and counted", () => {
  const services = new AgentServices([], AGENT_ADDRESS);
  const links = new PacketLinks(new NetStack(NOBODY, { entropy: new Uint8Array(16) }), new Map());
  const [web, dns] = ["web", "dns"].map((id) => services.open(id));
  if (web === undefined || web === null || dns === undefined || dns === null) throw new Error("no service");
  const link = links.open(web);
  const more = 6, all = WAITING_PACKETS_MAX + more;
  const lost = Array.from({ length: all }, (_, i) => links.wait(link, Uint8Array.of(9, i, i), 1, 2));
  assertEquals(lost.reduce((sum, count) => sum + count, 0), more);
  // Another service has a queue of its own.
  assertEquals(links.wait(links.open(dns), Uint8Array.of(7), 0, 1), 0);
  const memory = packetMemory(16), taken: number[] = [];
  while (link.waiting.count > 0) {
    assertEquals(link.waiting.take(memory, 0, 16), 2);
    taken.push(memory.bytes[0] ?? -1);
  }
  assertEquals(taken, Array.from({ length: WAITING_PACKETS_MAX }, (_, i) => more + i));
  // The connection is gone, and what waited with it.
  links.wait(link, Uint8Array.of(1), 0, 1);
  assertEquals([links.forgetWaiting(), links.forgetWaiting()], [2, 0]);
});
