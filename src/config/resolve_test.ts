/** Settings as an operator gives them: precedence, aliases, and every wrong text with the words that it earns. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { PosternError } from "../base/mod.ts";
import {
  AGENT,
  CONNECTOR,
  type FlagValue,
  formatSource,
  parseConfigFile,
  type Resolution,
  resolveSettings,
  type RoleDefinition,
  SERVER,
  type SettingTable,
} from "./mod.ts";
import { NO_OPS } from "./ops_fixture.ts";

interface Said {
  readonly flags?: Readonly<Record<string, FlagValue>>;
  readonly positional?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A JSON value, or YAML text. */
  readonly file?: unknown;
}

async function resolve<S extends SettingTable, R>(definition: RoleDefinition<S, R>, said: Said): Promise<Resolution<S, R>> {
  const { file } = said;
  const text = typeof file === "string" ? file : JSON.stringify(file);
  return resolveSettings(definition, {
    flags: new Map(Object.entries(said.flags ?? {})),
    positional: said.positional ?? [],
    environment: said.environment ?? {},
    file: file === undefined
      ? null
      : await parseConfigFile(typeof file === "string" ? "f.yaml" : "f.json", new TextEncoder().encode(text)),
    otherVariables: new Set(["POSTERN_FORWARD"]),
  });
}

async function settings<S extends SettingTable, R>(definition: RoleDefinition<S, R>, said: Said): Promise<R> {
  return (await resolve(definition, said)).finish();
}

/** Expects exit code 2 and every phrase in the message or the hint. */
async function refused<S extends SettingTable, R>(
  definition: RoleDefinition<S, R>,
  said: Said,
  ...phrases: string[]
): Promise<void> {
  let error: unknown = null;
  try {
    await settings(definition, said);
  } catch (caught) {
    error = caught;
  }
  assert(error instanceof PosternError, `accepted: ${JSON.stringify(said)}`);
  assertEquals(error.exitCode, 2);
  for (const phrase of phrases) {
    assert(`${error.message}\n${error.hint}`.includes(phrase), `"${phrase}" is not in: ${error.message}\n${error.hint}`);
  }
}

Deno.test("defaults of each role", async () => {
  assertEquals(await settings(SERVER, {}), {
    role: "server",
    name: "server",
    logLevel: null,
    logFormat: "auto",
    allowLegacyServiceIds: false,
    listen: [{ address: "0.0.0.0", port: 4433 }],
    certPath: "certs/cert.pem",
    keyPath: "certs/key.pem",
    caCertPath: null,
    verifyPeer: true,
    requireClientCert: true,
    allowLegacyCerts: false,
    allowAnonymous: [],
    workers: 1,
    allowConnectorTakeover: false,
    externalIp: null,
    crlPaths: [],
    crlMaxStaleMs: 0,
    denyListPath: null,
    tokenKeyPaths: [],
    retry: true,
    retryKeyPath: null,
    resync: true,
    resyncPath: null,
    resyncGraceMs: 10_000,
    limits: [],
    cidRotationMs: 300_000,
    congestionControl: "cubic" as const,
    ops: NO_OPS,
  });
  const uplink = {
    logLevel: null,
    logFormat: "auto" as const,
    allowLegacyServiceIds: false,
    cidRotationMs: 300_000,
    congestionControl: "cubic" as const,
    ops: NO_OPS,
    serverHost: "127.0.0.1",
    serverPort: 4433,
    servers: [{ host: "127.0.0.1", port: 4433 }],
    pins: [],
    serverName: null,
    verifyPeer: true,
    clientCertPath: null,
    clientKeyPath: null,
    caCertPath: null,
    tokenPath: null,
    tokenKeyPath: null,
    packetQueueMax: 4_096,
  };
  assertEquals(await settings(CONNECTOR, {}), {
    role: "connector",
    name: "connector",
    ...uplink,
    services: [{ service: "default", host: "127.0.0.1", port: 8080, protocol: "both", check: { kind: "tcp" } }],
    serviceAddresses: [],
    exitsOnDenied: false,
    packetTimes: { tcpIdleMs: 3_600_000, tcpDrainMs: 5_000, tcpKeepaliveMs: 60_000, udpIdleMs: 60_000 },
    p2p: null,
  });
  assertEquals(await settings(AGENT, { flags: { forward: ["9000=web"] } }), {
    role: "agent",
    name: "agent",
    ...uplink,
    forwards: [{ address: "127.0.0.1", port: 9000, service: "web", protocol: "tcp", servicePort: null }],
    proxies: [],
    virtualAddresses: [],
    tun: null,
    p2p: false,
  });
});

