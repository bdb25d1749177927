/**
 * What agents may say to a connector itself through the server, where direct connections go for a while whose own path is lost: with
 * packets that are of no such connection nothing can be begun, filled or reached.
 */
import { assertEquals } from "@std/assert";
import {
  ALPN_V2,
  DETOUR_ADDRESS,
  DETOUR_HEADER_BYTES,
  DETOUR_PORT,
  detourPartBytes,
  encodeDetourHeader,
} from "../../src/core/wire/mod.ts";
import { ConnectorRig, direct, serviceAt, UdpPort } from "./connector_rig_fixture.ts";
import { readUdp, routed, udpPacket, unrouted } from "./inner_packets_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const ITSELF = [DETOUR_ADDRESS, DETOUR_PORT] as const;

/** The parts of a payload for the connector itself, each as a DATAGRAM of the agent whose flow has this port. */
function partsOf(payload: Uint8Array, count: number, port: number): Uint8Array[] {
  const partBytes = detourPartBytes(payload.length, count);
  return Array.from({ length: count }, (_, index) => {
    const bytes = payload.subarray(index * partBytes, (index + 1) * partBytes);
    const part = new Uint8Array(DETOUR_HEADER_BYTES + bytes.length);
    encodeDetourHeader(new DataView(part.buffer), 0, 1, index, count, payload.length);
    part.set(bytes, DETOUR_HEADER_BYTES);
    return routed("web", udpPacket({ from: ["100.64.0.1", port], to: ITSELF }, part));
  });
}

Deno.test("behind the server nobody begins a direct connection, and packets of none reach no backend and take no place for long", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port, "udp")], p2p: true });
  const agent = await rig.client(["agent.web.ztna"], { protocols: [ALPN_V2] });
  await rig.until(() => agent.isUp);
  assertEquals(await rig.register(agent, "agent", "web"), "ack");
  // The first byte of an Initial, as one that begins a connection sends it.
  const initial = new Uint8Array(1_200).fill(0xc0), short = new Uint8Array(1_200).fill(0x40);
  for (const part of partsOf(initial, 2, 50_000)) agent.send(part);
  await rig.until(() => connector.count("p2pDetourDropped") === 1);
  const strayBefore = connector.count("p2pDroppedUnknown");
  for (const part of partsOf(short, 2, 50_000)) agent.send(part);
  await rig.until(() => connector.count("p2pDetourReceived") === 1);
  // No parts, of another protocol, or at another port of the connector.
  const odd = [
    routed("web", udpPacket({ from: ["100.64.0.1", 50_000], to: ITSELF }, "no part")),
    routed("web", udpPacket({ from: ["100.64.0.1", 50_000], to: [DETOUR_ADDRESS, DETOUR_PORT + 1] }, "elsewhere")),
  ];
  for (const packet of odd) agent.send(packet);
  await rig.until(() => connector.count("p2pDetourDropped") === 3);
  // More flows than there are places for.
  for (let i = 0; i < 100; i++) for (const part of partsOf(short, 1, 51_000 + i)) agent.send(part);
  await rig.until(() => connector.count("p2pDetourDropped") > 3);
  await rig.until(() => connector.count("p2pDroppedUnknown") > strayBefore);
  assertEquals([connector.count("p2pAccepted"), connector.count("p2pRefused"), udp.heard.length], [0, 0, 0]);
  // What agents say to services goes on, and who comes directly is let in.
  agent.send(routed("web", udpPacket({ from: ["100.64.0.1", 40_000], to: ["10.100.0.1", 53] }, "hello")));
  const answers = () =>
    agent.datagrams.filter(([kind]) => kind === 0x2f).map((datagram) => readUdp(unrouted(datagram).packet))
      .filter(({ from }) => from[0] === "10.100.0.1").map(({ text }) => text);
  await rig.until(() => answers().length > 0);
  assertEquals(answers(), ["re: hello"]);
  const other = await rig.client(["agent.web.ztna"], direct(connector));
  await rig.until(() => other.addresses.length > 0);
});
