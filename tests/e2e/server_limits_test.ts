/** Limits of the server: each is enforced, counted under its name, and felt by nobody but the one who exceeds it. */
import { assert, assertEquals } from "@std/assert";
import { RATE_LIMITS } from "../../src/core/ratelimit/mod.ts";
import { udpPacket } from "./inner_packets_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const SERVICE_IP = "10.100.0.2", AGENT_IP = "100.64.0.1";
const packet = (port: number, text: string) => udpPacket({ from: [AGENT_IP, port], to: [SERVICE_IP, 53] }, text);

Deno.test("registrations: the eleventh in a moment is told so, another client registers on", async () => {
  const registrations = { ...RATE_LIMITS.registrations, connection: { perSecond: 1, burst: 3 } };
  await using rig = await ServerRig.start({ limits: { ...RATE_LIMITS, registrations } });
  const greedy = await rig.client(["agent.*.ztna"]), other = await rig.client(["agent.*.ztna"]);
  await rig.until(() => greedy.isUp && other.isUp);
  const statuses: string[] = [];
  for (let n = 0; n < 5; n++) statuses.push(await rig.register(greedy, "agent", `svc${n}`));
  assertEquals(statuses, ["ack", "ack", "ack", "rate-limited", "rate-limited"]);
  assertEquals(await rig.register(other, "agent", "svc0"), "ack");
  await rig.untilCount("limit:registrations-per-connection", 2);
  assertEquals(rig.events.filter(({ event_type }) => event_type === "rate_limited").length, 1, "told once");
});

Deno.test("services: a connection has as many as it may have", async () => {
  await using rig = await ServerRig.start({ limits: { ...RATE_LIMITS, services: { ...RATE_LIMITS.services, connection: 2 } } });
  const client = await rig.client(["agent.*.ztna"]);
  await rig.until(() => client.isUp);
  const statuses: string[] = [];
  for (const service of ["a", "b", "c", "a"]) statuses.push(await rig.register(client, "agent", service));
  assertEquals(statuses, ["ack", "ack", "rate-limited", "ack"]);
});

Deno.test("datagrams: what is too much is dropped and counted, the other agent's arrive all", async () => {
  const datagrams = { ...RATE_LIMITS.datagrams, connection: { perSecond: 1, burst: 50 } };
  await using rig = await ServerRig.start({ limits: { ...RATE_LIMITS, datagrams } });
  const connector = await rig.registered("connector", "web");
  const greedy = await rig.registered("agent", "web"), modest = await rig.registered("agent", "web");
  for (let n = 0; n < 200; n++) {
    greedy.send(packet(1000, `greedy ${n}`));
    if (n % 10 === 0) modest.send(packet(2000, `modest ${n}`));
    if (n % 20 === 0) await rig.pause(2);
  }
  const text = () => connector.datagrams.map((datagram) => new TextDecoder().decode(datagram.subarray(28)));
  await rig.until(() => text().filter((one) => one.startsWith("modest")).length === 20);
  const greedyArrived = () => text().filter((one) => one.startsWith("greedy")).length;
  await rig.until(() => greedyArrived() + rig.count("droppedOverLimit") === 200);
  assert(greedyArrived() >= 40 && greedyArrived() <= 70, `${greedyArrived()} of the greedy one's arrived`);
  // The limiter's own count is shown at the next look at the gauges.
  await rig.until(() => rig.count("limit:datagrams-per-connection") === rig.count("droppedOverLimit"));
  assertEquals(rig.logs.filter(({ event }) => event === "limit-exceeded").length, 1, "no flood in the log");
});

Deno.test("bytes: a connection's payload is limited by itself", async () => {
  const bytes = { ...RATE_LIMITS.bytes, connection: { perSecond: 1_000, burst: 65_536 } };
  await using rig = await ServerRig.start({ limits: { ...RATE_LIMITS, bytes } });
  const connector = await rig.registered("connector", "web");
  const greedy = await rig.registered("agent", "web");
  for (let n = 0; n < 100; n++) {
    greedy.send(packet(1000, "x".repeat(1_000)));
    if (n % 10 === 0) await rig.pause(2);
  }
  await rig.untilCount("limit:bytes-per-connection", 20);
  assert(connector.datagrams.length >= 50 && connector.datagrams.length <= 66, `${connector.datagrams.length} arrived`);
});

Deno.test("connections per source: one more is not let in, and is let in when another has gone", async () => {
  await using rig = await ServerRig.start({ limits: { ...RATE_LIMITS, connections: { source: 2, all: 10 } } });
  const [first, second] = [await rig.client(["agent.a.ztna"]), await rig.client(["agent.a.ztna"])];
  await rig.until(() => first.isUp && second.isUp);
  const third = await rig.client(["agent.a.ztna"]);
  await rig.untilCount("limit:connections-per-source", 1);
  assert(!third.isUp);
  assertEquals(await rig.register(first, "agent", "a"), "ack");
  first.close();
  // The client asks again by itself: its packets are repeated.
  await rig.until(() => third.isUp);
});

Deno.test("handshakes per source: a burst is let in, the rest waits for its second", async () => {
  const handshakes = { source: { perSecond: 2, burst: 3 }, all: null };
  await using rig = await ServerRig.start({ limits: { ...RATE_LIMITS, handshakes } });
  const clients = await Promise.all(Array.from({ length: 6 }, () => rig.client(["agent.a.ztna"])));
  await rig.untilCount("limit:handshakes-per-source", 1);
  assert(clients.filter((client) => client.isUp).length <= 4);
  await rig.until(() => clients.every((client) => client.isUp));
});

Deno.test("a limit changes while connections live", async () => {
  await using rig = await ServerRig.start();
  const client = await rig.client(["agent.*.ztna"]);
  await rig.until(() => client.isUp);
  assertEquals(await rig.register(client, "agent", "a"), "ack");
  assertEquals(rig.reload({ limits: { ...RATE_LIMITS, services: { ...RATE_LIMITS.services, connection: 1 } } }).error, null);
  assertEquals(await rig.register(client, "agent", "b"), "rate-limited");
  const registrations = { ...RATE_LIMITS.registrations, connection: { perSecond: 1, burst: 1 } };
  assertEquals(rig.reload({ limits: { ...RATE_LIMITS, registrations } }).error, null);
  assertEquals([await rig.register(client, "agent", "b"), await rig.register(client, "agent", "c")], ["ack", "rate-limited"]);
});