Deno.test("flags win over positions, positions over variables, variables over the file, the file over defaults", async () => {
  const all: Said = { flags: { port: ["1"] }, positional: ["2"], environment: { POSTERN_PORT: "3" }, file: { port: 4 } };
  const order: [Said, number, string][] = [
    [all, 1, "--port"],
    [{ ...all, flags: {} }, 2, "argument port"],
    [{ ...all, flags: {}, positional: [] }, 3, "POSTERN_PORT"],
    [{ file: all.file }, 4, "f.json:1 port"],
    [{}, 4433, "default"],
  ];
  for (const [said, port, from] of order) {
    const { resolved, finish } = await resolve(SERVER, said);
    assertEquals(finish().listen[0]?.port, port);
    assertEquals(formatSource(resolved.sources.port), from);
  }
});

Deno.test("a repeated flag: the last word wins, a list takes them all and replaces the file's", async () => {
  const said = { flags: { cert: ["a", "b"], bind: ["127.0.0.1", "[::1]:0"] }, file: { bind: ["10.0.0.1"] } };
  const { certPath, listen } = await settings(SERVER, said);
  assertEquals([certPath, listen], ["b", [{ address: "127.0.0.1", port: 4433 }, { address: "::1", port: 0 }]]);
});

Deno.test("server: an external address is taken and checked as before, and said to have no effect", async () => {
  const { warnings } = await resolve(SERVER, { flags: { external_ip: ["203.0.113.5"] } });
  assertEquals(warnings, ["--external-ip has no effect: the server needs no address but those that it binds"]);
  assertEquals((await resolve(SERVER, {})).warnings, []);
});

Deno.test("server: positions as in older unit files", async () => {
  const { listen, certPath, keyPath, externalIp } = await settings(SERVER, {
    positional: ["5000", "c.pem", "k.pem", "10.0.0.1", "203.0.113.5"],
  });
  assertEquals([listen, certPath, keyPath, externalIp], [[{ address: "10.0.0.1", port: 5000 }], "c.pem", "k.pem", "203.0.113.5"]);
});

Deno.test("files of earlier ztna-v1 peers load unchanged, as far as their features exist", async () => {
  const server = await settings(SERVER, {
    file: {
      _comment: "x",
      _comment_tls: { a: 1 },
      port: 4433,
      bind_addr: "0.0.0.0",
      external_ip: "203.0.113.5",
      cert_path: "/c",
      key_path: "/k",
      ca_cert_path: "/ca",
      verify_peer: true,
      require_client_cert: false,
      disable_retry: true,
      metrics_port: 0,
    },
  });
  assertEquals([server.certPath, server.keyPath, server.caCertPath, server.requireClientCert], ["/c", "/k", "/ca", false]);
  const connector = await settings(CONNECTOR, {
    file: {
      intermediate_server: { host: "gw.example.com", port: 4433, _comment: "y" },
      services: [{ id: "echo", backend: "127.0.0.1:9999", protocol: "tcp" }, { id: "web", backend: "10.0.0.1:8080" }],
      p2p: {},
      ca_cert: "/ca",
      verify_peer: false,
    },
  });
  assertEquals([connector.serverHost, connector.serverPort, connector.verifyPeer], ["gw.example.com", 4433, false]);
  assertEquals(connector.services.map(({ service, port }) => [service, port]), [["echo", 9999], ["web", 8080]]);
  const file = { serverHost: "gw.example.com", serverPort: 5433, verifyPeer: false, caCertPath: "/ca", forward: "9000=web" };
  const agent = await settings(AGENT, { file });
  assertEquals([agent.serverHost, agent.serverPort, agent.verifyPeer, agent.caCertPath], ["gw.example.com", 5433, false, "/ca"]);
  assertEquals((await settings(AGENT, { file: { ...file, verifyPeer: undefined } })).verifyPeer, true);
  assertEquals((await settings(AGENT, { file, flags: { server: ["other"] } })).serverPort, 4433);
});

Deno.test("both names of one key, and a port beside a port", async () => {
  await refused(SERVER, { file: { cert: "a", cert_path: "b" } }, "f.json:1: cert_path", "says again what cert says");
  await refused(CONNECTOR, { file: { server: "a:1", intermediate_server: { host: "b" } } }, "intermediate_server", "says again");
  await refused(CONNECTOR, { file: { service: "a", services: [{ id: "b" }] } }, "services: says again what service says");
  await refused(AGENT, { file: { server: "a:1", serverPort: 2, forward: "1=x" } }, "serverPort gives another");
  await refused(SERVER, { environment: { POSTERN_LOG: "info", POSTERN_LOG_LEVEL: "info" } }, "POSTERN_LOG", "says again");
  await refused(SERVER, { environment: { POSTERN_VERIFY_PEER: "true", POSTERN_NO_VERIFY_PEER: "true" } }, "POSTERN_NO_VERIFY_PEER");
});

