/**
 * Direct connections of agents to the connector: who is let in and what for, where replies go, how both sides find each other through
 * the server, and what garbage on the port does: nothing.
 */
import { assert, assertEquals } from "@std/assert";
import { fromHex } from "../../src/base/mod.ts";
import { filterCandidates, makeCandidate } from "../../src/core/signal/mod.ts";
import {
  ALPN_V1,
  ALPN_V2,
  BINDING_MAX_BYTES,
  type BindingMessage,
  decodeBinding,
  encodeBinding,
  encodeOpen,
  type SignalMessage,
} from "../../src/core/wire/mod.ts";
import { createAuthority } from "../pki/mod.ts";
import { ConnectorRig, direct, serviceAt, UdpPort } from "./connector_rig_fixture.ts";
import { readUdp, routed, udpPacket, unrouted } from "./inner_packets_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";
import { Backend, echo } from "./tcp_fixture.ts";

const AGENT = ["100.64.0.1", 40_000] as const;
const WEB = ["10.100.0.1", 53] as const;
const DB = ["10.100.0.2", 53] as const;
const DESTINATIONS = [
  { service: "web", address: WEB[0], port: null },
  { service: "db", address: DB[0], port: null },
];

const open = (service: string) => {
  const bytes = new Uint8Array(1_100);
  return bytes.slice(0, encodeOpen(bytes, 0, { service, agent: null }));
};
const text = (bytes: readonly number[]) => new TextDecoder().decode(new Uint8Array(bytes));

Deno.test("ztna-v2: packets and streams take the direct way, and answers come back on it", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  await using tcp = new Backend(echo);
  const services = [serviceAt("web", udp.port, "udp"), serviceAt("db", tcp.port, "tcp")];
  using connector = await ConnectorRig.start(rig, { services, destinations: DESTINATIONS, p2p: true });
  const agent = await rig.client(["agent.web.ztna", "agent.db.ztna"], direct(connector));
  await rig.until(() => agent.addresses.length > 0);
  const [seen] = agent.addresses;
  assert(seen?.kind === "qad" && seen.address.ip === "127.0.0.1", "the connector tells the agent its address");
  agent.send(routed("web", udpPacket({ from: AGENT, to: WEB }, "hello")));
  await rig.until(() => agent.datagrams.length > 0);
  const { service, packet } = unrouted(agent.datagrams[0] ?? new Uint8Array());
  const { from, to, text: answer } = readUdp(packet);
  assertEquals([service, from, to, answer], ["web", [...WEB], [...AGENT], "re: hello"]);
  agent.write(0, new Uint8Array([...open("db"), ...new TextEncoder().encode("direct")]), true);
  await rig.until(() => agent.ended.has(0));
  assertEquals(text(agent.streams.get(0) ?? []), "R\0\0direct");
  const [peer] = connector.status().peers;
  assertEquals([peer?.role, peer?.services, peer?.protocol], ["agent", ["web", "db"], ALPN_V2]);
  assertEquals([connector.count("p2pAccepted"), connector.count("p2pConnections")], [1, 1]);
  assertEquals(rig.count("relayedDatagrams"), 0, "nothing went through the server");
  agent.send(fromHex("5a1000000007") ?? new Uint8Array());
  await rig.until(() => agent.datagrams.length > 1);
  assertEquals([...agent.datagrams[1] ?? []], [...fromHex("5a1100000007") ?? []]);
});

