/**
 * The datagram path, whole: an agent as earlier ztna-v1 peers are sends IP packets through the server to the connector, which
 * ends TCP, UDP and ICMP itself and speaks to real backends.
 */
import { assert, assertEquals } from "@std/assert";
import { patternOf, sha256 } from "./packet_agent_fixture.ts";
import { runPostern } from "./processes_fixture.ts";
import { PacketGateway } from "./packet_gateway_fixture.ts";
import { Backend, close, closedPort, echo, readToEnd, sleep, writeAll } from "./tcp_fixture.ts";
import { UdpBackend } from "./udp_fixture.ts";

const TRANSFER_BYTES = 8 * 1024 * 1024;
const VIRTUAL = "10.100.0.1:80";

Deno.test("8 MiB each way at once arrive whole, bare and as ROUTED, in packets that fit", async () => {
  await using backend = new Backend(echo);
  await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${backend.port}`);
  for (const isRouted of [false, true]) {
    const [result] = await packets.runAs({ isRouted }, { do: "tcp", to: VIRTUAL, send: TRANSFER_BYTES });
    assertEquals([result?.received, result?.end], [TRANSFER_BYTES, "finished"]);
    assertEquals(result?.sha256, sha256(patternOf(TRANSFER_BYTES)));
    assert((result?.largest ?? Infinity) <= 1310, `a packet of ${result?.largest} bytes`);
  }
});

Deno.test("half-closes: the backend answers after the agent's FIN; the agent sends after the backend's", async () => {
  const heard: string[] = [];
  await using answering = new Backend(async (connection) => {
    const { bytes } = await readToEnd(connection);
    // The connector itself looks whether the backend is there, and says nothing.
    if (bytes.length === 0) return;
    heard.push(sha256(bytes));
    await writeAll(connection, patternOf(TRANSFER_BYTES));
    close(connection);
  });
  await using first = await PacketGateway.start("--service", `web=127.0.0.1:${answering.port}`);
  const [late] = await first.run({ do: "tcp", to: VIRTUAL, send: 1_000_003 });
  assertEquals([late?.received, late?.sha256, late?.end], [TRANSFER_BYTES, sha256(patternOf(TRANSFER_BYTES)), "finished"]);
  await using closing = new Backend(async (connection) => {
    await writeAll(connection, patternOf(300_000));
    await connection.closeWrite();
    const { bytes } = await readToEnd(connection);
    if (bytes.length > 0) heard.push(sha256(bytes));
    close(connection);
  });
  await using second = await PacketGateway.start("--service", `web=127.0.0.1:${closing.port}`);
  const [early] = await second.run({ do: "tcp", to: VIRTUAL, send: 700_001, afterFin: true });
  assertEquals([early?.received, early?.sha256, early?.end], [300_000, sha256(patternOf(300_000)), "finished"]);
  assertEquals(heard, [sha256(patternOf(1_000_003)), sha256(patternOf(700_001))]);
});

Deno.test("RST both ways, a refused backend, a foreign address, a foreign port", async () => {
  const ends: string[] = [];
  await using backend = new Backend(async (connection) => {
    const { bytes, end } = await readToEnd(connection);
    if (bytes.length > 0 || end === "reset") ends.push(end);
  });
  const service = ["--service", `web=127.0.0.1:${backend.port}`, "--service-ip", "10.100.0.1:80"];
  await using packets = await PacketGateway.start(...service);
  const [aborted, foreign, otherPort] = await packets.run(
    { do: "tcp", to: VIRTUAL, send: 5, end: "rst" },
    { do: "tcp", to: "10.100.0.9:80" },
    { do: "tcp", to: "10.100.0.1:81" },
  );
  assertEquals([aborted?.isOpen, aborted?.end], [true, "aborted"]);
  for (const refused of [foreign, otherPort]) assertEquals([refused?.isOpen, refused?.end], [false, "reset"]);
  const warning = await packets.gateway.connector.until("session-refused");
  assertEquals(warning.msg, "TCP SYN to unexpected destination 10.100.0.9, expected 10.100.0.1 port 80. Sending RST.");
  assertEquals(ends, ["reset"]);

  await using none = await PacketGateway.start("--service", `web=127.0.0.1:${closedPort()}`);
  const [refused] = await none.run({ do: "tcp", to: VIRTUAL });
  assertEquals([refused?.isOpen, refused?.end], [false, "reset"]);
  const failed = await none.gateway.connector.until("backend-failed");
  assert(!failed.msg.includes("timeout"), failed.msg);
});

Deno.test("status and flows list TCP sessions with their state at the connector and at the server", async () => {
  const seen = Promise.withResolvers<void>();
  await using backend = new Backend(async (connection) => {
    const bytes = new Uint8Array(100);
    if (await connection.read(bytes) !== null) {
      await writeAll(connection, bytes);
      await seen.promise;
    }
    close(connection);
  });
  await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${backend.port}`);
  const ask = async (role: "server" | "connector", command: string) => {
    const env = { XDG_RUNTIME_DIR: packets.gateway[role].runtimeFolder };
    return JSON.parse((await runPostern([command, "--json"], packets.gateway.folder, env)).stdout);
  };
  const running = packets.run({ do: "tcp", to: VIRTUAL, send: 100, end: "open" });
  let found = await ask("connector", "flows");
  for (let tries = 0; tries < 50 && found.flows[0]?.bytes_from_service !== 100; tries++) found = await ask("connector", "flows");
  const [flow] = found.flows;
  assertEquals([found.total, flow.service, flow.protocol, flow.state], [1, "web", "tcp", "established"]);
  assertEquals([flow.destination, flow.bytes_to_service, flow.bytes_from_service], [VIRTUAL, 100, 100]);
  assert(flow.source.startsWith("100.64.0.1:"), flow.source);
  const status = await ask("connector", "status");
  assertEquals(status.flows[0].state, "established");
  const sessions = status.limits.find(({ name }: { name: string }) => name === "tcp-sessions");
  assertEquals([sessions.used, sessions.max], [1, 1024]);
  const [relayed] = (await ask("server", "flows")).flows;
  assertEquals([relayed.protocol, relayed.agent, relayed.source], ["tcp", "packet-agent", flow.source]);
  assert(relayed.bytes_to_service >= 100 + 40 && relayed.bytes_from_service >= 100 + 40, JSON.stringify(relayed));
  seen.resolve();
  assertEquals((await running)[0]?.end, "finished");
});