Deno.test("features that are not built: only off is accepted", async () => {
  await refused(
    CONNECTOR,
    { file: { services: [{ id: "a", backend: "h:1", protocol: "sctp" }] } },
    "services[0].protocol",
    "must be tcp or udp",
  );
  await refused(AGENT, { file: { forward: "1=x", serviceId: "a" } }, "serviceId: is not in this version");
  const services = [{ id: "a", virtualIp: "10.100.0.2" }];
  await refused(AGENT, { file: { forward: "1=x", serviceId: "b", services } }, "serviceId: is not in this version");
  assertEquals((await settings(AGENT, { file: { tun: "post0", serviceId: "a", services } })).tun, "post0");
});

Deno.test("unknown keys: the path, the line and what was probably meant", async () => {
  await refused(
    SERVER,
    { file: 'port: 1\n\nprot: 2\nreq_client_cert: true\n"bind-addr": x\n' },
    "f.yaml:3: prot: unknown key (did you mean port?)",
    "f.yaml:5: bind-addr: unknown key (did you mean bind_addr?)",
  );
  await refused(
    CONNECTOR,
    { file: "services:\n  - id: a\n    backend: h:1\n    port: 3\n" },
    "f.yaml:4: services[0].port: unknown key",
  );
  for (
    const [file, place] of [["services:\n  - id: a\n    backnd: h:1\n", "f.yaml:3"], [
      { services: [{ id: "a", backnd: "h:1" }] },
      "f.json:1",
    ]]
  ) {
    await refused(CONNECTOR, { file }, `${place}: services[0].backnd: unknown key (did you mean backend?)`);
  }
  await refused(SERVER, { file: { zzz: 1 } }, "f.json:1: zzz: unknown key\n");
  await refused(SERVER, { file: { kx: 1 } }, "f.json:1: kx: unknown key\n");
  await refused(SERVER, { file: { constructor: 1 } }, "constructor: unknown key");
});

const WRONG_PORTS = ["0", "70000", "65536", "abc", "", "-1", "4433x", "0x50", "1e3", " 1", "99999999999999999999"];

Deno.test("ports that are none are exit 2, whoever says them", async () => {
  for (const port of WRONG_PORTS) {
    await refused(SERVER, { flags: { port: [port] } }, "--port", "must");
    await refused(SERVER, { positional: [port] }, "argument port", "must");
    await refused(CONNECTOR, { flags: { server: [`h:${port}`] } }, "--server");
    await refused(CONNECTOR, { flags: { forward: [`h:${port}`] } }, "--forward");
    await refused(CONNECTOR, { flags: { service: [`web=h:${port}`] } }, "--service", "the backend");
    if (port !== "0") await refused(AGENT, { flags: { forward: [`127.0.0.1:${port}=web`] } }, "--forward");
    if (port !== "0") await refused(SERVER, { flags: { bind: [`127.0.0.1:${port}`] } }, "--bind");
    if (port !== "") await refused(SERVER, { environment: { POSTERN_PORT: port } }, "POSTERN_PORT", "must");
  }
  for (const port of [0, 65536, -1, 1.5, "4433", null, true, [1]]) {
    await refused(SERVER, { file: { port } }, "f.json:1: port", "must");
  }
});

Deno.test("port 0 where something local is bound", async () => {
  assertEquals((await settings(AGENT, { flags: { forward: ["0=web", "0=web"] } })).forwards.map(({ port }) => port), [0, 0]);
  assertEquals((await settings(SERVER, { flags: { bind: ["127.0.0.1:0"] } })).listen, [{ address: "127.0.0.1", port: 0 }]);
});

Deno.test("addresses that are none", async () => {
  for (const bind of ["1.2.3", "1.2.3.256", "01.2.3.4", "host", "", "[1.2.3.4]", "[::1", "::1]:5", "*", "1.2.3.4:5:6"]) {
    await refused(SERVER, { flags: { bind: [bind] } }, "--bind");
  }
  for (const address of ["0.0.0.0", "::", "host", "1.2.3.4:5"]) {
    await refused(SERVER, { flags: { external_ip: [address] } }, "--external-ip");
  }
  await refused(SERVER, { flags: { bind: ["127.0.0.1", "127.0.0.1"] } }, "named twice");
  await refused(SERVER, { file: { bind: [] } }, "must name an address");
  assertEquals((await settings(SERVER, { flags: { bind: ["::1", "[2001:DB8::1]:5", "fd00::1", "1:2:3:4:5:6:7:8"] } })).listen, [
    { address: "::1", port: 4433 },
    { address: "2001:db8::1", port: 5 },
    { address: "fd00::1", port: 4433 },
    { address: "1:2:3:4:5:6:7:8", port: 4433 },
  ]);
  await refused(SERVER, { flags: { bind: ["fd00::1:80"] } }, "could end with a port: write [fd00::1:80] for the address alone");
});