Deno.test("ztna-v1: packets go to the service of their destination, and answers come through the server", async () => {
  await using rig = await ServerRig.start();
  await using web = await UdpPort.open(true);
  await using db = await UdpPort.open(true);
  const services = [serviceAt("web", web.port, "udp"), serviceAt("db", db.port, "udp")];
  using connector = await ConnectorRig.start(rig, { services, destinations: DESTINATIONS, p2p: true });
  const names = ["agent.db.ztna"];
  const relayed = await rig.client(names, {}, { commonName: "v1-agent" });
  await rig.until(() => relayed.isUp);
  assertEquals(await rig.register(relayed, "agent", "db"), "ack");
  relayed.send(udpPacket({ from: AGENT, to: DB }, "by the server"));
  await rig.until(() => relayed.datagrams.length === 1);
  const agent = await rig.client(names, direct(connector, { protocols: [ALPN_V1] }), { commonName: "v1-agent" });
  await rig.until(() => agent.addresses.length > 0);
  agent.send(udpPacket({ from: AGENT, to: DB }, "directly"));
  await rig.until(() => relayed.datagrams.length === 2);
  assertEquals(readUdp(relayed.datagrams[1] ?? new Uint8Array()).text, "re: directly");
  assertEquals(agent.datagrams, [], "an agent of ztna-v1 takes no packets there");
  assertEquals(db.heard.map(({ text }) => text), ["by the server", "directly"]);
  assertEquals(
    new Set(db.heard.map(({ port }) => port)).size,
    2,
    "nobody speaks in the flow of another who has the same addresses",
  );
  assertEquals(connector.count("packetFlows"), 2);
  agent.send(udpPacket({ from: AGENT, to: WEB }, "not mine"));
  await rig.until(() => connector.count("droppedUnauthorised") === 1);
  assertEquals(web.heard, []);
  agent.write(0, open("db"));
  await rig.until(() => agent.ended.has(0));
  assert(agent.isUp, "a stream that has no meaning ends, and the connection stays");
  agent.close();
  await rig.until(() => connector.count("packetFlows") === 1);
  relayed.send(udpPacket({ from: AGENT, to: DB }, "still there"));
  await rig.until(() => relayed.datagrams.length === 3);
  assertEquals(new Set(db.heard.map(({ port }) => port)).size, 2, "its own flow goes on");
});

Deno.test("whom the connector does not let in, and what those may not who are let in", async () => {
  await using rig = await ServerRig.start();
  await using web = await UdpPort.open(true);
  await using db = await UdpPort.open(true);
  const services = [serviceAt("web", web.port), serviceAt("db", db.port)];
  using connector = await ConnectorRig.start(rig, { services, destinations: DESTINATIONS, p2p: true });
  const foreign = await createAuthority({ commonName: "Foreign CA" });
  const names = { commonName: "intruder", dns: ["agent.web.ztna"], eku: ["clientAuth"] as const };
  const knock = async (client: RawClient) => {
    client.send(routed("web", udpPacket({ from: AGENT, to: WEB }, "evil")));
    await rig.until(() => client.ending !== null);
    return [client.ending?.info?.isApplication, client.ending?.info?.code];
  };
  // TLS alerts (RFC 8446 §6.2): certificate_required, unknown_ca, certificate_expired.
  assertEquals(await knock(rig.dial(null, direct(connector))), [false, 0x100 + 116]);
  assertEquals(await knock(rig.dial(await foreign.issue(names), direct(connector))), [false, 0x100 + 48]);
  const past = { notBefore: new Date(Date.now() - 9e8), notAfter: new Date(Date.now() - 8e8) };
  assertEquals(await knock(rig.dial(await rig.authority.issue({ ...names, ...past }), direct(connector))), [false, 0x100 + 45]);
  for (const dns of [["connector.web.ztna"], ["agent.other.ztna"], ["agent.web.example"]]) {
    assertEquals(await knock(await rig.client(dns, direct(connector))), [true, 0x101], dns[0]);
  }
  await rig.until(() => connector.count("p2pRefused") === 6);
  assertEquals([connector.count("p2pAccepted"), web.heard, db.heard], [0, [], []]);

  const agent = await rig.client(["agent.web.ztna"], direct(connector));
  await rig.until(() => agent.addresses.length > 0);
  agent.send(routed("db", udpPacket({ from: AGENT, to: DB }, "evil")));
  agent.send(routed("ghost", udpPacket({ from: AGENT, to: DB }, "evil")));
  agent.send(routed("web", udpPacket({ from: AGENT, to: ["10.100.0.77", 53] }, "evil")));
  agent.send(udpPacket({ from: AGENT, to: WEB }, "evil"));
  agent.send(fromHex("110477656231") ?? new Uint8Array());
  await rig.until(() => connector.count("droppedUnknownService") === 2 && connector.count("droppedKind") === 1);
  assertEquals([connector.count("droppedUnauthorised"), web.heard, db.heard], [1, [], []]);
  const answers: string[] = [];
  for (const [i, service] of ["db", "ghost"].entries()) {
    agent.write(4 * i, open(service));
    await rig.until(() => agent.ended.has(4 * i));
    answers.push(text(agent.streams.get(4 * i) ?? []));
  }
  assertEquals(answers[0], answers[1], "nobody learns which services there are");
  assertEquals(answers[0]?.slice(0, 2), "R\x01");
  assertEquals([connector.count("tlsConnections"), connector.count("tlsFailures")], [4, 3]);
  const told = connector.events.map(({ event_type }) => event_type).filter((type) => type !== "tls_connection");
  const threeTimes = (type: string) => [type, type, type];
  assertEquals(told.toSorted(), [...threeTimes("auth_failure"), "certificate_expired", ...threeTimes("handshake_failure")]);
});

