/**
 * Direct connections to the compiled connector by another implementation of QUIC (aioquic): it is let in with the right certificate,
 * answered directly on ztna-v2 and through the server on ztna-v1, and turned away without.
 */
import { assertEquals } from "@std/assert";
import { lackOfPackages } from "../../tools/python_packages.ts";
import { toHex } from "../../src/base/mod.ts";
import { UdpPort } from "../e2e/connector_rig_fixture.ts";
import { Gateway } from "../e2e/gateway_fixture.ts";
import { readUdp, routed, udpPacket, unrouted } from "../e2e/inner_packets_fixture.ts";
import { Backend, echo } from "../e2e/tcp_fixture.ts";
import { hexOf, openOf, PythonPeer } from "./aioquic_fixture.ts";

const lack = await lackOfPackages("aioquic");
const ENDS = { from: ["100.64.0.1", 40_000], to: ["10.100.0.1", 53] } as const;

const bytesOf = (hex: unknown) => Uint8Array.from(String(hex).match(/../g) ?? [], (byte) => parseInt(byte, 16));

Deno.test({
  name: lack === undefined ? "aioquic connects to the connector itself" : `aioquic connects directly [needs aioquic: ${lack}]`,
  ignore: lack !== undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using udp = await UdpPort.open(true);
    await using tcp = new Backend(echo);
    await using gateway = await Gateway.empty();
    const { pki } = gateway;
    await gateway.startServer();
    const [agentFiles, strangerFiles, connectorFiles, direct] = await Promise.all([
      pki.issue("direct-agent", { dns: ["agent.web.ztna", "agent.db.ztna"], eku: ["clientAuth"] }),
      pki.issue("stranger", { dns: ["agent.other.ztna"], eku: ["clientAuth"] }),
      pki.issue("direct-connector", { dns: ["connector.web.ztna", "connector.db.ztna"], eku: ["clientAuth"] }),
      pki.issue("p2p", { dns: ["ztna-connector"], eku: ["serverAuth"] }),
    ]);
    const flags = ["--service", `web=127.0.0.1:${udp.port}/udp`, "--service-ip", "web=10.100.0.1", "--p2p-bind", "127.0.0.1:0"];
    const connector = await gateway.startConnector({ db: tcp.port }, connectorFiles, ...flags, ...[
      "--p2p-cert",
      direct.cert,
      "--p2p-key",
      direct.key,
    ]);
    await connector.until("registered", { service: "web" });
    const [port] = await connector.ports();
    const options = { server: `127.0.0.1:${port}`, serverName: "ztna-connector", ca: pki.caCert, files: agentFiles };

    await using agent = await PythonPeer.admitted({ ...options, alpn: ["ztna-v2", "ztna-v1"] });
    await agent.send(toHex(routed("web", udpPacket(ENDS, "direct"))));
    const { hex } = await agent.next("datagram");
    const { service, packet } = unrouted(bytesOf(hex));
    assertEquals([service, readUdp(packet).text], ["web", "re: direct"]);
    await agent.do({ do: "stream", hex: openOf("db") + hexOf("by a stream"), fin: true });
    assertEquals((await agent.stream(0, "fin")).hex, "520000" + hexOf("by a stream"));

    await using relayed = await PythonPeer.admitted({ server: gateway.serverAddress, ca: pki.caCert, files: agentFiles });
    await relayed.register("agent", "web");
    await relayed.send(toHex(udpPacket(ENDS, "relayed")));
    assertEquals((await relayed.next("udp"))["payload"], "re: relayed");
    await using v1 = await PythonPeer.admitted(options);
    await v1.send(toHex(udpPacket(ENDS, "one way")));
    assertEquals((await relayed.next("udp"))["payload"], "re: one way");
    await v1.silence(200);

    await using stranger = new PythonPeer({ ...options, files: strangerFiles });
    await stranger.next("connected");
    assertEquals((await stranger.next("closed"))["code"], 0x101);
    await using nobody = new PythonPeer({ ...options, files: null });
    await nobody.next("connected");
    assertEquals((await nobody.next("closed"))["code"], 0x100 + 116);
    assertEquals(udp.heard.map(({ text }) => text), ["direct", "relayed", "one way"]);
  },
});
