/**
 * ztna-v1 as it stands in docs/WIRE.md, spoken by another implementation of QUIC (aioquic) and by another hand (ztna_v1_peer.py) against
 * the compiled server: registration byte by byte, packets relayed and dropped, certificates refused; and the streams of ztna-v2.
 */
import { assert, assertEquals } from "@std/assert";
import { lackOfPackages } from "../../tools/python_packages.ts";
import { Gateway } from "../e2e/gateway_fixture.ts";
import type { CertificateFiles } from "../e2e/pki_fixture.ts";
import { Backend, echo } from "../e2e/tcp_fixture.ts";
import { hexOf, openOf, PythonPeer, qad } from "./aioquic_fixture.ts";

const lack = await lackOfPackages("aioquic");
let gateway: Gateway;
let agentFiles: CertificateFiles;
let connectorFiles: CertificateFiles;

if (lack === undefined) {
  Deno.test.beforeAll(async () => {
    gateway = await Gateway.empty();
    await gateway.startServer();
    const names = (role: string) => ["web", "db", "never"].map((service) => `${role}.${service}.ztna`);
    agentFiles = await gateway.pki.issue("v1-agent", { dns: names("agent"), eku: ["clientAuth"] });
    connectorFiles = await gateway.pki.issue("v1-connector", { dns: names("connector"), eku: ["clientAuth"] });
  });
  Deno.test.afterAll(async () => await gateway[Symbol.asyncDispose]());
}

/** A row; skipped, with the reason in its name, where the Python packages are not to be had. */
function row(behaviour: string, fn: () => Promise<void>): void {
  const name = lack === undefined ? behaviour : `${behaviour} [needs aioquic: ${lack}]`;
  Deno.test({ name, ignore: lack !== undefined, sanitizeOps: false, sanitizeResources: false, fn });
}

/** A ztna-v1 client that the server has admitted. */
function peer(files: CertificateFiles, alpn?: readonly string[]): Promise<PythonPeer> {
  return PythonPeer.admitted({
    server: gateway.serverAddress,
    ca: gateway.pki.caCert,
    files,
    ...(alpn === undefined ? {} : { alpn }),
  });
}

row("an agent and a connector: their address is reported, each registration is acknowledged, a repetition too", async () => {
  await using agent = await peer(agentFiles);
  await using connector = await peer(connectorFiles);
  await agent.send("1003776562");
  await agent.datagram("120003776562");
  await agent.send("1003776562");
  await agent.datagram("120003776562");
  await connector.send("1103776562");
  await connector.datagram("120003776562");
  // Bytes behind the id are ignored (WIRE 4.1).
  await agent.send("100264620000ff");
  await agent.datagram("12000264" + "62");
});

row("NACK: another service, another role, malformed ids; a frame that is cut is ignored; the connection stays usable", async () => {
  await using agent = await peer(agentFiles);
  const answers = [
    ["1005" + hexOf("other"), "130205" + hexOf("other")],
    ["1103" + hexOf("web"), "130203" + hexOf("web")],
    ["1001ff", "130100"],
    ["1000", "130100"],
    ["1003" + hexOf("WEB"), "130100"],
    ["1003" + hexOf("a b"), "130100"],
    ["1003" + hexOf("web"), "120003" + hexOf("web")],
    // Registered as an agent: no connector any more (WIRE 4.4).
    ["1102" + hexOf("db"), "130202" + hexOf("db")],
  ] as const;
  for (const [question, answer] of answers) {
    await agent.send(question);
    await agent.datagram(answer);
  }
  for (const cut of ["10", "1003", "1003" + hexOf("we"), "11"]) await agent.send(cut);
  await agent.silence();
  await agent.send("1002" + hexOf("db"));
  await agent.datagram("120002" + hexOf("db"));
});

row("a UDP packet reaches the connector as it was, and the answer the agent that asked", async () => {
  await using agent = await peer(agentFiles);
  await using other = await peer(agentFiles);
  await using connector = await peer(connectorFiles);
  await agent.register("agent", "web");
  await other.register("agent", "web");
  await connector.register("connector", "web");
  // WIRE 11: UDP 10.0.0.100:12345 to 127.0.0.1:9999, Hello.
  const packet = "45000021000040004011b1670a0000647f0000013039270f000d000048656c6c6f";
  await agent.send(packet);
  assertEquals((await connector.next("udp"))["hex"], packet);
  await connector.do({ do: "udp", source: "127.0.0.1:9999", destination: "10.0.0.100:12345", payload: "World" });
  const { source, destination, payload, sound } = await agent.next("udp");
  assertEquals({ source, destination, payload, sound }, {
    source: "127.0.0.1:9999",
    destination: "10.0.0.100:12345",
    payload: "World",
    sound: true,
  });
  await other.silence();
});

