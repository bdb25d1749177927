/**
 * The connector's connections to its server: one for all services where packets name theirs, one for each where they do not; services
 * that come, go and change while it runs.
 */
import { assert, assertEquals } from "@std/assert";
import { ALPN_V1, ALPN_V2, encodeOpen } from "../../src/core/wire/mod.ts";
import { ConnectorRig, serviceAt, UdpPort } from "./connector_rig_fixture.ts";
import { readUdp, udpPacket } from "./inner_packets_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";
import { Backend, echo } from "./tcp_fixture.ts";

const ENDS = { from: ["100.64.0.1", 40_000], to: ["10.100.0.1", 53] } as const;
const BOTH = [ALPN_V2, ALPN_V1];

const open = (service: string) => {
  const bytes = new Uint8Array(1_100);
  return bytes.slice(0, encodeOpen(bytes, 0, { service, agent: null }));
};
const text = (agent: RawClient, stream: number) => new TextDecoder().decode(new Uint8Array(agent.streams.get(stream) ?? []));

/** The services of each of the connector's connections, as the server sees them. */
const connections = (rig: ServerRig) =>
  rig.status().peers.filter(({ role }) => role === "connector").map(({ services }) => [...services].sort().join(" ")).sort();

/** An agent of ztna-v1 that sends a packet and waits for the answer. */
async function ask(rig: ServerRig, agent: RawClient, question: string): Promise<string> {
  const before = agent.datagrams.length;
  agent.send(udpPacket(ENDS, question));
  await rig.until(() => agent.datagrams.length > before);
  return readUdp(agent.datagrams[before] ?? new Uint8Array()).text;
}

Deno.test("towards a server of ztna-v1 each service has a connection of its own, so that equal packets of two do not mix", async () => {
  await using rig = await ServerRig.start({}, [ALPN_V1]);
  await using web = await UdpPort.open(true);
  await using db = await UdpPort.open(true);
  await using ssh = await UdpPort.open(true);
  const services = [serviceAt("web", web.port), serviceAt("db", db.port), serviceAt("ssh", ssh.port)];
  using connector = await ConnectorRig.start(rig, { services });
  assertEquals(connections(rig), ["db", "ssh", "web"]);
  const { uplink, furtherUplinks, services: states } = connector.status();
  assertEquals([uplink, ...furtherUplinks ?? []].map((one) => [one?.state, one?.protocol]), Array(3).fill(["up", ALPN_V1]));
  assertEquals(states.map(({ state }) => state), Array(3).fill("registered"));
  const agents = [await rig.registered("agent", "web"), await rig.registered("agent", "db")];
  for (const [i, name] of ["to web", "to db", "again to web"].entries()) {
    assertEquals(await ask(rig, agents[i % 2] as RawClient, name), `re: ${name}`);
  }
  assertEquals([web.heard, db.heard].map((heard) => heard.map(({ text }) => text)), [["to web", "again to web"], ["to db"]]);
});

Deno.test("towards a server of ztna-v2 one connection has all services", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port), serviceAt("db", udp.port)] });
  assertEquals(connections(rig), ["db web"]);
  assertEquals([connector.status().uplink?.protocol, connector.status().furtherUplinks], [ALPN_V2, []]);
});

Deno.test("ztna-v1: a service that goes is given back when its sessions have ended, others do not notice, and one that comes is registered", async () => {
  await using rig = await ServerRig.start({}, [ALPN_V1]);
  await using web = await UdpPort.open(true);
  await using db = await UdpPort.open(true);
  const services = [serviceAt("web", web.port), serviceAt("db", db.port)];
  const dns = ["connector.*.ztna"];
  using connector = await ConnectorRig.start(rig, { services, dns });
  const agent = await rig.registered("agent", "db");
  assertEquals(await ask(rig, agent, "one"), "re: one");
  const peers = () => rig.status().peers.filter(({ services }) => services.includes("db")).map(({ id }) => id);
  const [before] = peers();
  assertEquals(connector.reload({ services: [serviceAt("db", db.port), serviceAt("api", web.port)] }), null);
  await rig.until(() => connections(rig).join() === "api,db" && connector.count("registered") === 2);
  assertEquals(await ask(rig, agent, "two"), "re: two");
  assertEquals(new Set(db.heard.map(({ port }) => port)).size, 1, "the flow is the same");
  assertEquals(peers()[0], before, "and so is its connection");
  assertEquals(connector.reload({ services: [serviceAt("web", web.port), serviceAt("db", db.port)] }), null);
  await rig.until(() => connections(rig).join() === "db,web");
  assert(connector.has("service-changed", { service: "api" }) && connector.has("service-ended", { service: "api" }));
});

