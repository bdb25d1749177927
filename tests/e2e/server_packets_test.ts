/** Packets through the server: whose answer is whose, what a version sees of the frame, what is said of packets that do not fit. */
import { assert, assertEquals } from "@std/assert";
import { ALPN_V1, ALPN_V2 } from "../../src/core/wire/mod.ts";
import { readTooBig, readUdp, routed, udpPacket, unrouted } from "./inner_packets_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const SERVICE = "10.100.0.2", AGENT = "100.64.0.1";
const up = (text: string | Uint8Array, port = 4000) => udpPacket({ from: [AGENT, port], to: [SERVICE, 53] }, text);

/** The answer to a packet as it arrived at a connector. */
function answerTo(packet: Uint8Array, text: string | Uint8Array): Uint8Array {
  const { from, to } = readUdp(packet);
  return udpPacket({ from: to, to: from }, text);
}

Deno.test("every answer reaches the agent that asked, though all use one inner address and port", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web");
  const agents = await Promise.all(Array.from({ length: 5 }, () => rig.registered("agent", "web")));
  agents.forEach((agent, n) => agent.send(up(`from ${n}`)));
  await rig.until(() => connector.datagrams.length === agents.length);
  for (const datagram of connector.datagrams) connector.send(answerTo(datagram, `to ${readUdp(datagram).text}`));
  await rig.until(() => agents.every((agent) => agent.datagrams.length > 0));
  agents.forEach((agent, n) => {
    const [packet = new Uint8Array()] = agent.datagrams;
    assertEquals(readUdp(packet), { from: [SERVICE, 53], to: [AGENT, 4000], text: `to from ${n}`, bytes: `to from ${n}`.length });
    assertEquals(agent.datagrams.length, 1);
  });
  await rig.untilCount("flowsRewritten", 4);
});

Deno.test("flows are listed with their peers, ends, and the bytes that were forwarded each way", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web"), agent = await rig.registered("agent", "web");
  for (const text of ["one", "three"]) agent.send(up(text));
  agent.send(up("other port", 4001));
  await rig.until(() => connector.datagrams.length === 3);
  connector.send(answerTo(connector.datagrams[0] ?? new Uint8Array(), "an answer"));
  await rig.until(() => agent.datagrams.length === 1);
  const { flows, flowsTotal, limits, peers } = rig.status();
  const idOf = (role: string) => String(peers.find((peer) => peer.role === role)?.id);
  assertEquals(flowsTotal, 2);
  assertEquals(flows.length, 2);
  const { ageMs, ...flow } = flows.find(({ source }) => source === `${AGENT}:4000`) ?? { ageMs: NaN };
  assert(ageMs >= 0 && ageMs < 10_000, `${ageMs}`);
  assertEquals(flow, {
    service: "web",
    protocol: "udp",
    state: "live",
    agent: { id: idOf("agent"), name: "agent.web.ztna" },
    connector: { id: idOf("connector"), name: "connector.web.ztna" },
    source: `${AGENT}:4000`,
    destination: `${SERVICE}:53`,
    bytesToService: 2 * 28 + "onethree".length,
    bytesFromService: 28 + "an answer".length,
  });
  assertEquals(rig.status(1).flows.length, 1);
  const used = Object.fromEntries(limits.map(({ name, used }) => [name, used]));
  assertEquals([used["connections"], used["packet-flows"], used["services"], used["registered-peers"]], [2, 2, 1, 2]);
  for (const { name, used, max } of limits) assert(max > 0 && used <= max, name);
});

Deno.test("a packet of no flow, one to another service, and one without registration reach nobody and are counted apart", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web");
  const agent = await rig.registered("agent", "web");
  connector.send(udpPacket({ from: [SERVICE, 53], to: [AGENT, 4000] }, "nobody asked"));
  agent.send(routed("other", up("not registered")));
  const stranger = await rig.client(["agent.web.ztna"]);
  await rig.until(() => stranger.isUp);
  stranger.send(up("not registered at all"));
  await rig.untilCount("droppedUnauthorised", 2);
  await rig.untilCount("flow:unknownFlow", 1);
  assertEquals([connector.datagrams.length, agent.datagrams.length], [0, 0]);
  assert(rig.logs.some(({ message }) => message.includes("is not registered for 'other'")));
});

for (const agentVersion of [ALPN_V1, ALPN_V2]) {
  for (const connectorVersion of [ALPN_V1, ALPN_V2]) {
    Deno.test(`${agentVersion} agent, ${connectorVersion} connector: each sees packets in its own frame`, async () => {
      await using rig = await ServerRig.start();
      const connector = await rig.registered("connector", "web", { protocols: [connectorVersion] });
      const agent = await rig.registered("agent", "web", { protocols: [agentVersion] });
      for (const datagram of [up("question"), routed("web", up("question"))]) {
        agent.send(datagram);
        await rig.until(() => connector.datagrams.length > 0);
        const got = connector.datagrams.pop() ?? new Uint8Array();
        const asked = connectorVersion === ALPN_V2 ? unrouted(got) : { service: "web", packet: got };
        assertEquals([asked.service, readUdp(asked.packet).text], ["web", "question"]);
        const answer = answerTo(asked.packet, "answer");
        connector.send(connectorVersion === ALPN_V2 ? routed("web", answer) : answer);
        await rig.until(() => agent.datagrams.length > 0);
        const back = agent.datagrams.pop() ?? new Uint8Array();
        const heard = agentVersion === ALPN_V2 ? unrouted(back) : { service: "web", packet: back };
        assertEquals([heard.service, readUdp(heard.packet).text], ["web", "answer"]);
      }
    });
  }
}

