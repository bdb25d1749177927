/** `postern probe` against a whole gateway: its lines on standard output and its exit codes are what scripts read. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import { BINARY, runPostern } from "./processes_fixture.ts";
import { closedPort } from "./tcp_fixture.ts";
import { UdpBackend, withUdpEcho } from "./udp_fixture.ts";

/** A gateway with the UDP service `echo`, and the flags of a probe that may use it. */
async function startGateway(port: number) {
  const gateway = await Gateway.empty();
  const { pki } = gateway;
  const [connectorFiles, agentFiles] = await Promise.all([
    pki.issue("probe-connector", { dns: ["connector.echo.ztna"], eku: ["clientAuth"] }),
    pki.issue("probe-agent", { dns: ["agent.echo.ztna"], eku: ["clientAuth"] }),
    gateway.startServer(),
  ]);
  const connector = await gateway.startConnector({}, connectorFiles, "--service", `echo=127.0.0.1:${port}/udp`);
  await connector.until("registered", { service: "echo" });
  const flags = gateway.uplinkFlags(agentFiles);
  const probe = async (...args: readonly string[]) => {
    const { code, stdout, said } = await runPostern(["probe", ...flags, ...waiting(args)], gateway.folder);
    return { code, lines: stdout.split("\n").filter((line) => line !== ""), said };
  };
  return { gateway, flags, probe, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

/** The words with one `--wait`: the last of them, or three seconds. */
function waiting(args: readonly string[]): readonly string[] {
  const ms = args.findLast((_, i) => args[i - 1] === "--wait") ?? "3000";
  return [...args.filter((word, i) => word !== "--wait" && args[i - 1] !== "--wait"), "--wait", ms];
}

const numberIn = (lines: readonly string[], name: string) =>
  Number(lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1) ?? NaN);
const hex = (text: string) => [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

Deno.test("probe: the server's words, the sizes of the connection, and the time of the handshake", async () => {
  await using setup = await startGateway(closedPort());
  const { code, lines, said } = await setup.probe("--service", "echo", "--query-max-size", "--measure-handshake");
  assertEquals(code, 0, said);
  // 1350 bytes of UDP, less what QUIC needs with IDs of 16 to 20 bytes.
  const size = numberIn(lines, "MAX_DGRAM_SIZE");
  assert(size >= 1306 && size <= 1310, `${size}`);
  assertEquals(numberIn(lines, "MAX_UDP_PAYLOAD"), size - 28);
  assert(numberIn(lines, "HANDSHAKE_US") > 0);
  assertMatch(said, /Connection established!\nRegistering as Agent for service 'echo'\nRegistration answered: ack\n/);
  const raw = await setup.probe("--send-hex", "10046563686f");
  assertEquals([raw.code, raw.lines.includes("RECV:12000" + "4" + hex("echo"))], [0, true], raw.lines.join());
  const denied = await setup.probe("--send-hex", "10056f74686572");
  assert(denied.lines.includes("RECV:130205" + hex("other")), denied.lines.join());
});

Deno.test("probe: packets there and back: compared, measured, in bursts, at the bounds of size", async () => {
  await withUdpEcho(async (port) => {
    await using setup = await startGateway(port);
    const to = ["--service", "echo", "--dst", "10.100.0.1:7", "--wait", "10000"];
    const echoed = await setup.probe(
      ...to,
      "--payload-size",
      "600",
      "--payload-pattern",
      "random",
      "--repeat",
      "3",
      "--verify-echo",
    );
    assertEquals(echoed.lines.filter((line) => line.startsWith("VERIFY_")), [
      "VERIFY_MATCHES:3",
      "VERIFY_MISMATCHES:0",
      "VERIFY_TOTAL:3",
      "VERIFY_RESULT:PASS",
    ], echoed.said);
    assertEquals(echoed.code, 0);
    const measured = await setup.probe(...to, "--send-udp", "ping", "--measure-rtt", "--rtt-count", "5");
    assertEquals([numberIn(measured.lines, "RTT_COUNT"), numberIn(measured.lines, "RTT_TIMEOUTS")], [5, 0]);
    const [min, median, max] = ["RTT_MIN_US", "RTT_P50_US", "RTT_MAX_US"].map((name) => numberIn(measured.lines, name));
    assert(min !== undefined && median !== undefined && max !== undefined && 0 < min && min <= median && median <= max);
    const burst = await setup.probe(...to, "--send-udp", "x", "--burst", "50", "--wait", "500");
    assertEquals(numberIn(burst.lines, "BURST_SENT"), 50);
    assert(numberIn(burst.lines, "BURST_PPS") > 0);
    // As much as goes at all is taken; one byte more is not.
    for (const size of ["max-1", "max"]) assertEquals((await setup.probe(...to, "--payload-size", size, "--wait", "100")).code, 0);
    for (const way of [[], ["--burst", "3"], ["--measure-rtt"]]) {
      const over = await setup.probe(...to, "--payload-size", "max+1", ...way);
      assertEquals(over.code, 1, way.join());
      assert(over.said.includes("BufferTooShort"), over.said);
    }
  });
});

Deno.test("probe: without words for it, 64 bytes are measured and 100 sent in bursts, numbered from 00; with nothing to send it listens", async () => {
  await withUdpEcho(async (port) => {
    await using setup = await startGateway(port);
    const to = ["--service", "echo", "--dst", "10.100.0.1:7"];
    const payloads = (lines: readonly string[]) => lines.filter((line) => line.startsWith("RECV:45")).map((line) => line.slice(61));
    const numbered = (bytes: number) => [...Array(bytes).keys()].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const measured = await setup.probe(...to, "--measure-rtt", "--rtt-count", "2", "--wait", "10000");
    assertEquals(payloads(measured.lines), [numbered(64), numbered(64)], measured.said);
    const burst = await setup.probe(...to, "--burst", "4", "--wait", "1000");
    assertEquals(numberIn(burst.lines, "BURST_SENT"), 4);
    assertEquals(payloads(burst.lines).filter((payload) => payload !== numbered(100)), [], burst.said);
    const listening = await setup.probe("--wait", "2000");
    assertEquals([listening.code, listening.lines.map((line) => line.slice(0, 15))], [0, ["RECV:01" + hex("\x7f") + "000001"]]);
  });
});

Deno.test("probe: an answer that differs, none at all, and a connection that is refused", async () => {
  await using backend = await UdpBackend.start();
  await using setup = await startGateway(backend.port);
  const to = ["--service", "echo", "--dst", "10.100.0.1:7"];
  const other = await setup.probe(...to, "--send-udp", "hello", "--verify-echo", "--wait", "10000");
  assertEquals([other.code, other.lines.at(-1)], [1, "VERIFY_RESULT:FAIL"]);
  assert(other.lines.some((line) => line.endsWith(hex("re: hello"))), other.lines.join());
  const away = ["--service", "echo", "--dst", "10.101.0.1:7"];
  const lost = await setup.probe(...away, "--send-udp", "hello", "--measure-rtt", "--rtt-count", "1", "--wait", "500");
  // Without an answer there is no time to tell.
  assertEquals(lost.lines.filter((line) => line.startsWith("RTT_")), ["RTT_COUNT:0", "RTT_TIMEOUTS:1"]);

  // Without a certificate, and with the name of another server: refused, and expected to be.
  const { gateway } = setup;
  const server = ["--server", gateway.serverAddress, "--ca-cert", gateway.pki.caCert];
  const run = (...args: readonly string[]) => runPostern(["probe", ...server, ...args], gateway.folder);
  const refused = await run("--expect-fail");
  assertEquals([refused.code, refused.stdout], [0, "EXPECTED_FAIL:connection_rejected\n"], refused.said);
  const strange = await setup.probe("--alpn", "wrong-protocol", "--expect-fail");
  assertEquals([strange.code, strange.lines], [0, ["EXPECTED_FAIL:connection_rejected"]], strange.said);
  assertEquals((await setup.probe("--expect-fail", "--wait", "500")).code, 1);
  assertEquals((await setup.probe("--server-name", "other.example")).code, 1);
});

Deno.test("probe: every line of standard input up to `quit` is sent, and what comes back is shown", async () => {
  await using backend = await UdpBackend.start();
  await using setup = await startGateway(backend.port);
  const args = ["probe", ...setup.flags, "--service", "echo", "--dst", "10.100.0.1:7", "--interactive", "--wait", "5000"];
  const child = new Deno.Command(BINARY, { args, clearEnv: true, stdin: "piped", stdout: "piped", stderr: "null" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("one\n\n two \nquit\nthree\n"));
  await writer.close();
  const { code, stdout } = await child.output();
  const lines = new TextDecoder().decode(stdout).split("\n");
  assertEquals(code, 0);
  for (const text of ["re: one", "re: two"]) assert(lines.some((line) => line.endsWith(hex(text))), lines.join());
  assert(!lines.some((line) => line.endsWith(hex("three"))), "what is behind `quit` is not said");
});

Deno.test("probe: wrong flags are refused before anything is sent", async () => {
  const wrong = [
    ["--server", "nowhere:0"],
    ["--alpn", ""],
    ["--verify-echo"],
    ["--send", "a", "--send-hex", "00"],
    ["--send-hex", "0"],
    ["--send-udp", "a"],
    ["--payload-size", "70000"],
    ["--payload-pattern", "rainbow"],
    ["--dst", "[::1]:1", "--send-udp", "a"],
    ["--burst", "x"],
    ["--client-cert", "c.pem"],
    [],
  ];
  for (const args of wrong) {
    const { code, said } = await runPostern(["probe", ...args], Deno.cwd());
    assertEquals(code, 2, `${args.join(" ")}: ${said}`);
  }
});

Deno.test("probe: what it cannot mean is refused before anything is sent, with what was expected and one that would do", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const refusals: readonly (readonly [readonly string[], RegExp])[] = [
      [["--payload-size", "foo"], /--payload-size "foo": must be max, max-1, max\+1 or a number of 0 to 65535/],
      [["--payload-size", "65536"], /--payload-size "65536": must be max/],
      [["--payload-size", "-1"], /--payload-size "-1": must be max/],
      [["--payload-pattern", "blue"], /--payload-pattern "blue": must be one of zeros, ones, sequential, random/],
      [["--send-hex", "0"], /--send-hex "0": must be pairs/],
      [["--src", "nowhere"], /--src "nowhere": must be an IPv4 ADDRESS:PORT/],
      [["--dst", "[::1]:53"], /--dst "\[::1\]:53": must be an IPv4 ADDRESS:PORT/],
      [["--send-udp", "x"], /--send-udp needs --dst/],
      [["--send", "x", "--send-hex", "00"], /exclude each other/],
      [["--rtt-count", "many"], /--rtt-count "many": must be a number of 0 to 1000000/],
      [["--wait", "1e3"], /--wait "1e3": must be a number of 0 to 3600000/],
      [["--alpn", "a b"], /--alpn "a b": must be 1 to 255 visible characters/],
      [["--pin-sha256", "x"], /--pin-sha256 "x"/],
    ];
    for (const [args, words] of refusals) {
      const { code, stdout, said } = await runPostern(["probe", "--server", "127.0.0.1:1", ...args], folder);
      assertEquals([code, stdout], [2, ""], args.join(" "));
      assertMatch(said, words);
      assertMatch(said, /\npostern: hint: \S/);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
