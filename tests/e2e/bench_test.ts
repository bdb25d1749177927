/** `postern bench` against a whole gateway: its figures are those of what it did, and what cannot be had it says in words. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Gateway } from "./gateway_fixture.ts";
import { runPostern } from "./processes_fixture.ts";
import { Backend, drain, echo } from "./tcp_fixture.ts";
import { withUdpEcho } from "./udp_fixture.ts";

/** A gateway with these services, and a benchmark with an agent's certificate for them and for `other`. */
async function startGateway(...offers: readonly string[]) {
  const gateway = await Gateway.empty();
  const { pki } = gateway;
  const services = offers.map((offer) => offer.split("=")[0] ?? "");
  const names = (role: string) => services.map((service) => `${role}.${service}.ztna`);
  const [connectorFiles, agentFiles] = await Promise.all([
    pki.issue("bench-connector", { dns: names("connector"), eku: ["clientAuth"] }),
    pki.issue("bench-agent", { dns: [...names("agent"), "agent.other.ztna"], eku: ["clientAuth"] }),
    gateway.startServer(),
  ]);
  const connector = await gateway.startConnector(
    {},
    connectorFiles,
    "--health",
    "off",
    ...offers.flatMap((offer) => ["--service", offer]),
  );
  await Promise.all(services.map((service) => connector.until("registered", { service })));
  const bench = async (...args: readonly string[]) => {
    const { code, stdout, said } = await runPostern(["bench", ...gateway.uplinkFlags(agentFiles), ...args], gateway.folder);
    return { code, stdout, said, figures: stdout.startsWith("{") ? JSON.parse(stdout) : {} };
  };
  return { bench, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

Deno.test("bench: datagrams at a rate to a service that sends them back are counted and timed", async () => {
  await withUdpEcho(async (port) => {
    await using setup = await startGateway(`echo=127.0.0.1:${port}/udp`);
    const to = ["--service", "echo", "--rate", "100", "--duration", "3", "--size", "300"];
    const { code, figures, said } = await setup.bench(...to, "--json");
    assertEquals([code, figures.mode, figures.bytes], [0, "datagrams", 300], said);
    // What a loaded machine sends late it does not send at all; more than was asked for it never sends.
    assert(
      figures.sent > 0 && figures.sent <= 301 && figures.answered > 0 && figures.answered <= figures.sent,
      JSON.stringify(figures),
    );
    assertEquals(figures.lostPercent, (figures.sent - figures.answered) / figures.sent * 100);
    if (figures.p99Ms !== null) assert(0 < figures.p50Ms && figures.p50Ms <= figures.p99Ms, JSON.stringify(figures));
    const text = await setup.bench(...to);
    for (const words of ["datagrams of 300 bytes to echo, 100 a second", "\nsent ", "\nlost ", "\np99.9 "]) {
      assertStringIncludes(text.stdout, words);
    }
  });
});

Deno.test("bench: streams to a service that sends everything back, and one way to one that discards", async () => {
  await using echoing = new Backend(echo);
  await using discarding = new Backend((connection) => drain(connection, () => {}).then(() => {}));
  await using setup = await startGateway(`echo=127.0.0.1:${echoing.port}`, `sink=127.0.0.1:${discarding.port}`);
  const streams = ["--mode", "streams", "--duration", "3", "--json"];
  const asked = await setup.bench(...streams, "--service", "echo", "--connections", "4", "--size", "100000");
  assertEquals([asked.code, asked.figures.connections], [0, 4], asked.said);
  const { sent, answered, seconds, mbitPerSecond } = asked.figures;
  assert(answered > 0 && answered <= sent && sent - answered <= 4, asked.stdout);
  assert(Math.abs(mbitPerSecond - answered * 100_000 * 8 / seconds / 1e6) < 0.01, asked.stdout);
  const paced = await setup.bench(...streams, "--service", "echo", "--connections", "2", "--rate", "20");
  assert(paced.code === 0 && paced.figures.sent <= 62, paced.said + paced.stdout);
  const oneWay = await setup.bench(...streams, "--service", "sink", "--one-way", "--size", "65536");
  assert(oneWay.code === 0 && oneWay.figures.mbitPerSecond > 0, oneWay.said);
});

Deno.test("bench: a service that nobody offers, one that is denied, wrong flags, no server", async () => {
  await using discarding = new Backend(echo);
  await using setup = await startGateway(`echo=127.0.0.1:${discarding.port}`);
  const cases = [
    [["--mode", "streams", "--service", "other"], 1, "other: unknown-service"],
    [["--mode", "streams", "--service", "secret"], 1, "secret: denied"],
    [["--service", "secret"], 1, "the server denies secret"],
    [["--service", "echo", "--size", "1400"], 1, "does not fit: --size 1"],
    [["--service", "echo", "--rate", "0"], 2, "--rate"],
    [["--service", "echo", "--duration", "4000"], 2, "--duration"],
    [["--service", "echo", "--mode", "packets"], 2, "--mode"],
    [["--service", "echo", "--one-way"], 2, "--one-way"],
    [["--service", "echo", "--server-name", "other.example"], 1, "no measurement"],
  ] as const;
  for (const [flags, code, words] of cases) {
    const ended = await setup.bench(...flags);
    assertEquals(ended.code, code, ended.said);
    assertStringIncludes(ended.said, words);
    assertEquals(ended.stdout, "");
  }
});
