/** Addresses of clients: reported when they connect and when they change; bound addresses of the server, of both families. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { ALPN_V1, ALPN_V2, type Qad } from "../../src/core/wire/mod.ts";
import { readUdp, udpPacket } from "./inner_packets_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const SERVICE = "10.100.0.2", AGENT = "100.64.0.1";
const up = (text: string) => udpPacket({ from: [AGENT, 4000], to: [SERVICE, 53] }, text);
const portOf = (qad: Qad | undefined) => qad?.kind === "qad" ? qad.address.port : 0;

for (const version of [ALPN_V1, ALPN_V2]) {
  Deno.test(`${version}: a client behind a NAT that changes keeps connection, registration and flows, and is told its address`, async () => {
    await using rig = await ServerRig.start();
    const connector = await rig.registered("connector", "web");
    const agent = await rig.registered("agent", "web", { protocols: [version] });
    await rig.until(() => agent.addresses.length === 1);
    for (let round = 1; round <= 6; round++) {
      agent.rebind();
      agent.send(up(`round ${round}`));
      await rig.until(() => connector.datagrams.length === round && agent.addresses.length === round + 1);
      assertNotEquals(portOf(agent.addresses[round]), portOf(agent.addresses[round - 1]));
      const question = readUdp(connector.datagrams[round - 1]?.slice(0) ?? new Uint8Array());
      connector.send(udpPacket({ from: question.to, to: question.from }, "answer"));
      await rig.until(() => agent.datagrams.length === round);
    }
    await rig.untilCount("migrations", 6);
    const [peer] = rig.status().peers.filter(({ role }) => role === "agent");
    assertEquals(peer?.services, ["web"]);
    assertEquals(peer?.remoteAddress, `127.0.0.1:${portOf(agent.addresses[6])}`);
  });
}

Deno.test("several addresses of both families serve at once, and each client is told its own", async () => {
  const binds = ["127.0.0.1", "127.0.0.2", "::1"].map((address) => ({ address, port: 0 }));
  await using rig = await ServerRig.start({ binds });
  const connector = await rig.registered("connector", "web", { server: { address: "::1", port: rig.port(2) } });
  const agents = [
    await rig.registered("agent", "web", { server: { address: "127.0.0.1", port: rig.port(0) } }),
    await rig.registered("agent", "web", { server: { address: "127.0.0.2", port: rig.port(1) } }),
    await rig.registered("agent", "web", { server: { address: "::1", port: rig.port(2) } }),
  ];
  for (const agent of agents) agent.send(up("hello"));
  await rig.until(() => connector.datagrams.length === 3);
  for (const datagram of connector.datagrams) {
    const { from, to } = readUdp(datagram);
    connector.send(udpPacket({ from: to, to: from }, "and back"));
  }
  await rig.until(() => agents.every((agent) => agent.datagrams.length === 1));
  const ips = [...agents, connector].map(({ addresses: [qad] }) => qad?.kind === "qad" ? qad.address.ip : "");
  assertEquals(ips, ["127.0.0.1", "127.0.0.1", "::1", "::1"]);
});

Deno.test("connection IDs change while datagrams flow both ways between earlier peers, and none is lost", async () => {
  await using rig = await ServerRig.start({ cidRotationMs: 100 });
  // As earlier peers do: two IDs at a time, and a rotation of their own.
  const connector = await rig.registered("connector", "web", { activeIdLimit: 2, rotationMs: 150 });
  const agent = await rig.registered("agent", "web", { activeIdLimit: 2, rotationMs: 130 });
  for (let n = 0; n < 300; n++) {
    agent.send(up(`up ${n}`));
    await rig.until(() => connector.datagrams.length === n + 1);
    const { from, to, text } = readUdp(connector.datagrams[n] ?? new Uint8Array());
    assertEquals(text, `up ${n}`);
    connector.send(udpPacket({ from: to, to: from }, `down ${n}`));
    await rig.until(() => agent.datagrams.length === n + 1);
    if (n % 20 === 0) await rig.pause(60);
  }
  assert(rig.count("rotations") >= 10, `${rig.count("rotations")} rotations`);
  assert(rig.count("connectionIds") <= 12, `${rig.count("connectionIds")} IDs in the table`);
  agent.close();
  connector.close();
  await rig.until(() => rig.count("connectionIds") === 0);
});
