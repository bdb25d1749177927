/** TCP in packets: to servers that know no streams, and to services whose connectors know none. */
import { assert, assertEquals } from "@std/assert";
import { ALPN_V1 } from "../../src/core/wire/mod.ts";
import { AgentRig } from "./agent_rig_fixture.ts";
import { ConnectorRig, serviceAt } from "./connector_rig_fixture.ts";
import { LossyPath } from "./lossy_path_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";
import { assertArrived, Backend, close, closedPort, echo, exchange, readToEnd, writeAll } from "./tcp_fixture.ts";
import { UdpBackend, UdpClient } from "./udp_fixture.ts";

const LOOPBACK = "127.0.0.1";
const utf8 = (text: string) => new TextEncoder().encode(text);

Deno.test("to a server of ztna-v1: transfers, half-closes and resets pass in packets, and UDP beside them", async () => {
  await using rig = await ServerRig.start({}, [ALPN_V1]);
  await using backend = new Backend(echo);
  await using udp = await UdpBackend.start();
  await using late = new Backend(async (connection) => {
    const { bytes } = await readToEnd(connection);
    await writeAll(connection, utf8(`${bytes.length} bytes`));
    close(connection);
  });
  const services = [serviceAt("web", backend.port), serviceAt("dns", udp.port, "udp"), serviceAt("late", late.port)];
  using _connector = await ConnectorRig.start(rig, { services });
  using agent = await AgentRig.start(rig, ["web", "dns/udp", "late"]);
  const [web = 0, dns = 0, latePort = 0] = agent.ports;
  assertEquals(agent.status().uplink?.protocol, ALPN_V1);
  const body = new Uint8Array(2_000_000).map((_, i) => i * 13 + (i >> 9));
  const heard = await agent.during(exchange(web, body));
  assertArrived(heard, body);
  const counted = await agent.during(exchange(latePort, body));
  assertEquals([counted.end, new TextDecoder().decode(counted.bytes)], ["end", "2000000 bytes"]);
  using client = new UdpClient(dns);
  assertEquals(await agent.during(client.hear("in packets")), "re: in packets");
  assert(agent.count("packetsSent") > 1_000, `${agent.count("packetsSent")}`);
});

Deno.test("to a server of ztna-v1: a refused backend is a reset, and what the certificate does not allow is refused at once", async () => {
  await using rig = await ServerRig.start({}, [ALPN_V1]);
  const services = [serviceAt("web", closedPort()), serviceAt("secret", closedPort())];
  using _connector = await ConnectorRig.start(rig, { services });
  using agent = await AgentRig.start(rig, ["web", "secret"], ["agent.web.ztna"]);
  const [web = 0, secret = 0] = agent.ports;
  for (const [port, code] of [[web, "backend-refused"], [secret, "denied"]] as const) {
    assertEquals((await agent.during(exchange(port, utf8("hello")))).end, "reset");
    assert(agent.logs.some(({ event, fields }) => event === "stream-refused" && fields["code"] === code), code);
  }
  assertEquals(agent.status().flowsTotal, 0);
});

/** A connector of "web" that takes agents in directly, with a certificate that says whose it is. */
async function directConnector(rig: ServerRig, port: number, protocols?: readonly string[]): Promise<ConnectorRig> {
  const dns = ["ztna-connector", "connector.web.ztna"];
  const { certificatePem, privateKeyPem } = await rig.authority.issue({ commonName: "ztna-connector", dns });
  const tls = { certificatePem, keyPem: privateKeyPem, trustPem: rig.authority.certificatePem };
  const services = [serviceAt("web", port)];
  return await ConnectorRig.start(rig, {
    services,
    p2p: { tls, hostAddresses: [LOOPBACK] },
    ...protocols === undefined ? {} : { protocols },
  });
}

Deno.test("through a server of ztna-v1 a direct path to a connector of ztna-v2 is found too, and taken", async () => {
  await using rig = await ServerRig.start({}, [ALPN_V1]);
  await using backend = new Backend(echo);
  using _connector = await directConnector(rig, backend.port);
  using agent = await AgentRig.start(rig, ["web"], undefined, undefined, { direct: { hostAddresses: [LOOPBACK] } });
  const [web = 0] = agent.ports;
  const body = new Uint8Array(300_000).map((_, i) => i * 23);
  // The first goes in packets, and meanwhile both sides hear of each other.
  assertArrived(await agent.during(exchange(web, body)), body);
  await rig.until(() => agent.logs.some(({ event }) => event === "direct-opened"));
  assertArrived(await agent.during(exchange(web, body)), body);
  assertEquals([agent.count("streamsDirect"), agent.count("streamsRelayed")], [1, 0]);
});

Deno.test("datagrams take a direct path from their flow's first one to its last, and begin another by the server when that is gone", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpBackend.start();
  const connector = await directConnector(rig, udp.port);
  using _connector = connector;
  using agent = await AgentRig.start(rig, ["web/udp"], undefined, undefined, { direct: { hostAddresses: [LOOPBACK] } });
  const [web = 0] = agent.ports;
  const counts = () => [agent.count("packetsDirect"), connector.count("p2pAccepted")];
  using first = new UdpClient(web);
  assertEquals(await agent.during(first.hear("by the server")), "re: by the server");
  // A flow of datagrams alone is reason enough to look for the connector.
  await rig.until(() => agent.logs.some(({ event }) => event === "direct-opened"));
  assertEquals(await agent.during(first.hear("still by the server")), "re: still by the server");
  assertEquals(counts(), [0, 1]);
  using second = new UdpClient(web);
  for (let i = 1; i <= 3; i++) {
    assertEquals(await agent.during(second.hear(`direct ${i}`)), `re: direct ${i}`);
    assertEquals(counts(), [i, 1]);
  }
  assert(connector.status().flows.length === 2);
  const [peer] = connector.status().peers;
  connector.connector.onCommand({ type: "disconnect", id: 1, peer: peer?.id ?? 0 }, rig.world.reactor.nowMs);
  await rig.until(() => agent.logs.some(({ event }) => event === "direct-closed"));
  assertEquals(await agent.during(second.hear("by the server again")), "re: by the server again");
  assertEquals(counts(), [3, 1]);
});