Deno.test("addresses of metrics and alerts are refused as a start refuses them, in every role", async () => {
  const wrong: readonly (readonly [file: Record<string, unknown>, why: string])[] = [
    [{ metrics_addr: "127.0.0.1:9090" }, "IPv4 addresses not supported. Use IPv6 format: [::1]:9090"],
    [{ metrics_addr: "[::ffff:127.0.0.1]:9090" }, "IPv4 addresses not supported"],
    [{ metrics_addr: "[::1]" }, "is not [IPv6]:PORT"],
    [{ metrics_addr: "[::1]:9090", metrics_port: 9090 }, "exclude each other"],
    [{ metrics_addr: "[::1]:9090", metrics_port: 0 }, "exclude each other"],
    [{ metrics_alias: "postern" }, "must be a prefix of a-z"],
    [{ metrics_alias: "ztna_old" }, "must be a prefix of a-z"],
    [{ metrics_alias: "Dwcp" }, "must be a prefix of a-z"],
    [{ metrics_alias: "a{}" }, "must be a prefix of a-z"],
    [{ alert_webhook: "http://10.0.0.1/x" }, "the webhook address is http://10.0.0.1, not https"],
    [{ alert_webhook: "https://169.254.169.254/x" }, "which no webhook has"],
  ];
  for (const [file, why] of wrong) {
    await refused(SERVER, { file }, why);
    await refused(CONNECTOR, { file: { server: "gw", ...file } }, why);
    await refused(AGENT, { file: { server: "gw", forward: "1=x", ...file } }, why);
  }
  const right = { metrics_addr: "[::]:0", metrics_alias: "posterns", alert_webhook: "http://[::1]:8/x?token=a" };
  const { ops } = await settings(SERVER, { file: right });
  assertEquals([ops.metricsAddr, ops.alertWebhook], [right.metrics_addr, right.alert_webhook]);
});

Deno.test("the placeholder address means that nobody configured the server", async () => {
  for (const server of ["0.0.0.0", "0.0.0.0:4433", "[::]:4433", "[::]"]) {
    await refused(CONNECTOR, { flags: { server: [server] } }, "server address must be configured");
    await refused(AGENT, { flags: { server: [server], forward: ["1=x"] } }, "server address must be configured");
  }
  await refused(CONNECTOR, { file: { intermediate_server: { host: "0.0.0.0", port: 4433 } } }, "server address must be configured");
  await refused(AGENT, { file: { serverHost: "0.0.0.0", forward: "1=x" } }, "server address must be configured");
});

Deno.test("server names and addresses", async () => {
  const of = async (server: string) => {
    const { serverHost, serverPort } = await settings(CONNECTOR, { flags: { server: [server] } });
    return [serverHost, serverPort];
  };
  assertEquals(await of("GW.Example.com"), ["gw.example.com", 4433]);
  assertEquals(await of("gw:1"), ["gw", 1]);
  assertEquals(await of("[::1]"), ["::1", 4433]);
  assertEquals(await of("[::1]:7"), ["::1", 7]);
  for (const server of ["", ":1", "::1", "a b", "1.2.3", "gw:", "-gw", "http://gw"]) {
    await refused(CONNECTOR, { flags: { server: [server] } }, "--server");
  }
  assertEquals((await settings(CONNECTOR, { flags: { server_name: ["[::1]"] } })).serverName, "::1");
  await refused(CONNECTOR, { flags: { server_name: ["a b"] } }, "--server-name");
});

Deno.test("connector: two forms of services that do not mix", async () => {
  const pairs = await settings(CONNECTOR, { flags: { service: ["web=10.0.0.1:80", "db=[::1]:5432"] } });
  assertEquals(pairs.services, [
    { service: "web", host: "10.0.0.1", port: 80, protocol: "tcp", check: { kind: "tcp" } },
    { service: "db", host: "::1", port: 5432, protocol: "tcp", check: { kind: "tcp" } },
  ]);
  const single = await settings(CONNECTOR, { flags: { service: ["web"], forward: ["localhost:3000"] } });
  assertEquals(single.services, [{ service: "web", host: "localhost", port: 3000, protocol: "both", check: { kind: "tcp" } }]);
  assertEquals((await settings(CONNECTOR, { environment: { POSTERN_SERVICE: "a=h:1, b=h:2" } })).services.length, 2);
  await refused(CONNECTOR, { flags: { service: ["web=h:1"], forward: ["h:2"] } }, "--forward and --service both name a backend");
  await refused(CONNECTOR, { flags: { service: ["web", "db=h:1"] } }, "has no backend", "ID=HOST:PORT");
  await refused(CONNECTOR, { flags: { service: ["web", "db"] } }, "has no backend");
  await refused(CONNECTOR, { flags: { service: ["a=h:1", "a=h:1"] } }, "named twice");
  await refused(CONNECTOR, { flags: { service: ["a=0.0.0.0:1"] } }, "the backend must name a host");
});