Deno.test("connection IDs of direct connections and of the one to the server change while packets flow, and none is lost", async () => {
  await using rig = await ServerRig.start({ cidRotationMs: 120 });
  await using udp = await UdpPort.open(true);
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port)], p2p: true, cidRotationMs: 100 });
  const names = ["agent.web.ztna"];
  const agent = await rig.client(names, direct(connector, { activeIdLimit: 2, rotationMs: 130 }));
  const relayed = await rig.registered("agent", "web");
  await rig.until(() => agent.addresses.length > 0);
  for (let n = 0; n < 60 || connector.count("rotations") < 12; n++) {
    agent.send(routed("web", udpPacket({ from: AGENT, to: WEB }, `${n}`)));
    relayed.send(udpPacket({ from: AGENT, to: WEB }, `${n}`));
    await rig.until(() => agent.datagrams.length === n + 1 && relayed.datagrams.length === n + 1);
    await rig.pause(10);
  }
  assertEquals([agent.isUp, relayed.isUp, connector.count("p2pConnections"), connector.count("reconnections")], [true, true, 1, 0]);
});

Deno.test("one direct agent, on however many connections, leaves most streams to others, and does not fill the log", async () => {
  await using rig = await ServerRig.start();
  await using tcp = new Backend(echo);
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", tcp.port, "tcp")], p2p: true });
  const identity = await rig.authority.issue({ commonName: "greedy", dns: ["agent.web.ztna"], eku: ["clientAuth"] });
  const [one, two] = [rig.dial(identity, direct(connector)), rig.dial(identity, direct(connector))];
  const other = await rig.client(["agent.web.ztna"], direct(connector));
  await rig.until(() => [one, two, other].every(({ addresses }) => addresses.length > 0));
  for (let i = 0; i < 150; i++) for (const agent of [one, two]) agent.write(4 * i, open("web"));
  const answers = () => [one, two].flatMap(({ streams }) => [...streams.values()]).filter((bytes) => bytes.length >= 2);
  await rig.until(() => answers().length === 300, 30_000);
  const refused = answers().filter(([, code]) => code !== 0).length;
  assertEquals([refused, connector.count("refusedBusy"), connector.count("activeStreams")], [44, 44, 256]);
  other.write(0, new Uint8Array([...open("web"), 0x31]));
  await rig.until(() => (other.streams.get(0)?.length ?? 0) >= 4);
  assertEquals(text(other.streams.get(0) ?? []), "R\0\x001");
  for (let i = 1; i <= 600; i++) other.write(4 * i, open("ghost"), true);
  await rig.until(() => other.ended.size === 600, 30_000);
  const lines = connector.logs.filter(({ event }) => event === "stream-refused").length;
  assert(lines > 0 && lines < 400, `${lines} lines`);
});

const offer = (service: string, port: number): SignalMessage => ({
  kind: "candidate-offer",
  sessionId: 77n,
  service,
  candidates: [makeCandidate("host", { ip: "127.0.0.1", port })],
});

