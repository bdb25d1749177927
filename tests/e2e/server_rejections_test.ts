/** What the server says of packets that it does not relay, and that nobody gets at a TCP connection of which it knows nothing. */
import { assert, assertEquals } from "@std/assert";
import { ALPN_V2, decodeIcmp, decodeIp, encodeWithdrawal, IcmpHeader, IpHeader, packetMemoryOf } from "../../src/core/wire/mod.ts";
import { Gateway } from "./gateway_fixture.ts";
import { routed, udpPacket, unrouted } from "./inner_packets_fixture.ts";
import { readTcp, type Segment, tcpPacket } from "./inner_segments_fixture.ts";
import type { RawClient } from "./raw_client_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";

const ENDS = { from: ["100.64.0.1", 4000], to: ["10.100.0.1", 80] } as const;
/** Longer than any flow is kept. */
const FORGOTTEN_MS = 300_000;
const BACK = { from: ENDS.to, to: ENDS.from };
const segment = (parts: Partial<Segment>) => tcpPacket(ENDS, parts);

/** The segments that a client got. */
function segments(client: RawClient): Segment[] {
  return client.datagrams.map(readTcp).filter((one) => one !== null);
}

Deno.test("an agent whose service has no connector is told at once: TCP is reset, the rest is unreachable", async () => {
  await using rig = await ServerRig.start();
  const agent = await rig.registered("agent", "web");
  agent.send(segment({ flags: "SYN", sequence: 1000 }));
  agent.send(segment({ flags: "ACK", sequence: 1001, acknowledgement: 77, text: "hello" }));
  agent.send(segment({ flags: "RST", sequence: 1001 }));
  agent.send(udpPacket(ENDS, "a question"));
  await rig.until(() => agent.datagrams.length >= 3);
  assertEquals(segments(agent), [
    { flags: "RST ACK", sequence: 0, acknowledgement: 1001, text: "" },
    { flags: "RST", sequence: 77, acknowledgement: 0, text: "" },
  ]);
  const packet = agent.datagrams[2] ?? new Uint8Array();
  const memory = packetMemoryOf(packet.slice()), ip = new IpHeader(), icmp = new IcmpHeader();
  assertEquals([decodeIp(memory, 0, packet.length, ip), decodeIcmp(memory, ip, icmp)], ["ok", "ok"]);
  assertEquals([icmp.kind, icmp.code], ["unreachable", 1]);
  await rig.until(() => rig.count("rejectedReset") === 2 && rig.count("rejectedUnreachable") === 1);
  assertEquals([rig.count("flow:noConnector"), agent.datagrams.length], [4, 3], "RST is not answered");
});

Deno.test("a withdrawn service rejects what is new, and what there is goes on", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web", { protocols: [ALPN_V2] });
  const agent = await rig.registered("agent", "web", { protocols: [ALPN_V2] });
  const syn = (port: number) => routed("web", tcpPacket({ from: ["100.64.0.1", port], to: ENDS.to }, { flags: "SYN" }));
  agent.send(syn(1));
  await rig.until(() => connector.datagrams.length === 1);
  const bytes = new Uint8Array(300);
  connector.send(bytes.subarray(0, encodeWithdrawal(bytes, 0, "web")));
  await rig.until(() => connector.replies.length === 2);
  agent.send(syn(2));
  await rig.until(() => agent.datagrams.length === 1);
  const { service, packet } = unrouted(agent.datagrams[0] ?? new Uint8Array());
  assertEquals([service, readTcp(packet)?.flags], ["web", "RST ACK"]);
  agent.send(syn(1));
  await rig.until(() => connector.datagrams.length === 2);
});

Deno.test("a segment in the middle of a connection that the server does not know is reset, and reaches no connector", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web"), agent = await rig.registered("agent", "web");
  agent.send(segment({ flags: "ACK", sequence: 5, acknowledgement: 9, text: "in the middle" }));
  agent.send(segment({ flags: "SYN ACK", sequence: 5, acknowledgement: 9 }));
  agent.send(udpPacket(ENDS, "last"));
  await rig.until(() => connector.datagrams.length === 1 && agent.datagrams.length === 2);
  assertEquals(segments(connector), []);
  assertEquals(segments(agent).map(({ flags, sequence }) => [flags, sequence]), [["RST", 9], ["RST", 9]]);
  await rig.until(() => rig.count("flow:midstream") === 2);
});

Deno.test("what a connector still says of an older session ends that session and does not reach the agent who opens a new one", async () => {
  await using rig = await ServerRig.start();
  const connector = await rig.registered("connector", "web"), agent = await rig.registered("agent", "web");
  agent.send(segment({ flags: "SYN", sequence: 100 }));
  await rig.until(() => connector.datagrams.length === 1);
  // RFC 5961 §4: whoever holds a session answers a SYN with an acknowledgement that names its numbers.
  connector.send(tcpPacket(BACK, { flags: "ACK", sequence: 7_000, acknowledgement: 8_000, text: "a secret" }));
  await rig.until(() => connector.datagrams.length === 2);
  assertEquals(segments(connector)[1], { flags: "RST", sequence: 8_000, acknowledgement: 0, text: "" });
  agent.send(segment({ flags: "ACK", sequence: 8_000, acknowledgement: 7_008, text: "injected" }));
  await rig.until(() => agent.datagrams.length === 1);
  assertEquals(segments(agent).map(({ flags, text }) => [flags, text]), [["RST", ""]]);
  // Now there is none: the repeated SYN is answered, and the connection stands.
  agent.send(segment({ flags: "SYN", sequence: 100 }));
  await rig.until(() => connector.datagrams.length === 3);
  connector.send(tcpPacket(BACK, { flags: "SYN ACK", sequence: 500, acknowledgement: 101 }));
  await rig.until(() => agent.datagrams.length === 2);
  agent.send(segment({ flags: "ACK", sequence: 101, acknowledgement: 501, text: "mine" }));
  await rig.until(() => connector.datagrams.length === 4);
  assertEquals(segments(connector).map(({ text }) => text), ["", "", "", "mine"]);
});