Deno.test("a reset by the backend in the midst of a transfer reaches the agent as a reset", async () => {
  await using backend = new Backend(async (connection) => {
    // What has come and was not read makes the kernel end the connection with RST: the rest of the first packet.
    await connection.read(new Uint8Array(1));
    await sleep(300);
    close(connection);
  });
  await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${backend.port}`, "--health", "off");
  // Whether the end or the reset is heard first, and whether there is something to write just then, is chance. More than the kernel's
  // buffers hold, or all of it might be on its way in good order.
  const transfer = { do: "tcp", to: VIRTUAL, send: 16_000_000, end: "open" } as const;
  for (const result of await packets.run(...Array(6).fill(transfer))) {
    assertEquals([result.isOpen, result.end], [true, "reset"]);
  }
});

Deno.test("inner IPv6: TCP, UDP and what is not the service's", async () => {
  await using tcp = new Backend(echo);
  await using udp = await UdpBackend.start();
  const service = ["--service", `web=127.0.0.1:${tcp.port}`, "--service", `web=127.0.0.1:${udp.port}/udp`];
  await using packets = await PacketGateway.start(...service, "--service-ip", "[fd00:100::1]", "--service-ip", "10.100.0.1");
  const [v6, v4, datagrams, foreign] = await packets.run(
    { do: "tcp", to: "[fd00:100::1]:80", send: 300_000 },
    { do: "tcp", to: VIRTUAL, send: 1_000 },
    { do: "udp", to: "[fd00:100::1]:53", payloads: ["six", ""] },
    { do: "tcp", to: "[fd00:100::2]:80" },
  );
  assertEquals([v6?.received, v6?.sha256, v6?.end], [300_000, sha256(patternOf(300_000)), "finished"]);
  assertEquals([v4?.received, v4?.end], [1_000, "finished"]);
  assertEquals([...datagrams?.replies ?? []].sort(), ["re: ", "re: six"]);
  assertEquals([foreign?.isOpen, foreign?.end], [false, "reset"]);
  assert((v6?.largest ?? Infinity) <= 1_310, `a packet of ${v6?.largest} bytes`);
});

Deno.test("UDP: each flow has a socket of its own, replies come from the address that was asked; ping; what nobody serves", async () => {
  await using backend = await UdpBackend.start();
  await using packets = await PacketGateway.start("--service", `web=127.0.0.1:${backend.port}/udp`);
  const [first, second, tcp, foreign, ping] = await packets.run(
    { do: "udp", to: "10.100.0.1:9999", payloads: ["one", "two", ""] },
    { do: "udp", to: "10.100.0.7:53", payloads: ["three"] },
    { do: "tcp", to: VIRTUAL },
    { do: "udp", to: "10.101.0.1:53", payloads: ["four"] },
    // WIRE 11: an echo request from 100.64.0.1 to 10.100.0.1.
    { do: "raw", hex: "45000024000040004001cc33644000010a64000108005435123400016162636465666768" },
  );
  assertEquals([...first?.replies ?? []].sort(), ["re: ", "re: one", "re: two"]);
  assertEquals([second?.replies, second?.strays], [["re: three"], 0]);
  assertEquals(tcp?.end, "reset");
  assertEquals([foreign?.replies, foreign?.refused], [[], 1]);
  assertEquals(ping?.packets, ["45000024000040004001cc330a6400016440000100005c35123400016162636465666768"]);
  assertEquals(backend.senders.size, 2);
});
