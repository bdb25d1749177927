/** SOCKS5 and HTTP CONNECT on one port of the agent: services by name, everything else refused, each in the client's own words. */
import { assert, assertEquals } from "@std/assert";
import { fromHex, toHex } from "../../src/base/mod.ts";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { runPostern } from "./processes_fixture.ts";
import { Backend, close, closedPort, echo, readExactly, readToEnd, writeAll } from "./tcp_fixture.ts";
import { UdpBackend, UdpClient } from "./udp_fixture.ts";

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ninside";
const utf8 = (text: string) => new TextEncoder().encode(text);

/** An agent with nothing but a proxy, and services of which one is not the agent's, one is down and one nobody offers. */
async function startProxy(ports: { readonly web: number; readonly dns?: number }, ...flags: readonly string[]) {
  const gateway = await Gateway.empty();
  const { pki } = gateway;
  const connectorNames = ["web", "dns", "down", "secret"].map((id) => `connector.${id}.ztna`);
  const agentNames = ["web", "dns", "down", "nobody"].map((id) => `agent.${id}.ztna`);
  const [connectorFiles, agentFiles] = await Promise.all([
    pki.issue("proxy-connector", { dns: connectorNames, eku: ["clientAuth"] }),
    pki.issue("proxy-agent", { dns: agentNames, eku: ["clientAuth"] }),
    gateway.startServer(),
  ]);
  const udp = ["--service", `dns=127.0.0.1:${ports.dns ?? closedPort()}/udp`];
  await gateway.startConnector({ web: ports.web, secret: ports.web, down: closedPort() }, connectorFiles, ...udp);
  await gateway.connector.until("registered", { service: "dns" });
  const agent = await gateway.startAgent([], agentFiles, "--proxy", "127.0.0.1:0", ...flags);
  const [port = 0] = await agent.ports();
  return { gateway, agent, port, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

/** A backend that answers any request with {@linkcode ANSWER}. */
function website(): Backend {
  return new Backend(async (connection) => {
    const request = new Uint8Array(4_096);
    if (await connection.read(request) !== null) await writeAll(connection, utf8(ANSWER));
    close(connection);
  });
}

async function curl(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string; readonly said: string }> {
  const { code, stdout, stderr } = await new Deno.Command("curl", {
    args: ["--silent", "--show-error", "--max-time", "30", "--noproxy", "", ...args],
    clearEnv: true,
  }).output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout), said: decoder.decode(stderr) };
}

Deno.test(
  needing({ tools: ["curl"] }, "curl reaches a service through SOCKS5 and through CONNECT, by both of its names", async () => {
    await using backend = website();
    await using proxy = await startProxy({ web: backend.port });
    for (const host of ["web.ztna", "web", "WEB.ztna"]) {
      const socks = await curl("--socks5-hostname", `127.0.0.1:${proxy.port}`, `http://${host}/`);
      assertEquals([socks.code, socks.text], [0, "inside"], socks.said);
      const connect = await curl("--proxytunnel", "-x", `http://127.0.0.1:${proxy.port}`, `http://${host}:8080/`);
      assertEquals([connect.code, connect.text], [0, "inside"], connect.said);
    }
  }),
);

Deno.test(needing({ tools: ["curl"] }, "curl hears 2 and 403 where it may not, 5 and 502 where nobody answers", async () => {
  await using backend = website();
  await using proxy = await startProxy({ web: backend.port });
  const refusals = { secret: ["2", "403"], "secret.ztna": ["2", "403"], "nobody.ztna": ["5", "502"], "down.ztna": ["5", "502"] };
  for (const [host, [code, status]] of Object.entries(refusals)) {
    const socks = await curl("--socks5-hostname", `127.0.0.1:${proxy.port}`, `http://${host}/`);
    assert(socks.code === 97 && socks.said.includes(`(${code})`), `${host}: ${socks.code} ${socks.said}`);
    const connect = await curl("--proxytunnel", "-x", `http://127.0.0.1:${proxy.port}`, `http://${host}/`);
    assert(connect.code !== 0 && connect.said.includes(`${status}`), `${host}: ${connect.code} ${connect.said}`);
  }
}));