Deno.test("connector: direct connections are off without a certificate, and name whom they trust", async () => {
  const p2p = async (inputs: Parameters<typeof settings>[1]) => (await settings(CONNECTOR, inputs)).p2p;
  const pair = { p2p_cert: ["c"], p2p_key: ["k"] };
  for (const off of [{}, { p2p: {} }, { p2p: false }, { p2p: { port: 4434 } }]) assertEquals(await p2p({ file: off }), null);
  assertEquals(await p2p({ flags: { ...pair, ca_cert: ["ca"] } }), {
    certPath: "c",
    keyPath: "k",
    caCertPath: null,
    crlPaths: [],
    crlMaxStaleMs: 0,
    binds: [{ address: "0.0.0.0", port: 4434 }],
    externalIp: null,
  });
  const lists = { p2p_crl: ["one.pem", "two.pem"], p2p_crl_max_stale: ["1d"] };
  const both = {
    ...lists,
    p2p_bind: ["127.0.0.1:7", "[::1]"],
    p2p_listen_port: ["0"],
    p2p_ca_cert: ["a"],
    external_ip: ["203.0.113.7"],
  };
  assertEquals(await p2p({ flags: { ...pair, ...both } }), {
    certPath: "c",
    keyPath: "k",
    caCertPath: "a",
    crlPaths: ["one.pem", "two.pem"],
    crlMaxStaleMs: 86_400_000,
    binds: [{ address: "127.0.0.1", port: 7 }, { address: "::1", port: 0 }],
    externalIp: "203.0.113.7",
  });
  const earlier = await p2p({ file: { p2p: { cert: "c", key: "k", port: 4500 }, ca_cert: "ca" } });
  assertEquals([earlier?.certPath, earlier?.binds], ["c", [{ address: "0.0.0.0", port: 4500 }]]);
  await refused(CONNECTOR, { flags: { p2p_crl: ["l"] } }, "--p2p-crl is for direct connections");
  const stale = { ...pair, ca_cert: ["ca"], p2p_crl_max_stale: ["1h"] };
  await refused(CONNECTOR, { flags: stale }, "--p2p-crl-max-stale has no effect without --p2p-crl");
  await refused(CONNECTOR, { flags: pair }, "direct connections need to know whose certificates", "--p2p-ca-cert");
  await refused(
    CONNECTOR,
    { flags: { p2p_cert: ["c"] } },
    "P2P TLS requires both --p2p-cert and --p2p-key (got only one)",
    "--p2p-key",
  );
  await refused(CONNECTOR, { flags: { p2p_key: ["k"] } }, "P2P TLS requires both", "--p2p-cert");
  await refused(CONNECTOR, { flags: { p2p_ca_cert: ["c"] } }, "--p2p-cert is missing");
  await refused(CONNECTOR, { flags: { ...pair, ca_cert: ["a"], p2p_bind: ["1.2.3.4", "0.0.0.0"] } }, "at most one IPv4");
  await refused(CONNECTOR, { file: { p2p: { cert: "c" }, p2p_cert: "d", p2p_key: "k" } }, "say the same twice");
});

Deno.test("connector: how backends are looked at, of all services, of one, in its own entry", async () => {
  const checks = async (inputs: Parameters<typeof settings>[1]) =>
    (await settings(CONNECTOR, inputs)).services.map(({ check }) => check.kind === "http" ? check.path : check.kind);
  const service = ["a=h:1", "b=h:2", "c=h:3"];
  assertEquals(await checks({ flags: { service, health: ["/up?x=1", "b=off", "c=/c"] } }), ["/up?x=1", "off", "/c"]);
  assertEquals(await checks({ flags: { service, health: ["b=tcp", "off"] } }), ["off", "tcp", "off"]);
  const services = [{ id: "a", backend: "h:1", health: "/own" }, { id: "b", backend: "h:2" }];
  assertEquals(await checks({ file: { services, health: "/all" } }), ["/own", "/all"]);
  for (const health of ["up", "a=up", "/a b", "b=/\r\nX: y", ""]) {
    await refused(CONNECTOR, { flags: { service, health: [health] } }, "--health");
  }
  await refused(CONNECTOR, { flags: { service, health: ["d=off"] } }, "not a service of this connector");
});