Deno.test("an IPv6 packet goes both ways", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web"), agent = await rig.registered("agent", "web");
  agent.send(udpPacket({ from: ["fd00::1", 4000], to: ["fd00::2", 53] }, "six"));
  await rig.until(() => connector.datagrams.length === 1);
  connector.send(answerTo(connector.datagrams[0] ?? new Uint8Array(), "sixty"));
  await rig.until(() => agent.datagrams.length === 1);
  assertEquals(readUdp(agent.datagrams[0] ?? new Uint8Array()).text, "sixty");
});

for (const version of [ALPN_V1, ALPN_V2]) {
  Deno.test(`${version}: a packet too large for the next connection is answered with the size that passes`, async () => {
    await using rig = await ServerRig.start();
    // The connector takes small UDP payloads only, so that the server can send it less than an agent can send.
    const connector = await rig.registered("connector", "web", { pathMaxBytes: 1200, protocols: [version] });
    const first = await rig.registered("agent", "web", { protocols: [version] });
    const second = await rig.registered("agent", "web", { protocols: [version] });
    const wrap = (packet: Uint8Array) => version === ALPN_V2 ? routed("web", packet) : packet;
    const unwrap = (datagram: Uint8Array) => version === ALPN_V2 ? unrouted(datagram).packet : datagram;
    for (const agent of [first, second]) agent.send(wrap(up("small")));
    await rig.until(() => connector.datagrams.length === 2);
    // The second agent's source is rewritten: what it is told must still be about the packet that it sent.
    for (const agent of [first, second]) {
      const large = up(new Uint8Array(1230));
      assertEquals(agent.send(wrap(large)), 0);
      await rig.until(() => agent.datagrams.length > 0);
      const told = readTooBig(unwrap(agent.datagrams[0] ?? new Uint8Array()));
      assertEquals([told.kind, told.from, told.to], ["too-big", SERVICE, AGENT]);
      assertEquals(told.quote, large.slice(0, told.quote.length));
      // What it says is true: exactly so much passes.
      agent.send(wrap(up(new Uint8Array(told.mtu - 28))));
      await rig.until(() => connector.datagrams.length === 3);
      assertEquals(readUdp(unwrap(connector.datagrams.pop() ?? new Uint8Array())).bytes, told.mtu - 28);
      agent.send(wrap(up(new Uint8Array(told.mtu - 27))));
      await rig.until(() => agent.datagrams.length === 2);
    }
    await rig.untilCount("tooLargeAnswered", 4);
    assertEquals([rig.count("droppedTooLarge"), rig.count("tooLargeAnswered")], [4, 4]);
  });
}

Deno.test("an IPv6 packet too large for the next connection is answered with the size that passes", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web");
  // It may send more than the connector takes, and both carry what IPv6 demands.
  const agent = await rig.registered("agent", "web", { sendMaxBytes: 1_452 });
  const six = (bytes: number) => udpPacket({ from: ["fd00::1", 4000], to: ["fd00::2", 53] }, new Uint8Array(bytes));
  agent.send(six(10));
  await rig.until(() => connector.datagrams.length === 1);
  const large = six(1_330);
  assertEquals(agent.send(large), 0);
  await rig.until(() => agent.datagrams.length > 0);
  const told = readTooBig(agent.datagrams[0] ?? new Uint8Array());
  assertEquals([told.kind, told.from, told.to], ["too-big", "fd00::2", "fd00::1"]);
  assertEquals(told.quote, large.slice(0, told.quote.length));
  assert(told.mtu >= 1280 && told.mtu < large.length, `${told.mtu}`);
  agent.send(six(told.mtu - 48));
  await rig.until(() => connector.datagrams.length === 2);
  agent.send(six(told.mtu - 47));
  await rig.until(() => agent.datagrams.length === 2);
  await rig.untilCount("tooLargeAnswered", 2);
});

Deno.test("a connector learns the size that fits its agent", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web");
  const agent = await rig.registered("agent", "web", { pathMaxBytes: 1200 });
  agent.send(up("question"));
  await rig.until(() => connector.datagrams.length === 1);
  const large = answerTo(connector.datagrams[0] ?? new Uint8Array(), new Uint8Array(1230));
  assertEquals(connector.send(large), 0);
  await rig.until(() => connector.datagrams.length === 2);
  const told = readTooBig(connector.datagrams[1] ?? new Uint8Array());
  assertEquals([told.kind, told.from, told.to, agent.datagrams.length], ["too-big", AGENT, SERVICE, 0]);
  assertEquals(told.quote, large.slice(0, told.quote.length));
});

Deno.test("a packet that is too large holds up nobody behind it, from the first moment of a connection", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web", { pathMaxBytes: 1200 });
  const agent = await rig.registered("agent", "web");
  const started = performance.now();
  agent.send(up(new Uint8Array(1230)));
  agent.send(up("behind it"));
  await rig.until(() => connector.datagrams.length === 1);
  assertEquals(readUdp(connector.datagrams[0] ?? new Uint8Array()).text, "behind it");
  assert(performance.now() - started < 500, `${Math.round(performance.now() - started)} ms`);
});