Deno.test(needing({ tools: ["curl"] }, "what is not a service is refused, and nothing of it reaches the network", async () => {
  // The name would be this machine's, and the port somebody's.
  await using outside = website();
  await using proxy = await startProxy({ web: closedPort() });
  for (const host of ["localhost.localdomain", "127.0.0.1", "[::1]", "example.com"]) {
    const url = `http://${host}:${outside.port}/`;
    const socks = await curl("--socks5-hostname", `127.0.0.1:${proxy.port}`, url);
    assert(socks.code === 97 && socks.said.includes("(2)"), `${host}: ${socks.said}`);
    const connect = await curl("--proxytunnel", "-x", `http://127.0.0.1:${proxy.port}`, url);
    assert(connect.code !== 0 && connect.said.includes("403"), `${host}: ${connect.said}`);
  }
  // A request that is no CONNECT at all, for a service that there is.
  const plain = await curl("-i", "-x", `http://127.0.0.1:${proxy.port}`, "http://web.ztna/");
  assert(plain.text.startsWith("HTTP/1.1 405 "), plain.text);
  await outside.nothing();
  assertEquals(proxy.gateway.server.linesOf("stream-refused"), []);
}));

/** Says SOCKS5 and asks; returns the reply. */
async function socks(connection: Deno.TcpConn, request: string): Promise<string> {
  await writeAll(connection, fromHex("050100") ?? new Uint8Array());
  assertEquals(toHex(await readExactly(connection, 2)), "0500");
  await writeAll(connection, fromHex(request) ?? new Uint8Array());
  return toHex(await readExactly(connection, 10));
}

const connectTo = (name: string, port = "0050") =>
  `05010003${name.length.toString(16).padStart(2, "0")}${toHex(utf8(name))}${port}`;

Deno.test("what is said right behind the request goes to the service, half-closes and large answers pass", async () => {
  await using backend = new Backend(echo);
  await using proxy = await startProxy({ web: backend.port });
  const body = new Uint8Array(3_000_000).map((_, i) => i * 31);
  for (const hello of [`050100${connectTo("web.ztna")}`, toHex(utf8("CONNECT web:1 HTTP/1.1\r\nHost: web:1\r\n\r\n"))]) {
    using client = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
    const early = utf8("early");
    await writeAll(client, new Uint8Array([...fromHex(hello) ?? [], ...early]));
    const writing = writeAll(client, body).then(() => client.closeWrite());
    const { bytes, end } = await readToEnd(client);
    await writing;
    assertEquals(end, "end");
    const head = hello.startsWith("05") ? 12 : "HTTP/1.1 200 Connection established\r\n\r\n".length;
    assertEquals(bytes.length, head + early.length + body.length);
    assertEquals(bytes.subarray(head + early.length), body);
  }
});

Deno.test("a client of another kind, a silent one and one that asks for what is not offered are told or dropped, others go on", async () => {
  await using backend = new Backend(echo);
  await using proxy = await startProxy({ web: backend.port });
  const connect = () => Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  const ended = async (bytes: Uint8Array) => {
    using client = await connect();
    await writeAll(client, bytes);
    return new TextDecoder().decode((await readToEnd(client)).bytes);
  };
  // SOCKS4, TLS, a method of ours that the client does not have, BIND.
  assertEquals(
    await ended(fromHex("04010050") ?? new Uint8Array()),
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  );
  assert((await ended(fromHex("160301020001") ?? new Uint8Array())).startsWith("HTTP/1.1 400"));
  assertEquals(toHex(utf8(await ended(fromHex("050102") ?? new Uint8Array()))).slice(0, 2), "05");
  {
    using client = await connect();
    assertEquals(await socks(client, "05020001000000000050"), "05070001000000000000");
  }
  using idle = await connect();
  using client = await connect();
  assertEquals((await socks(client, connectTo("web"))).slice(0, 4), "0500");
  await writeAll(client, utf8("hello"));
  assertEquals(new TextDecoder().decode(await readExactly(client, 5)), "hello");
  // It said nothing for ten seconds.
  assertEquals((await readToEnd(idle)).bytes.length, 0);
});