Deno.test("connector: protocols, several backends, inner addresses", async () => {
  const flags = { service: ["a=h:1", "a=i:2", "a=h:1/udp", "dns=[::1]:53/udp"], service_ip: ["a=10.0.0.1", "dns=[fd00::5]:53"] };
  const { services, serviceAddresses } = await settings(CONNECTOR, { flags });
  assertEquals(services.map(({ service, host, port, protocol }) => [service, host, port, protocol]), [
    ["a", "h", 1, "tcp"],
    ["a", "i", 2, "tcp"],
    ["a", "h", 1, "udp"],
    ["dns", "::1", 53, "udp"],
  ]);
  assertEquals(serviceAddresses, [
    { service: "a", address: "10.0.0.1", port: null },
    { service: "dns", address: "fd00::5", port: 53 },
  ]);
  const bare = await settings(CONNECTOR, { flags: { service: ["a=h:1"], service_ip: ["fd00::5", "a=fd00::6"] } });
  assertEquals(bare.serviceAddresses.map(({ address, port }) => [address, port]), [["fd00::5", null], ["fd00::6", null]]);
  const forward = await settings(CONNECTOR, { flags: { service: ["a"], forward: ["h:1/udp"], service_ip: ["10.0.0.1:80"] } });
  assertEquals(forward.services[0]?.protocol, "udp");
  assertEquals(forward.serviceAddresses, [{ service: "a", address: "10.0.0.1", port: 80 }]);
  const file = { services: [{ id: "a", backend: "h:1", protocol: "udp", virtualIp: "10.100.0.2" }] };
  const fromFile = await settings(CONNECTOR, { file });
  assertEquals(fromFile.serviceAddresses, [{ service: "a", address: "10.100.0.2", port: null }]);
  assertEquals(fromFile.services[0]?.protocol, "udp");
  await refused(CONNECTOR, { flags: { service: ["a=h:1", "b=h:2"], service_ip: ["10.0.0.1"] } }, "does not say whose");
  await refused(CONNECTOR, { flags: { service: ["a=h:1"], service_ip: ["b=10.0.0.1"] } }, "not a service of this connector");
  await refused(
    CONNECTOR,
    { flags: { service: ["a=h:1", "b=h:2"], service_ip: ["a=10.0.0.1", "b=10.0.0.1"] } },
    "is both a's and b's",
  );
  await refused(CONNECTOR, { flags: { service: ["a=h:1"], service_ip: ["0.0.0.0"] } }, "unspecified");
});

Deno.test("connector: how long what agents began with packets may be silent", async () => {
  const flags = { tcp_idle_timeout: ["1d"], tcp_drain_timeout: ["30s"], tcp_keepalive: ["45s"], udp_idle_timeout: ["10s"] };
  const { packetTimes } = await settings(CONNECTOR, { flags });
  assertEquals(packetTimes, { tcpIdleMs: 86_400_000, tcpDrainMs: 30_000, tcpKeepaliveMs: 45_000, udpIdleMs: 10_000 });
  for (
    const [name, value, why] of [
      ["tcp_idle_timeout", "0s", "must be from 1s to 8760h"],
      ["tcp_drain_timeout", "25h", "must be from 1s to 24h"],
      ["tcp_keepalive", "2m", "must be from 1s to 90s"],
      ["udp_idle_timeout", "61s", "must be from 1s to 60s"],
      ["udp_idle_timeout", "10", "must be whole numbers with units"],
    ] as const
  ) await refused(CONNECTOR, { flags: { [name]: [value] } }, why);
});

Deno.test("service ids follow the default grammar unless the legacy one is asked for", async () => {
  const hostile = [
    "a;rm -rf /",
    "`id`",
    "$(id)",
    "a|b",
    "../x",
    "./a",
    "a\\b",
    "a\0b",
    "a\n",
    "\x1b[31m",
    "\u0430",
    "\u202e",
    "a".repeat(64),
    "Web",
    "-a",
    "",
  ];
  for (const id of hostile) {
    await refused(CONNECTOR, { flags: { service: [`${id}=h:1`] } }, "the service id");
    await refused(AGENT, { flags: { forward: [`1=${id}`] } }, "the service id");
    const open = { require_client_cert: false, allow_anonymous: [`agent:${id}`] };
    await refused(SERVER, { flags: open }, "--allow-anonymous");
  }
  await refused(CONNECTOR, { flags: { service: ["WebApp"] } }, "--allow-legacy-service-ids takes such ids");
  const legacy = { allow_legacy_service_ids: true };
  assertEquals((await settings(CONNECTOR, { flags: { ...legacy, service: ["Web App=x=h:1"] } })).services[0]?.service, "Web App=x");
  await refused(CONNECTOR, { flags: { ...legacy, service: ["a\x1bb=h:1"] } }, "control characters");
});

