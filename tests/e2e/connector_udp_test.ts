/** Datagrams to a service with several backends: one that nobody listens at hands its flows over to the next. */
import { assert, assertEquals } from "@std/assert";
import { ConnectorRig, serviceAt, UdpPort } from "./connector_rig_fixture.ts";
import { readUdp, udpPacket } from "./inner_packets_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const WEB = ["10.100.0.1", 53] as const;
const ICMP = 1, IPV4_PROTOCOL_AT = 9;

/** A port at which nobody listens any more. */
async function closedUdpPort(): Promise<number> {
  await using socket = await UdpPort.open();
  return socket.port;
}

/** Sends until an answer comes, as who uses UDP must: which datagrams are lost is the kernel's to say. */
async function ask(rig: ServerRig, agent: RawClient, port: number, words: string): Promise<string> {
  const from = agent.datagrams.length;
  // A question that was repeated may be answered twice, and late.
  const answers = () =>
    agent.datagrams.slice(from).filter((packet) => packet[IPV4_PROTOCOL_AT] !== ICMP).map(readUdp)
      .filter(({ text }) => text.endsWith(words));
  for (let tries = 0; answers().length === 0 && tries < 200; tries++) {
    agent.send(udpPacket({ from: ["100.64.0.1", port], to: WEB }, words));
    await rig.pause(50);
  }
  return answers()[0]?.text ?? "";
}

Deno.test("a UDP backend that refuses is left for the next one, by its flow and by new ones", async () => {
  await using rig = await ServerRig.start();
  await using live = await UdpPort.open(true);
  const closed = await closedUdpPort();
  const services = [serviceAt("web", closed, "udp"), serviceAt("web", live.port, "udp")];
  using connector = await ConnectorRig.start(rig, { services });
  const agent = await rig.registered("agent", "web");
  assertEquals(await ask(rig, agent, 40_000, "hello"), "re: hello");
  assert(connector.count("droppedBackend") >= 1, "the first one was lost");
  const lost = connector.count("droppedBackend");
  assertEquals(await ask(rig, agent, 40_001, "a flow that begins behind it"), "re: a flow that begins behind it");
  assertEquals(connector.count("droppedBackend"), lost, "and goes to the second one at once");
  const ports = connector.status().flows.map(({ protocol, bytesFromService }) => [protocol, bytesFromService > 0]);
  assertEquals(ports, [["udp", true], ["udp", true]]);
  assertEquals(agent.datagrams.filter((packet) => packet[IPV4_PROTOCOL_AT] === ICMP), [], "the agent hears nothing of it");
});

Deno.test("when every UDP backend refuses, the agent hears that; the first that is there again is found", async () => {
  await using rig = await ServerRig.start();
  const [one, other] = [await closedUdpPort(), await closedUdpPort()];
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", one, "udp"), serviceAt("web", other, "udp")] });
  const agent = await rig.registered("agent", "web");
  for (let tries = 0; agent.datagrams.length === 0 && tries < 200; tries++) {
    agent.send(udpPacket({ from: ["100.64.0.1", 40_000], to: WEB }, "anybody?"));
    await rig.pause(50);
  }
  const [error] = agent.datagrams;
  assertEquals([error?.[IPV4_PROTOCOL_AT], error?.[20], error?.[21]], [ICMP, 3, 3], "port unreachable");
  assert(connector.count("droppedBackend") >= 2);
  await using back = await UdpPort.open(true, "127.0.0.1", one);
  assertEquals(await ask(rig, agent, 40_000, "again"), "re: again");
  assert(back.heard.length > 0);
});

Deno.test("a UDP flow ends after the time that is set, and its next datagram begins another one", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  const packetTimes = { tcpIdleMs: 60_000, tcpDrainMs: 5_000, tcpKeepaliveMs: 60_000, udpIdleMs: 1_000 };
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port, "udp")], packetTimes });
  const agent = await rig.registered("agent", "web");
  assertEquals(await ask(rig, agent, 40_000, "one"), "re: one");
  await rig.until(() => connector.count("packetFlows") === 0);
  assertEquals(connector.count("udpFlowsExpired"), 1);
  assertEquals(await ask(rig, agent, 40_000, "two"), "re: two");
  assertEquals(new Set(udp.heard.map(({ port }) => port)).size, 2);
});