Deno.test("UDP ASSOCIATE: datagrams behind their header, as long as the connection stands", async () => {
  await using backend = await UdpBackend.start();
  await using proxy = await startProxy({ web: closedPort(), dns: backend.port });
  using control = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  const reply = await socks(control, "05030001000000000000");
  assertEquals(reply.slice(0, 16), "050000017f000001");
  const relay = parseInt(reply.slice(16), 16);
  using udp = new UdpClient(relay);
  const header = (name: string) => `00000003${name.length.toString(16).padStart(2, "0")}${toHex(utf8(name))}0035`;
  const ask = async (client: UdpClient, name: string, text: string) => {
    const wanted = header(name) + toHex(utf8(`re: ${text}`));
    await client.ask(fromHex(header(name) + toHex(utf8(text))) ?? "", (bytes) => toHex(bytes) === wanted);
  };
  await ask(udp, "dns.ztna", "one");
  await ask(udp, "dns", "two");
  assertEquals(backend.senders.size, 2, "each name that the client uses is a flow");

  // Not a service, no header, a fragment, a stranger: nothing comes of them.
  using stranger = new UdpClient(relay);
  for (const hex of [header("example.com") + "aa", "00", "000001" + header("dns").slice(6) + "aa"]) udp.send(fromHex(hex) ?? "");
  stranger.send(fromHex(header("dns") + "aa") ?? "");
  await ask(udp, "dns", "three");
  assertEquals([stranger.received.length, backend.senders.size], [0, 2]);

  close(control);
  // The association ends with its connection; the port is the next one's.
  using next = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
  await socks(next, "05030001000000000000");
  await ask(stranger, "dns", "mine now");
  assertEquals(backend.senders.size, 3);
});

Deno.test("however many names a program asks for in vain, those that it may have stay within reach", async () => {
  await using backend = await UdpBackend.start();
  await using proxy = await startProxy({ web: closedPort(), dns: backend.port });
  const header = (name: string) => `00000003${name.length.toString(16).padStart(2, "0")}${toHex(utf8(name))}0035`;
  const question = (name: string) => fromHex(header(name) + toHex(utf8("x"))) ?? new Uint8Array();
  const associate = async () => {
    const control = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
    const udp = new UdpClient(parseInt((await socks(control, "05030001000000000000")).slice(16), 16));
    const dispose = () => {
      close(control);
      udp[Symbol.dispose]();
    };
    return { udp, [Symbol.dispose]: dispose };
  };
  const answers = (name: string) => (bytes: Uint8Array) => toHex(bytes) === header(name) + toHex(utf8("re: x"));
  using first = await associate();
  await first.udp.ask(question("dns"), answers("dns"));
  // An agent speaks of 64 services, a client of 64 of them.
  for (let client = 0; client < 2; client++) {
    using greedy = await associate();
    for (let i = 0; i < 50; i++) greedy.udp.send(question(`vain-${client}-${i}`));
    await greedy.udp.ask(question("dns"), answers("dns"));
  }
  using last = await associate();
  await last.udp.ask(question("dns.ztna"), answers("dns.ztna"));
  // One that nobody asked for before gets the place of one that was denied.
  const env = { XDG_RUNTIME_DIR: proxy.agent.runtimeFolder };
  const status = async () => JSON.parse((await runPostern(["status", "--json"], proxy.gateway.folder, env)).stdout);
  const isThere = ({ id, state }: { id: string; state: string }) => id === "nobody" && state === "registered";
  let seen = await status();
  for (let tries = 0; tries < 100 && !seen.services.some(isThere); tries++) {
    last.udp.send(question("nobody"));
    seen = await status();
  }
  assert(seen.services.some(isThere), JSON.stringify(seen.services));
  assert(seen.services.every(({ state }: { state: string }) => state !== "denied"), JSON.stringify(seen.services));
  assertEquals(seen.phase, "ready");
  assertEquals(seen.limits.find(({ name }: { name: string }) => name === "services").used, 64);
});