for (const protocol of [ALPN_V1, ALPN_V2]) {
  Deno.test(`${protocol}: through the server both sides learn each other's addresses, and the connector checks from its side`, async () => {
    await using rig = await ServerRig.start();
    await using udp = await UdpPort.open(true);
    await using socket = await UdpPort.open();
    using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port)], p2p: true });
    const agent = await rig.registered("agent", "web", { protocols: [protocol] });
    agent.signal(0, offer("web", socket.port));
    await rig.until(() => agent.signals.length > 0 && socket.heard.length > 0);
    const [start] = agent.signals;
    assert(start?.kind === "start-punching");
    const addresses = start.candidates.map(({ type, address }) => [type, address.ip, address.port]);
    assertEquals(addresses, [["server-reflexive", "127.0.0.1", connector.p2pPort]]);
    assertEquals(filterCandidates(start.candidates, { allowLoopback: true }), [...start.candidates]);

    const request = bindingOf(socket.heard[0]?.bytes);
    assert(request?.kind === "binding-request");
    assertEquals(socket.heard[0]?.port, connector.p2pPort, "the check comes from the port that agents dial");
    await rig.until(() => socket.heard.length >= 2);
    const mine = { kind: "binding-request", transactionId: "ab".repeat(12), priority: 5n, useCandidate: false } as const;
    await socket.send(bytesOf(mine), connector.p2pPort);
    const stranger = { kind: "binding-response", transactionId: "cd".repeat(12), success: true, mappedAddress: null } as const;
    await socket.send(bytesOf(stranger), connector.p2pPort);
    await rig.until(() => socket.heard.some(({ bytes }) => bindingOf(bytes)?.kind === "binding-response"));
    const answer = socket.heard.map(({ bytes }) => bindingOf(bytes)).find((message) => message?.kind === "binding-response");
    const mappedAddress = { ip: "127.0.0.1", port: socket.port };
    assertEquals(answer, { kind: "binding-response", transactionId: mine.transactionId, success: true, mappedAddress });
    await rig.until(() => connector.count("p2pDroppedControl") >= 1);
    assertEquals(connector.count("p2pPunched"), 0);
    const { transactionId } = request;
    await socket.send(bytesOf({ ...stranger, transactionId, mappedAddress }), connector.p2pPort);
    await rig.until(() => connector.count("p2pPunched") >= 1);
    await rig.pause(50);
    const sent = socket.heard.length;
    await rig.pause(500);
    assertEquals(socket.heard.length, sent, "what was answered is asked no more");
    assertEquals(connector.count("signalsAnswered"), 1);
  });
}

Deno.test("without a certificate for it nothing listens, and offers are refused so that the agent hears of it", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port)] });
  assertEquals(connector.p2pPort, 0);
  for (const protocol of [ALPN_V1, ALPN_V2]) {
    const agent = await rig.registered("agent", "web", { protocols: [protocol] });
    agent.signal(0, offer("web", 5_000));
    await rig.until(() => agent.signals.length > 0);
    const [error] = agent.signals;
    assert(error?.kind === "error");
    assertEquals([error.code, error.sessionId], ["peer-rejected", 77n]);
    agent.close();
  }
  assertEquals(connector.count("signalsRefused"), 2);
});

Deno.test("keepalives are answered outside of QUIC in their exact form, and no faster than the limit", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  await using socket = await UdpPort.open();
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port)], p2p: true });
  const say = async (hex: string) => await socket.send(fromHex(hex) ?? new Uint8Array(), connector.p2pPort);
  for (const hex of ["5a1000000001", "5a10000000", "101000000001", "5a1100000001", "5a1200000001", "5a1000000002"]) await say(hex);
  await rig.until(() => socket.heard.length === 2);
  assertEquals(socket.heard.map(({ bytes }) => [...bytes]), ["5a1100000001", "5a1100000002"].map((hex) => [...fromHex(hex) ?? []]));
  for (let i = 0; i < 2_000; i++) await say("5a1000000003");
  await rig.until(() => connector.count("p2pKeepalives") + connector.count("p2pDroppedLimit") >= 1_900);
  assert(connector.count("p2pDroppedLimit") > 200, `${connector.count("p2pDroppedLimit")} over the limit`);
});