Deno.test("agent: forwards", async () => {
  const forward = ["9000=web", "localhost:9001=web:80", "[::1]:9000=db.internal/tcp", "9000=dns:53/udp", "0=dns/udp"];
  const { forwards } = await settings(AGENT, { flags: { forward } });
  assertEquals(
    forwards.map(({ address, port, service, protocol, servicePort }) => [address, port, service, protocol, servicePort]),
    [
      ["127.0.0.1", 9000, "web", "tcp", null],
      ["127.0.0.1", 9001, "web", "tcp", 80],
      ["::1", 9000, "db.internal", "tcp", null],
      ["127.0.0.1", 9000, "dns", "udp", 53],
      ["127.0.0.1", 0, "dns", "udp", null],
    ],
  );
  await refused(AGENT, {}, "nothing to forward", "--forward 127.0.0.1:9000=web");
  await refused(AGENT, { flags: { forward: ["9000"] } }, "must be [ADDRESS:]PORT=SERVICE[:PORT][/udp]");
  await refused(AGENT, { flags: { forward: ["127.0.0.1=web"] } }, "needs a port");
  await refused(AGENT, { flags: { forward: ["1=a", "127.0.0.1:1=b"] } }, "forwarded twice");
  await refused(AGENT, { flags: { forward: ["1=a/udp", "1=b/udp"] } }, "forwarded twice");
  for (const target of ["web:0", "web:65536", "web:/udp", "web/sctp", "/udp", ":53"]) {
    await refused(AGENT, { flags: { forward: [`1=${target}`] } }, "--forward");
  }
  const many = Array.from({ length: 65 }, (_, at) => `${1000 + at}=dns/udp`);
  await refused(AGENT, { flags: { forward: many } }, "more than 64 times");
});

Deno.test("agent: an address that others reach too is refused unless remote clients are allowed", async () => {
  for (const listen of ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "[2001:db8::1]:1"]) {
    const forward = [`${listen}=web`];
    await refused(AGENT, { flags: { forward } }, "is not an address of this machine alone", "--allow-remote-clients");
    assertEquals((await settings(AGENT, { flags: { forward, allow_remote_clients: true } })).forwards.length, 1);
  }
});

Deno.test("agent: a port for a proxy does without forwards, and is used once", async () => {
  assertEquals((await settings(AGENT, { flags: { proxy: ["1080", "[::1]:1081"] } })).proxies, [
    { address: "127.0.0.1", port: 1080 },
    { address: "::1", port: 1081 },
  ]);
  assertEquals((await settings(AGENT, { file: { proxy: 1080 } })).proxies, [{ address: "127.0.0.1", port: 1080 }]);
  await refused(AGENT, { flags: { proxy: ["0.0.0.0:1080"] } }, "is not an address of this machine alone", "--allow-remote-clients");
  await refused(AGENT, { flags: { proxy: ["1080", "127.0.0.1:1080"] } }, "is used twice");
  await refused(AGENT, { flags: { proxy: ["1080"], forward: ["1080=web"] } }, "is used twice");
  assertEquals((await settings(AGENT, { flags: { proxy: ["1080"], forward: ["1080=dns/udp"] } })).proxies.length, 1);
  await refused(AGENT, { flags: { proxy: ["localhost"] } }, "needs a port");
  await refused(AGENT, { flags: { proxy: Array(9).fill("0") } }, "more than 8");
});

Deno.test("agent: inner addresses, also as earlier agents write them", async () => {
  const flags = { forward: ["1=x"], service_ip: ["web=10.100.0.2", "db=10.1.2.3"] };
  assertEquals((await settings(AGENT, { flags })).virtualAddresses, [
    { service: "web", address: "10.100.0.2" },
    { service: "db", address: "10.1.2.3" },
  ]);
  const file = { forward: "1=x", services: [{ id: "web", virtualIp: "10.100.0.2" }] };
  assertEquals((await settings(AGENT, { file })).virtualAddresses, [{ service: "web", address: "10.100.0.2" }]);
  for (const service_ip of ["web", "web=h", "web=::", "web=0.0.0.0", "a b=10.0.0.1", "=10.0.0.1"]) {
    await refused(AGENT, { flags: { forward: ["1=x"], service_ip: [service_ip] } }, "--service-ip");
  }
  for (const twice of [["a=10.0.0.1", "b=10.0.0.1"], ["a=10.0.0.1", "a=10.0.0.2"]]) {
    await refused(AGENT, { flags: { forward: ["1=x"], service_ip: twice } }, "stands there twice");
  }
});

Deno.test("agent: a TUN device has a name that the kernel takes, and leads somewhere", async () => {
  const flags = (name: string) => ({ tun: [name], service_ip: ["web=10.100.0.2"] });
  for (const name of ["postern0", "post%d", "a", "vpn.1-x_y"]) {
    assertEquals((await settings(AGENT, { flags: flags(name) })).tun, name);
  }
  for (const name of ["", "0tun", "a b", "../x", "sixteen_letters_", "%d", "a%s"]) {
    await refused(AGENT, { flags: flags(name) }, "tun");
  }
  await refused(AGENT, { flags: { tun: ["postern0"] } }, "leads to no service", "--service-ip web=10.100.0.2");
});