row("two agents with the same addresses and ports: each gets its own answers", async () => {
  await using first = await peer(agentFiles);
  await using second = await peer(agentFiles);
  await using connector = await peer(connectorFiles);
  await first.register("agent", "web");
  await second.register("agent", "web");
  await connector.register("connector", "web");
  await connector.do({ do: "answer", prefix: "re: " });
  const sources = new Set<unknown>();
  for (let round = 0; round < 5; round++) {
    for (const [agent, name] of [[first, "first"], [second, "second"]] as const) {
      const payload = `${name} ${round}`;
      await agent.do({ do: "udp", source: "100.64.0.1:40000", destination: "10.100.0.1:53", payload });
      const asked = await connector.next("udp");
      assertEquals([asked["payload"], asked["destination"], asked["sound"]], [payload, "10.100.0.1:53", true]);
      sources.add(asked["source"]);
      const answer = await agent.next("udp");
      assertEquals(
        [answer["payload"], answer["source"], answer["destination"], answer["sound"]],
        [`re: ${payload}`, "10.100.0.1:53", "100.64.0.1:40000", true],
      );
    }
  }
  // The connector must be able to tell them apart, or it could not answer them apart.
  assertEquals(sources.size, 2);
});

row(
  "ROUTED goes to the connector of its service without the wrapper; for a service that is not registered it is dropped",
  async () => {
    await using agent = await peer(agentFiles);
    await using web = await peer(connectorFiles);
    await using db = await peer(
      await gateway.pki.issue("v1-connector-2", { dns: ["connector.db.ztna"], eku: ["clientAuth"] }),
    );
    await web.register("connector", "web");
    await db.register("connector", "db");
    await agent.register("agent", "web");
    const flow = { do: "udp", source: "100.64.0.1:1000", destination: "10.100.0.2:2000" };
    await agent.do({ ...flow, payload: "for db", service: "db" });
    await agent.do({ ...flow, payload: "for nobody", service: "other" });
    await gateway.server.until("datagram-dropped", { service: "db" });
    await db.silence();
    await agent.register("agent", "db");
    await agent.do({ ...flow, payload: "for db", service: "db" });
    assertEquals((await db.next("udp"))["payload"], "for db");
    await agent.do({ ...flow, payload: "for web", service: "web" });
    assertEquals((await web.next("udp"))["payload"], "for web");
    // Raw: to the service that was registered first (WIRE 5.1).
    await agent.do({ ...flow, payload: "raw" });
    assertEquals((await web.next("udp"))["payload"], "raw");
    await db.silence(100);
  },
);

for (const [how, renews] of [["a NAT gives them others", false], ["they move by intent", true]] as const) {
  row(`addresses change again and again because ${how}: told each time, and connection, registration and rights stay`, async () => {
    await using agent = await peer(agentFiles);
    await using connector = await peer(connectorFiles);
    await agent.register("agent", "web");
    await connector.register("connector", "web");
    await connector.do({ do: "answer", prefix: "re: " });
    for (let round = 0; round < 20; round++) {
      const mover = round % 2 === 0 ? agent : connector;
      const port = await mover.move(renews);
      // A server cannot know before it hears the mover; the report comes when the new path has proved to work.
      if (mover === connector) await connector.send("1002" + hexOf("db"));
      else await agent.send("1005" + hexOf("other"));
      const answer = mover === connector ? "130202" + hexOf("db") : "130205" + hexOf("other");
      const said = new Set([(await mover.next("datagram"))["hex"], (await mover.next("datagram"))["hex"]]);
      assertEquals(said, new Set([qad(port), answer]));
      const payload = `round ${round}`;
      await agent.do({ do: "udp", source: "100.64.0.1:40000", destination: "10.100.0.1:53", payload });
      assertEquals((await connector.next("udp"))["payload"], payload);
      assertEquals((await agent.next("udp"))["payload"], `re: ${payload}`);
    }
    await Promise.all([agent.silence(100), connector.silence(100)]);
  });
}

row("packets of a client that has not registered, and of a connector that nobody asked, reach nobody", async () => {
  await using agent = await peer(agentFiles);
  await using silent = await peer(agentFiles);
  await using connector = await peer(connectorFiles);
  await agent.register("agent", "web");
  await connector.register("connector", "web");
  await silent.do({ do: "udp", source: "100.64.0.9:1", destination: "10.100.0.2:2", payload: "not registered" });
  await connector.do({ do: "udp", source: "10.100.0.2:2000", destination: "100.64.0.1:1000", payload: "not asked" });
  await Promise.all([agent.silence(), connector.silence(), silent.silence()]);
});