Deno.test("garbage on the port: whatever it is, nobody else notices, nothing grows, and the log stays short", async () => {
  await using rig = await ServerRig.start();
  await using udp = await UdpPort.open(true);
  await using socket = await UdpPort.open();
  using connector = await ConnectorRig.start(rig, { services: [serviceAt("web", udp.port)], p2p: true });
  const agent = await rig.client(["agent.web.ztna"], direct(connector));
  await rig.until(() => agent.addresses.length > 0);
  const random = randomOf(17);
  const samples = [
    "5a1000000001",
    "5a1100000001",
    "5a000000000102030405060708090a0b0c887766554433221100",
    "5a010000000102030405060708090a0b0c010100000000cb00710531d4",
    // The first bytes of an Initial of version 1 and of another one.
    "c300000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
    "c3babababa088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
  ].map((hex) => fromHex(hex) ?? new Uint8Array());
  const logged = connector.logs.length;
  const memoryBefore = Deno.memoryUsage().rss;
  for (let i = 0; i < GARBAGE_PACKETS; i++) {
    await socket.send(garbage(random, samples), connector.p2pPort);
    if (i % 50 === 0) rig.turn();
    if (i % 10_000 !== 0) continue;
    // In the midst of it the agent is served.
    const before = agent.datagrams.length;
    agent.send(routed("web", udpPacket({ from: AGENT, to: WEB }, `${i}`)));
    await rig.until(() => agent.datagrams.length > before);
  }
  await rig.pause(300);
  const { peers, uplink } = connector.status();
  assertEquals([peers.length, uplink?.state], [1, "up"]);
  const dropped = ["p2pDroppedMalformed", "p2pDroppedUnknown", "p2pDroppedControl", "p2pDroppedLimit"] as const;
  for (const metric of dropped.slice(0, 3)) assert(connector.count(metric) > 0, metric);
  const counted = dropped.reduce((sum, metric) => sum + connector.count(metric), 0) + connector.count("p2pKeepalives") +
    connector.count("p2pBindings");
  assert(counted > GARBAGE_PACKETS * 0.5, `${counted} counted`);
  assert(connector.logs.length - logged < 20, `${connector.logs.length - logged} lines`);
  const grown = Deno.memoryUsage().rss - memoryBefore;
  assert(grown < 64 * 1024 * 1024, `${grown} bytes more`);
});

const GARBAGE_PACKETS = 100_000;

/** Reproducible numbers (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Random bytes, random bytes behind the magic one, or something real with some of its bytes changed, cut or longer. */
function garbage(random: () => number, samples: readonly Uint8Array[]): Uint8Array {
  const kind = Math.floor(random() * 4);
  if (kind < 2) {
    const bytes = new Uint8Array(Math.floor(random() * (kind === 0 ? 1_400 : 60)) + 1).map(() => Math.floor(random() * 256));
    if (kind === 1) bytes[0] = 0x5a;
    return bytes;
  }
  const sample = samples[Math.floor(random() * samples.length)] ?? new Uint8Array(1);
  const bytes = new Uint8Array(kind === 2 ? sample.length : Math.floor(random() * 1_300) + 1);
  bytes.set(sample.subarray(0, bytes.length));
  for (let changes = Math.floor(random() * 3); changes > 0; changes--) {
    bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
  }
  return bytes;
}

function bindingOf(bytes: Uint8Array | undefined): BindingMessage | null {
  if (bytes === undefined) return null;
  const message = decodeBinding(bytes, 0, bytes.length);
  return message.kind === "malformed" ? null : message;
}

function bytesOf(message: BindingMessage): Uint8Array {
  const bytes = new Uint8Array(BINDING_MAX_BYTES);
  return bytes.slice(0, encodeBinding(bytes, 0, message));
}