Deno.test("server: who may come in", async () => {
  await refused(SERVER, { flags: { verify_peer: false } }, "--no-verify-peer", "--no-require-client-cert");
  await refused(SERVER, { flags: { allow_anonymous: ["agent:web"] } }, "no effect while client certificates are required");
  for (const grant of ["web", "server:web", "agent:", "agent"]) {
    await refused(SERVER, { flags: { require_client_cert: false, allow_anonymous: [grant] } }, "--allow-anonymous");
  }
  const open = await settings(SERVER, { flags: { require_client_cert: false, allow_anonymous: ["agent:web", "connector:web"] } });
  assertEquals(open.allowAnonymous, [{ role: "agent", service: "web" }, { role: "connector", service: "web" }]);
});

Deno.test("one of --client-cert and --client-key alone", async () => {
  await refused(CONNECTOR, { flags: { client_cert: ["c"] } }, "got only --client-cert", "add --client-key");
  await refused(AGENT, { flags: { forward: ["1=x"], client_key: ["k"] } }, "got only --client-key", "add --client-cert");
  const { clientCertPath, clientKeyPath } = await settings(CONNECTOR, {
    flags: { client_cert: ["c"] },
    environment: { POSTERN_CLIENT_KEY: "k" },
  });
  assertEquals([clientCertPath, clientKeyPath], ["c", "k"]);
});

Deno.test("names, levels, formats and paths", async () => {
  for (const name of ["", "a b", "-a", "a".repeat(64), "\u00e9"]) await refused(SERVER, { flags: { name: [name] } }, "--name");
  await refused(SERVER, { flags: { log_format: ["xml"] } }, '--log-format "xml": must be one of auto, json, text');
  await refused(SERVER, { flags: { cert: [""] } }, "--cert", "must not be empty");
  await refused(SERVER, { flags: { cert: ["a\0b"] } }, "NUL");
  await refused(SERVER, { file: { cert: 7, log_format: ["json"] } }, "f.json:1: cert 7: must be text", "log_format");
  assertEquals((await settings(SERVER, { environment: { RUST_LOG: "debug" } })).logLevel, "debug");
  assertEquals((await settings(SERVER, { environment: { RUST_LOG: "debug", POSTERN_LOG: "warn" } })).logLevel, "warn");
});

Deno.test("variables: both forms of a switch, empty ones, unknown ones, what Kubernetes sets", async () => {
  const off = { POSTERN_NO_REQUIRE_CLIENT_CERT: "1", POSTERN_VERIFY_PEER: "off" };
  const open = await settings(SERVER, { environment: off });
  assertEquals([open.requireClientCert, open.verifyPeer], [false, false]);
  await refused(SERVER, { environment: { POSTERN_VERIFY_PEER: "maybe" } }, 'POSTERN_VERIFY_PEER "maybe": must be true or false');
  const { warnings, resolved } = await resolve(SERVER, {
    environment: {
      POSTERN_CERT: "",
      POSTERN_PROT: "1",
      POSTERN_FORWARD: "another role's",
      POSTERN_CONFIG: "/x",
      POSTERN_PORT: "udp://10.0.0.1:4433",
      POSTERN_PORT_4433_UDP_ADDR: "10.0.0.1",
      POSTERN_SERVICE_HOST: "10.0.0.1",
      OTHER: "x",
    },
  });
  assertEquals([resolved.values.cert, resolved.values.port], ["certs/cert.pem", 4433]);
  assertEquals(warnings, [
    "Unknown environment variable POSTERN_PROT (did you mean POSTERN_PORT?)",
    "Ignored what Kubernetes sets for a service called postern: POSTERN_PORT, POSTERN_PORT_4433_UDP_ADDR, POSTERN_SERVICE_HOST",
  ]);
});

Deno.test("what Kubernetes sets is told to roles without that setting too", async () => {
  const { warnings } = await resolve(CONNECTOR, { environment: { POSTERN_PORT: "tcp://10.0.0.1:4433" } });
  assertEquals(warnings, ["Ignored what Kubernetes sets for a service called postern: POSTERN_PORT"]);
});

Deno.test("all problems are told at once, each on its line", async () => {
  const error = await (async () => {
    try {
      await settings(SERVER, { flags: { port: ["x"], bind: ["y"] }, environment: { POSTERN_NAME: "?" }, file: { prot: 1 } });
    } catch (caught) {
      return caught;
    }
  })();
  assert(error instanceof PosternError);
  assertEquals(error.message.split("\n").map((line) => line.split(" ")[0]), ["f.json:1:", "POSTERN_NAME", "--port", "--bind"]);
});

Deno.test("hostile values do not reach a terminal as they are", async () => {
  await refused(SERVER, { flags: { name: ["\x1b[31m\u202e"] } }, '--name "\\u001b[31m\\u202e"');
  const file = await parseConfigFile("f.yaml", new TextEncoder().encode('"\\e[31m": 1\n'));
  const inputs = { flags: new Map(), positional: [], environment: {}, file, otherVariables: new Set<string>() };
  const error = assertThrows(() => resolveSettings(SERVER, inputs), PosternError);
  assertMatch(error.message, /unknown key/);
});