row(
  "a service whose connectors speak ztna-v1 takes no streams: our agent goes on in packets, others are told datagram-only",
  async () => {
    await using connector = await peer(connectorFiles);
    await connector.register("connector", "web");
    await gateway.startAgent(["web"], gateway.pki.agent);
    {
      using _client = await gateway.connect("web");
      const hex = String((await connector.next("datagram"))["hex"]);
      // A TCP SYN in IPv4: version and header length, protocol, flags.
      assertEquals([hex.slice(0, 2), hex.slice(18, 20), hex.slice(66, 68)], ["45", "06", "02"]);
    }
    await gateway.agent.stop();

    await using agent = await peer(agentFiles, ["ztna-v2"]);
    await agent.do({ do: "stream", hex: openOf("web") });
    const { hex, codes } = await agent.stream(0, "fin", "stop");
    assertEquals([hex.slice(0, 4), codes], ["5204", [0, 0]]);
  },
);

row(
  "a stream of ztna-v2 through our connector: accepted, data, half-close; refusals and malformed headers by their codes",
  async () => {
    await using backend = new Backend(echo);
    await gateway.startConnector({ web: backend.port }, gateway.pki.connector);
    await using agent = await peer(agentFiles, ["ztna-v2", "ztna-v1"]);
    assertEquals(agent.events[0]?.["alpn"], "ztna-v2");

    await agent.do({ do: "stream", hex: openOf("web") + hexOf("behind OPEN, "), fin: false });
    await agent.do({ do: "stream", stream: 0, hex: hexOf("and the end"), fin: true });
    assertEquals((await agent.stream(0, "fin")).hex, "520000" + hexOf("behind OPEN, and the end"));

    await agent.do({ do: "stream", hex: openOf("secret"), fin: true });
    assertEquals((await agent.stream(4, "fin")).hex.slice(0, 4), "5201");
    await agent.do({ do: "stream", hex: openOf("never"), fin: true });
    assertEquals((await agent.stream(8, "fin")).hex.slice(0, 4), "5202");

    // An identity is the server's to state, an unknown first byte is nobody's (WIRE 7.1, 7.3).
    for (const [stream, malformed] of [[12, "54000b" + "0100037765620200026d65"], [16, "ff00"]] as const) {
      await agent.do({ do: "stream", hex: malformed });
      assertEquals((await agent.stream(stream, "reset", "stop")).codes, [0x11, 0x11]);
    }
    await gateway.connector.stop();
  },
);

row(
  "certificates: none, of another authority, expired, not for clients, with a short key: refused by TLS and never answered",
  async () => {
    const { authority } = await gateway.pki.foreignAuthority("foreign");
    const dns = ["agent.web.ztna"];
    const yesterday = new Date(Date.now() - 86_400_000), before = new Date(Date.now() - 2 * 86_400_000);
    const cases: readonly (readonly [files: CertificateFiles | null, alert: number])[] = [
      [null, 116],
      [await gateway.pki.issue("v1-foreign", { dns, eku: ["clientAuth"] }, authority), 48],
      [await gateway.pki.issue("v1-expired", { dns, eku: ["clientAuth"], notBefore: before, notAfter: yesterday }), 45],
      [await gateway.pki.issue("v1-server", { dns, eku: ["serverAuth"] }), 43],
      // Our own clients do not even load such a key.
      [await gateway.pki.issue("v1-short-key", { dns, eku: ["clientAuth"], keyType: "rsa1024" }), 42],
    ];
    for (const [files, alert] of cases) {
      await using client = new PythonPeer({ server: gateway.serverAddress, ca: gateway.pki.caCert, files });
      // From its side the handshake is done before the server says no (WIRE 2.9).
      const first = await client.next("connected").catch(() => null);
      const closed = first === null ? client.events.find(({ event }) => event === "closed") : await client.next("closed");
      assertEquals([closed?.["code"], closed?.["application"]], [0x100 + alert, false]);
      assertEquals(client.events.filter(({ event }) => event === "datagram"), []);
    }
  },
);

row("ALPN: ztna-v1 alone is ztna-v1, another protocol is refused", async () => {
  await using v1 = await peer(agentFiles);
  assertEquals(v1.events[0]?.["alpn"], "ztna-v1");
  await using other = new PythonPeer({
    server: gateway.serverAddress,
    ca: gateway.pki.caCert,
    files: agentFiles,
    alpn: ["h3"],
  });
  assertEquals((await other.next("closed"))["code"], 0x100 + 120);
});

row("without required certificates an anonymous client may register only what --allow-anonymous names", async () => {
  await using open = await Gateway.empty();
  await open.startServer("--no-require-client-cert", "--allow-anonymous", "agent:web");
  await open.server.until("settings-warning", { subject: "require_client_cert" });
  await using client = await PythonPeer.admitted({ server: open.serverAddress, ca: open.pki.caCert, files: null });
  await client.send("1103" + hexOf("web"));
  await client.datagram("130203" + hexOf("web"));
  await client.send("1002" + hexOf("db"));
  await client.datagram("130202" + hexOf("db"));
  await client.register("agent", "web");
  assert(client.events.every(({ event }) => event !== "closed"));
});
