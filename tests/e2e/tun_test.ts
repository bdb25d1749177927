/**
 * The datagram path with the kernel's own TCP, UDP and ICMP at the agent's end and real servers at the other, all of Postern in
 * between: transfers both ways, clean and over a bad path, many connections, slow readers, half-closes, resets, IPv6. As root.
 *
 * POSTERN_TUN_MIB=N for larger transfers.
 */
import { assert, assertEquals } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { LossyPath } from "./lossy_path_fixture.ts";
import { sha256 } from "./packet_agent_fixture.ts";
import { Backend, close, echo, hashToEnd, readToEnd, RudeBackend, SilentPort, sleep, writeAll } from "./tcp_fixture.ts";
import { TUN_NEEDS } from "./tun_fixture.ts";
import { curlBothWays, HttpBackend, slowSink, TunGateway, UdpEcho } from "./tun_gateway_fixture.ts";

const MIB = 1024 * 1024;
const BYTES = Number(Deno.env.get("POSTERN_TUN_MIB") ?? 64) * MIB;
const TROUBLE = { loss: 0.02, duplicate: 0.02, reorder: 0.02, seed: 7 };

function tunTest(name: string, run: () => Promise<void>): void {
  Deno.test(needing(TUN_NEEDS, `Linux through the tunnel's datagrams: ${name}`, run));
}

tunTest("curl downloads and uploads, IPv4 and IPv6", async () => {
  await using http = new HttpBackend();
  await using gateway = await TunGateway.start({ services: { web: `127.0.0.1:${http.port}`, other: "127.0.0.1:9" } });
  const host = await gateway.host();
  const [v4, v6] = gateway.addressesOf("web");
  await curlBothWays(gateway, host, `http://${v4}:80`, BYTES);
  await curlBothWays(gateway, host, `http://[${v6}]:80`, BYTES / 8);
});

tunTest("curl over a path that loses, doubles and reorders two packets of a hundred", async () => {
  await using http = new HttpBackend();
  await using gateway = await TunGateway.start({ services: { web: `127.0.0.1:${http.port}` } });
  await using path = await LossyPath.start(gateway.gateway.serverAddress, TROUBLE);
  const host = await gateway.host({ server: path.address });
  await curlBothWays(gateway, host, `http://${gateway.addressesOf("web")[0]}:80`, BYTES / 4);
  const { passed, lost, doubled, delayed } = path.counts;
  for (const count of [lost, doubled, delayed]) assert(count > passed / 100, `the path was bad: ${count} of ${passed}`);
});

tunTest("two hundred connections at once, and slow readers at either end", async () => {
  await using echoes = new Backend(echo);
  await using slow = new Backend(slowSink);
  await using source = new Backend(sendAsked);
  const services = {
    echo: `127.0.0.1:${echoes.port}`,
    slow: `127.0.0.1:${slow.port}`,
    source: `127.0.0.1:${source.port}`,
  };
  await using gateway = await TunGateway.start({ services });
  const host = await gateway.host();
  const to = (service: string) => ({ to: gateway.addressesOf(service)[0], port: 80 });
  // A source may begin ten sessions in a second.
  const { sources } = host;
  const { good, other } = await host.job({ kind: "many", ...to("echo"), count: 200, bytes: 20_000, sources });
  assertEquals([good, other], [200, []]);
  const [up, down] = await Promise.all([
    host.job({ kind: "upload", ...to("slow"), bytes: 2_000_000 }),
    host.job({ kind: "download", ...to("source"), bytes: 1_000_000, slow: true, window: 8_192 }),
  ]);
  assertEquals(up["reply"], `2000000 ${up["sha256"]}`);
  assertEquals([down["count"], down["same"]], [1_000_000, true]);
});