Deno.test("a connector that speaks ztna-v1 on its own port is reached by the server, of either version", async () => {
  for (const protocols of [[ALPN_V1], undefined]) {
    await using rig = await ServerRig.start({}, protocols);
    await using backend = new Backend(echo);
    using _connector = await directConnector(rig, backend.port, [ALPN_V1]);
    using agent = await AgentRig.start(rig, ["web"], undefined, undefined, { direct: { hostAddresses: [LOOPBACK] } });
    const [web = 0] = agent.ports;
    const body = new Uint8Array(100_000).map((_, i) => i * 23);
    assertArrived(await agent.during(exchange(web, body)), body);
    await rig.until(() => agent.logs.some(({ event }) => event === "direct-failed"));
    const failed = agent.logs.find(({ event }) => event === "direct-failed");
    assert(String(failed?.fields["why"]).includes("it speaks ztna-v1 only"), String(failed?.fields["why"]));
    assertArrived(await agent.during(exchange(web, body)), body);
    assertEquals(agent.count("directConnections"), 0);
  }
});

Deno.test("a service whose connectors know no streams is reached in packets, others by streams, on one connection", async () => {
  await using rig = await ServerRig.start();
  await using old = new Backend(echo);
  await using modern = new Backend(echo);
  using _old = await ConnectorRig.start(rig, { services: [serviceAt("old", old.port)], protocols: [ALPN_V1] });
  using _modern = await ConnectorRig.start(rig, { services: [serviceAt("new", modern.port)] });
  using agent = await AgentRig.start(rig, ["old", "new"]);
  const [oldPort = 0, newPort = 0] = agent.ports;
  const body = new Uint8Array(500_000).map((_, i) => i * 29);
  for (let round = 0; round < 2; round++) {
    for (const port of [oldPort, newPort]) assertArrived(await agent.during(exchange(port, body)), body);
  }
  // The first open asked for a stream; since then it is known.
  assertEquals([rig.count("datagramOnly"), agent.count("datagramOnly")], [1, 0]);
  assertEquals(agent.status().services.map(({ state }) => state), ["open", "open"]);
});

Deno.test("a pool with connectors of both kinds: opens go to the one that knows streams", async () => {
  await using rig = await ServerRig.start();
  await using old = new Backend(echo);
  await using modern = new Backend(echo);
  using _old = await ConnectorRig.start(rig, { services: [serviceAt("web", old.port)], protocols: [ALPN_V1] });
  using _modern = await ConnectorRig.start(rig, { services: [serviceAt("web", modern.port)], commonName: "other" });
  using agent = await AgentRig.start(rig, ["web"]);
  const [port = 0] = agent.ports;
  for (let i = 0; i < 6; i++) {
    const heard = await agent.during(exchange(port, utf8(`${i}`)));
    assertEquals(new TextDecoder().decode(heard.bytes), `${i}`);
  }
  await old.nothing();
});

Deno.test("what goes in packets goes on when the agent's connection to the server is a new one", async () => {
  await using rig = await ServerRig.start({}, [ALPN_V1]);
  await using backend = new Backend(echo);
  using _connector = await ConnectorRig.start(rig, { services: [serviceAt("web", backend.port)] });
  using agent = await AgentRig.start(rig, ["web"]);
  using client = await Deno.connect({ hostname: LOOPBACK, port: agent.ports[0] ?? 0 });
  const say = async (text: string) => {
    await writeAll(client, utf8(text));
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < bytes.length;) at += await client.read(bytes.subarray(at)) ?? Infinity;
    return new TextDecoder().decode(bytes);
  };
  assertEquals(await agent.during(say("before")), "before");
  const peer = rig.status().peers.find(({ role }) => role === "agent");
  rig.server.onCommand({ type: "disconnect", id: 1, peer: peer?.id ?? -1 }, rig.world.reactor.nowMs);
  await rig.until(() => agent.count("reconnections") === 1 && agent.status().uplink?.state === "up");
  assertEquals(await agent.during(say("after")), "after");
});

Deno.test("in packets over a path that loses, doubles, reorders and changes its address: every byte arrives", async () => {
  await using rig = await ServerRig.start();
  const port = rig.port();
  await using path = await LossyPath.start(`${LOOPBACK}:${port}`, {
    ...{ loss: 0.02, duplicate: 0.02, reorder: 0.02, seed: 3 },
    ...{ rebindEveryMs: 1_000, bytesPerSecond: 500_000 },
  });
  await using backend = new Backend(echo);
  using _connector = await ConnectorRig.start(rig, { services: [serviceAt("web", backend.port)], protocols: [ALPN_V1] });
  using agent = await AgentRig.start(rig, ["web"], undefined, Number(path.address.split(":")[1]));
  const body = new Uint8Array(600_000).map((_, i) => i * 37 + (i >> 8));
  assertArrived(await agent.during(exchange(agent.ports[0] ?? 0, body)), body);
  assert(agent.count("packetsSent") > 400, `${agent.count("packetsSent")}`);
  const { lost, doubled, rebinds } = path.counts;
  assert(Math.min(lost, doubled, rebinds) > 0, JSON.stringify(path.counts));
});