Deno.test("ztna-v2: a transfer on a service that stays goes through a reload, one of a service that goes may finish, new ones may not begin", async () => {
  await using rig = await ServerRig.start();
  await using backend = new Backend(echo);
  const dns = ["connector.*.ztna"];
  const services = [serviceAt("web", backend.port, "tcp"), serviceAt("db", backend.port, "tcp")];
  using connector = await ConnectorRig.start(rig, { services, dns });
  const agent = await rig.client(["agent.*.ztna"], { protocols: BOTH });
  await rig.until(() => agent.isUp);
  const begin = async (stream: number, service: string) => {
    agent.write(stream, new Uint8Array([...open(service), 0x31]));
    await rig.until(() => (agent.streams.get(stream)?.length ?? 0) >= 4 || agent.ended.has(stream));
    return text(agent, stream).replaceAll("\0", "0");
  };
  const finish = async (stream: number) => {
    agent.write(stream, new Uint8Array([0x32]), true);
    await rig.until(() => agent.ended.has(stream));
    return text(agent, stream).replaceAll("\0", "0");
  };
  assertEquals([await begin(0, "web"), await begin(4, "db")], ["R001", "R001"]);
  const [connection] = rig.status().peers.filter(({ role }) => role === "connector");

  const broken = { ...connector.plan.uplink, tls: { ...connector.plan.uplink.tls, keyPem: new TextEncoder().encode("no key") } };
  const problem = connector.reload({ uplink: broken, services: [serviceAt("api", backend.port)] });
  assert(problem !== null, "a plan that does not fit changes nothing");
  assertEquals(connector.status().services.map(({ id, state }) => [id, state]), [["web", "registered"], ["db", "registered"]]);

  assertEquals(
    connector.reload({ services: [serviceAt("web", backend.port, "tcp"), serviceAt("api", backend.port, "tcp")] }),
    null,
  );
  await rig.until(() => rig.status().services.some(({ id, connectors }) => id === "db" && connectors === 0));
  await rig.until(() => connector.count("registered") === 2);
  assertEquals((await begin(8, "db")).slice(0, 2), "R\x03", "the server knows no connector for it any more");
  assertEquals(await begin(12, "api"), "R001");
  assert(!connector.has("service-ended"));
  assertEquals([await finish(4), await finish(0)], ["R0012", "R0012"]);
  await rig.until(() => connector.has("service-ended", { service: "db", aborted: 0 }));
  const after = rig.status().peers.filter(({ role }) => role === "connector");
  assertEquals(after.map(({ id }) => id), [connection?.id], "all on the connection that there was");
  assertEquals(connector.reload({ services }), null);
  await rig.until(() => rig.status().services.some(({ id, connectors }) => id === "db" && connectors === 1));
  assertEquals(await begin(16, "db"), "R001");
});

Deno.test("a service whose backends are all down is withdrawn and comes back with one of them; an HTTP backend is up when it says so", async () => {
  await using rig = await ServerRig.start();
  let status = 503;
  const requests: string[] = [];
  await using backend = new Backend(async (connection) => {
    const buffer = new Uint8Array(1_000);
    const count = await connection.read(buffer).catch(() => 0) ?? 0;
    requests.push(new TextDecoder().decode(buffer.subarray(0, count)));
    await connection.write(new TextEncoder().encode(`HTTP/1.1 ${status} What it is\r\n\r\n`)).catch(() => {});
    connection.close();
  });
  const http = { ...serviceAt("web", backend.port, "tcp"), check: { kind: "http", path: "/up?x=1" } } as const;
  await using plain = await UdpPort.open(true);
  using connector = await ConnectorRig.start(rig, { services: [http, serviceAt("db", plain.port)] });
  const served = (id: string) => rig.status().services.find((service) => service.id === id)?.connectors ?? 0;
  await rig.until(() => served("web") === 0);
  assertEquals([served("db"), connections(rig)], [1, ["db web"]]);
  await rig.until(() => connector.status().services.map(({ state }) => state).join() === "withdrawn,registered");
  assertEquals(connector.status().backends?.map(({ health }) => health), ["down", "unknown"]);
  const [first] = requests;
  assert(first?.startsWith(`GET /up?x=1 HTTP/1.1\r\nHost: 127.0.0.1:${backend.port}\r\n`) && first.endsWith("\r\n\r\n"), first);
  status = 204;
  await rig.until(() => served("web") === 1);
  await rig.until(() => connector.count("registered") === 2);
});