Deno.test("one who sends much that is not relayed gets few answers, another still gets his", async () => {
  await using rig = await ServerRig.start();
  const greedy = await rig.registered("agent", "web"), modest = await rig.registered("agent", "web");
  for (let n = 0; n < 600; n++) {
    greedy.send(segment({ flags: "SYN", sequence: n }));
    if (n % 50 === 0) await rig.pause(2);
  }
  await rig.untilCount("rejectionsSuppressed", 1);
  modest.send(segment({ flags: "SYN", sequence: 1 }));
  await rig.until(() => segments(modest).length === 1);
});

/** A backend that says on each connection what it heard on that one. */
function startBackend() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const heard: string[] = [];
  const over = (async () => {
    const connections: Promise<void>[] = [];
    for await (const connection of listener) connections.push(serve(connection, heard.push("") - 1));
    await Promise.all(connections);
  })();
  async function serve(connection: Deno.TcpConn, at: number): Promise<void> {
    const buffer = new Uint8Array(1024);
    try {
      for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
        heard[at] += new TextDecoder().decode(buffer.subarray(0, count));
        await connection.write(new TextEncoder().encode(`answer to ${at}`));
      }
    } catch {
      // A reset is an end as well.
    }
    connection.close();
  }
  return { port: listener.addr.port, heard, close: () => (listener.close(), over) };
}

Deno.test({
  name: "nobody gets at a session that the server has forgotten and a connector still holds, whatever he knows of it",
  // The test runner cannot tell the reading of a process's log from a leak.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const backend = startBackend();
    await using gateway = await Gateway.empty();
    await using rig = await ServerRig.start();
    await startConnector(rig, gateway, backend.port);
    const victim = await rig.registered("agent", "web");
    victim.send(segment({ flags: "SYN", sequence: 1000 }));
    await rig.until(() => segments(victim).length === 1);
    const [{ sequence }] = segments(victim) as [Segment];
    victim.send(segment({ flags: "ACK", sequence: 1001, acknowledgement: sequence + 1, text: "hello" }));
    await rig.until(() => segments(victim).some(({ text }) => text === "answer to 0"));

    // The connector's session lives on; the server remembers nothing of it.
    rig.clockAheadMs += FORGOTTEN_MS;
    await rig.until(() => rig.count("flowsExpired") > 0);
    const attacker = await rig.registered("agent", "web");
    const injection = { flags: "ACK", sequence: 1006, acknowledgement: sequence + 1 + "answer to 0".length, text: "INJECTED" };
    attacker.send(segment(injection));
    await rig.until(() => segments(attacker).length === 1);
    assertEquals(segments(attacker)[0]?.flags, "RST");
    // With a SYN the server has a flow again, and the connector answers for the old session.
    for (let repeat = 0; !segments(attacker).some(({ flags }) => flags === "SYN ACK"); repeat++) {
      assert(repeat < 100, "the new connection does not stand");
      attacker.send(segment({ flags: "SYN", sequence: 50_000 }));
      attacker.send(segment(injection));
      await rig.pause(200);
    }
    const allowed = ["RST", "RST ACK", "SYN ACK"];
    assertEquals(segments(attacker).filter(({ flags }) => !allowed.includes(flags)), []);
    // The victim is told that its connection is no more.
    const before = segments(victim).length;
    victim.send(segment({ flags: "ACK", sequence: 1006, acknowledgement: injection.acknowledgement, text: "still there?" }));
    await rig.until(() => segments(victim).length > before);
    assertEquals(segments(victim)[before]?.flags, "RST");
    assertEquals([backend.heard[0], backend.heard.some((text) => text.includes("INJECTED"))], ["hello", false]);
    await gateway[Symbol.asyncDispose]();
    await backend.close();
  },
});

/** The product's connector as a process, on the server of the rig. */
async function startConnector(rig: ServerRig, gateway: Gateway, backendPort: number): Promise<void> {
  const { certificatePem, privateKeyPem } = await rig.authority.issue({
    commonName: "holder",
    dns: ["connector.web.ztna"],
    eku: ["clientAuth"],
  });
  const file = (name: string, bytes: Uint8Array) => {
    Deno.writeFileSync(`${gateway.folder}/${name}`, bytes, { mode: 0o600 });
    return `${gateway.folder}/${name}`;
  };
  const tls = ["--ca-cert", file("rig-ca.pem", rig.authority.certificatePem)];
  tls.push("--client-cert", file("rig-cert.pem", certificatePem), "--client-key", file("rig-key.pem", privateKeyPem));
  const to = ["--server", `127.0.0.1:${rig.port()}`, "--server-name", "ztna-server"];
  gateway.run(["connector", ...to, ...tls, "--service", `web=127.0.0.1:${backendPort}`, "--health", "off"]);
  await rig.until(() => rig.count("registrations") === 1, 30_000);
}