tunTest("half-closes and resets, both ways", async () => {
  const heard: unknown[] = [];
  const untilHeard = async () => {
    for (let tries = 0; tries < 250 && heard.length === 0; tries++) await sleep(20);
  };
  await using late = new Backend(async (connection) => {
    await writeAll(connection, new Uint8Array(3));
    await connection.closeWrite();
    const { count, sha256: digest, end } = await hashToEnd(connection);
    if (count > 0) heard.push([count, digest, end]);
    close(connection);
  });
  await using listening = new Backend(async (connection) => {
    const { bytes, end } = await readToEnd(connection);
    if (end === "reset") heard.push([bytes.length, end]);
    else if (bytes.length > 0) await writeAll(connection, new TextEncoder().encode(`${bytes.length} ${sha256(bytes)}`));
    close(connection);
  });
  await using rude = new RudeBackend();
  const services = {
    late: `127.0.0.1:${late.port}`,
    listening: `127.0.0.1:${listening.port}`,
    rude: `127.0.0.1:${rude.port}`,
  };
  await using gateway = await TunGateway.start({ services });
  const host = await gateway.host();
  const to = (service: string) => ({ to: gateway.addressesOf(service)[0], port: 80 });

  const afterwards = await host.job({ kind: "late", ...to("late"), bytes: 700_001 });
  assertEquals(afterwards["first"], 3);
  await untilHeard();
  assertEquals(heard.splice(0), [[700_001, afterwards["sha256"], "end"]]);
  const answered = await host.job({ kind: "upload", ...to("listening"), bytes: 700_003 });
  assertEquals(answered["reply"], `700003 ${answered["sha256"]}`);

  assertEquals((await host.job({ kind: "reset", ...to("listening") }))["error"], undefined);
  await untilHeard();
  assertEquals(heard, [[100, "reset"]]);
  assertEquals((await host.job({ kind: "wait", ...to("rude") }))["error"], "ConnectionResetError");
});

tunTest("datagrams, empty ones too, and ping, IPv4 and IPv6", async () => {
  await using udp = await UdpEcho.start();
  await using gateway = await TunGateway.start({ services: { dns: `127.0.0.1:${udp.port}/udp`, other: "127.0.0.1:9" } });
  const host = await gateway.host();
  for (const to of gateway.addressesOf("dns")) {
    const texts = ["hello", "", "x".repeat(1_000)];
    assertEquals((await host.job({ kind: "datagrams", to, port: 53, texts }))["replies"], texts);
    assertEquals((await host.job({ kind: "ping", to, v6: to.includes(":") }))["ok"], true);
    assertEquals((await host.job({ kind: "wait", to, port: 53 }))["error"], "ConnectionRefusedError");
  }
});

tunTest("a backend that never answers delays nobody else", async () => {
  await using echoes = new Backend(echo);
  using silent = new SilentPort();
  await using gateway = await TunGateway.start({
    services: { echo: `127.0.0.1:${echoes.port}`, silent: `127.0.0.1:${silent.port}` },
  });
  const host = await gateway.host();
  const to = (service: string) => ({ to: gateway.addressesOf(service)[0], port: 80 });
  const cycle = async () => {
    const job = { kind: "cycles", ...to("echo"), count: 60, sources: host.sources.slice(100) };
    const { good, seconds } = await host.job(job);
    assertEquals(good, 60);
    return Number(seconds);
  };
  // The first is for warming up.
  await cycle();
  const alone = await cycle();
  const waiting = host.job({ kind: "attempts", ...to("silent"), count: 100, sources: host.sources.slice(0, 100) });
  await sleep(300);
  const beside = await cycle();
  const { ends } = await waiting;
  assertEquals(ends, Array(100).fill("ConnectionRefusedError"));
  assert(beside < 3 * alone + 0.5, `${beside} s beside a hundred connections that wait, ${alone} s without them`);
});

/** Sends as many bytes of the clients' own pattern as the first four bytes ask for. */
async function sendAsked(connection: Deno.TcpConn): Promise<void> {
  const asked = new Uint8Array(4);
  if (await connection.read(asked) === null) return close(connection);
  const count = new DataView(asked.buffer).getUint32(0);
  await writeAll(connection, Uint8Array.from({ length: count }, (_, i) => ((i % 251) * 31 + 2) & 0xff));
  close(connection);
}
