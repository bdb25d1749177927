/** The command line from outside: texts in, texts and exit codes out. */

import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { PosternError } from "../base/mod.ts";
import { readCertificatesForTest } from "../config/certificate_fixture.ts";
import { type Outcome, runInTest, type TestWorld } from "./platform_fixture.ts";

const EC = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const keys = await crypto.subtle.generateKey(EC, true, ["sign", "verify"]);
const certificate = await x509.X509CertificateGenerator.createSelfSigned({
  name: [{ CN: ["self"] }],
  notBefore: new Date(Date.UTC(2026, 0, 1)),
  notAfter: new Date(Date.UTC(2027, 0, 1)),
  keys,
  signingAlgorithm: EC,
});
const KEY_PEM = x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY") + "\n";
const CERT_PEM = certificate.toString("pem") + "\n";

const FILES = { "c.pem": CERT_PEM, "k.pem": KEY_PEM };
const WORLD: TestWorld = {
  files: FILES,
  readCertificates: readCertificatesForTest,
};
const SERVER_ARGS = ["server", "--cert", "c.pem", "--key", "k.pem", "--ca-cert", "c.pem"];

/** The lines for a person: `postern: error: ...` and `postern: hint: ...`. */
function told({ error }: Outcome): { readonly errors: string[]; readonly hints: string[] } {
  const after = (prefix: string) => error.split("\n").flatMap((line) => line.startsWith(prefix) ? [line.slice(prefix.length)] : []);
  return { errors: after("postern: error: "), hints: after("postern: hint: ") };
}

const REFUSED: readonly (readonly [line: string, code: number, error: string, hint?: string])[] = [
  ["srver", 2, "unknown command srver", "did you mean server?"],
  ["certs inti", 2, "unknown command inti", "did you mean init?"],
  ["server --prot 1", 2, "unknown flag --prot", "did you mean --port?"],
  ["server --forward 1=x", 2, "unknown flag --forward"],
  ["server -x", 2, "unknown flag -x"],
  ["server --port", 2, "--port needs a value: --port PORT"],
  ["server --cert --key k.pem", 2, "--cert needs a value: --cert FILE", "got the flag --key instead"],
  ["server 1 2 3 4 5 6", 2, "too many arguments for 'server': 6 instead of 5"],
  ["connector extra", 2, "too many arguments for 'connector': 1 instead of 0"],
  ["server --port 0", 2, "--port 0: must not be port 0; for any free port say --bind ADDRESS:0"],
  ["server --port 70000", 2, "--port 70000: must be a port number, 1 to 65535", "for example --port 4433"],
  [
    "server --port 1 --port 2",
    2,
    "--port is given more than once",
    "keep one of them; what may be given several times is called repeatable in --help",
  ],
  ["agent --ca-cert a --ca-cert=a", 2, "--ca-cert is given more than once"],
  ["agent --config a.yaml --config b.yaml", 2, "--config is given more than once"],
  ["agent --no-verify-peer --verify-peer", 2, "--no-verify-peer and --verify-peer exclude each other"],
  ["agent --p2p --p2p", 2, "--p2p is given more than once"],
  ["probe --send a --send b", 2, "--send is given more than once"],
  ["doctor connector --json --json", 2, "--json is given more than once"],
  ["status --json --json", 2, "--json is given more than once"],
  ["server --port abc", 2, '--port "abc": must be a port number'],
  [
    "agent --forward 127.0.0.1:abc=web",
    2,
    '--forward "127.0.0.1:abc=web": needs a port number of 0 to 65535',
    "for example --forward 127.0.0.1:9000=web",
  ],
  [
    "connector --server 127.0.0.1:0",
    2,
    '--server "127.0.0.1:0": needs a port number of 1 to 65535',
    "for example --server gateway.example.com:4433",
  ],
  ["server --port -1", 2, "--port -1: must be a port number, 1 to 65535", "for example --port 4433"],
  ["connector --server 0.0.0.0:4433", 2, "server address must be configured"],
  ["agent --server 0.0.0.0 --forward 1=x", 2, "server address must be configured"],
  ["agent", 2, "the agent has nothing to forward"],
  ["connector --service a=h:1 --forward h:2", 2, "--forward and --service both name a backend"],
  ["connector --client-cert c.pem", 2, "--client-cert and --client-key belong together (got only --client-cert)"],
  ["server --log-level loud", 2, "--log-level: 'loud' is not a level"],
  ["server --cert none.pem --key k.pem", 1, "Certificate file not found: none.pem"],
  ["server --cert c.pem --key none.pem", 1, "Private key file not found: none.pem"],
  ["server --cert c.pem --key k.pem", 2, "the server does not know whose client certificates to trust: --ca-cert is missing"],
  ["server --cert c.pem --key k.pem --ca-cert none.pem", 1, "CA certificate file not found: none.pem"],
  ["server --config none.json", 1, "Configuration file not found: none.json"],
  ["connector --ca-cert none.pem", 1, "CA certificate file not found: none.pem"],
  ["connector --p2p-cert none.pem", 2, "P2P TLS requires both --p2p-cert and --p2p-key (got only one)"],
  ["connector --p2p-cert none.pem --p2p-key k.pem --ca-cert c.pem", 1, "P2P certificate file not found: none.pem"],
  ["connector --p2p-cert c.pem --p2p-key none.pem --ca-cert c.pem", 1, "P2P private key file not found: none.pem"],
  // Before any file is looked for.
  ["server --cert none.pem --key k.pem --metrics-addr 127.0.0.1:9090", 2, "IPv4 addresses not supported. Use IPv6 format"],
  ["server --cert none.pem --key k.pem --metrics-addr [::1]:1 --metrics-port 1", 2, "--metrics-port and --metrics-addr exclude"],
  ["server --cert none.pem --key k.pem --alert-webhook http://10.0.0.1/x", 2, "the webhook address is http://10.0.0.1, not https"],
  ["certs init --days 0", 2, '--days "0": must be 1 to 3650'],
  ["certs init --days 1e3", 2, '--days "1e3": must be 1 to 3650'],
  ["certs init --service A", 2, '--service "A": may have only lower-case letters'],
  ["certs init --name a_b.c!", 2, '--name "a_b.c!": must be a DNS name or an IP address'],
  ["certs init a b", 2, "too many arguments for 'init': 2 instead of 1"],
  ["certs inspect", 2, "the argument pem is missing"],
  ["certs inspect none.pem", 1, "Certificate file not found: none.pem"],
  ["certs inspect k.pem", 1, "No certificate in k.pem"],
  ["certs check --cert c.pem", 2, "--key <FILE> is missing"],
  ["certs check --cert c.pem --key none.pem", 1, "Private key file not found: none.pem"],
  ["config check none.yaml", 2, "cannot tell the role of none.yaml", "say which: --role server|connector|agent"],
  ["config check agent.yaml", 1, "Configuration file not found: agent.yaml"],
  ["config check x --role boss", 2, 'unknown role "boss"'],
  ["config example", 2, "the argument role is missing"],
  ["demo --size 1parsec", 2, '--size "1parsec": must be a whole number with a unit'],
  ["demo --size 17GiB", 2, '--size "17GiB": must be 1 B to 16 GiB'],
  ["demo --size 0B", 2, '--size "0B": must be 1 B to 16 GiB'],
  ["completions tcsh", 2, 'unknown shell "tcsh"', "shells are bash, zsh, fish"],
];

for (const [line, code, error, hint] of REFUSED) {
  Deno.test(`postern ${line}: exit ${code}`, async () => {
    const outcome = await runInTest(line.split(" "), WORLD);
    const { errors, hints } = told(outcome);
    assert(errors[0]?.startsWith(error), `got: ${outcome.error}`);
    if (hint !== undefined) assertEquals(hints, [hint]);
    assertEquals([outcome.code, outcome.out, outcome.started.length], [code, "", 0]);
  });
}

Deno.test("postern alone: the help on standard error, exit 2", async () => {
  for (const args of [[], ["certs"], ["config"], ["config", "show"]]) {
    const { code, out, error } = await runInTest(args, WORLD);
    assertEquals([code, out], [2, ""]);
    assertMatch(error, /^Usage: postern[^]*Commands:[^]*postern: error: no command was given\n/);
  }
});

Deno.test("every command explains itself with examples, exit 0 and nothing on standard error", async () => {
  const commands = [
    "",
    "server",
    "connector",
    "agent",
    "certs",
    "certs init",
    "certs inspect",
    "certs check",
    "config",
    "config check",
    "config show",
    "config show server",
    "config example",
    "config schema",
    "demo",
    "completions",
    "version",
  ];
  for (const command of commands) {
    const words = command === "" ? [] : command.split(" ");
    const { code, out, error } = await runInTest([...words, "--help"], WORLD);
    assertEquals([code, error], [0, ""], command);
    assertMatch(out, /^Usage: postern/, command);
    assertMatch(out, /\nExamples:\n {2}# .+\n {2}\S*postern|source/, command);
    if (words.length === 1) assertEquals((await runInTest(["help", ...words], WORLD)).out, out, command);
  }
});

Deno.test("version", async () => {
  assertEquals((await runInTest(["--version"])).out, "postern 9.8.7\n");
  assertEquals((await runInTest(["-V"])).out, "postern 9.8.7\n");
  assertEquals((await runInTest(["version"])).out, "postern 9.8.7\ndeno 2\nquiche 0\n");
  assertEquals(JSON.parse((await runInTest(["version", "--json"])).out), { postern: "9.8.7", deno: "2", quiche: "0" });
});

Deno.test("a role is started with what was said, and its end is exit 0", async () => {
  const environment = { POSTERN_NAME: "gw", POSTERN_PROT: "1" };
  const outcome = await runInTest([...SERVER_ARGS, "--bind", "127.0.0.1:0"], { ...WORLD, environment });
  assertEquals([outcome.code, outcome.out, outcome.error], [0, "", ""]);
  const [start] = outcome.started;
  assert(start?.settings.role === "server");
  assertEquals([start.settings.name, start.settings.listen], ["gw", [{ address: "127.0.0.1", port: 0 }]]);
  assertEquals(start.material.trustPem, new TextEncoder().encode(CERT_PEM));
  assertEquals(structuredClone(start.settings), start.settings);
  assert(
    outcome.records.some(({ level, message }) => level === "warn" && message.includes("POSTERN_PROT (did you mean POSTERN_PORT?)")),
  );
  assertEquals(outcome.records.at(-1)?.event, "stopped");
});

Deno.test("the first signal asks for the end, the second does not wait; both are exit 0", async () => {
  const graceful = await runInTest(SERVER_ARGS, {
    ...WORLD,
    role: async ({ signal, stopped }) => {
      signal("SIGTERM");
      await stopped;
    },
  });
  assertEquals(graceful.code, 0);
  assertEquals(graceful.records.slice(-2).map(({ event }) => event), ["stopping", "stopped"]);
  const hasty = await runInTest(SERVER_ARGS, {
    ...WORLD,
    role: async ({ signal, stopped, aborted }) => {
      signal("SIGINT");
      await stopped;
      signal("SIGTERM");
      await aborted;
    },
  });
  assertEquals(hasty.code, 0);
});

Deno.test("signals while a role starts: one ends it as soon as it runs, two end a start that hangs", async () => {
  const early = await runInTest(SERVER_ARGS, {
    ...WORLD,
    starting: ({ signal }) => Promise.resolve(signal("SIGTERM")),
    role: ({ stopped }) => stopped,
  });
  assertEquals([early.code, early.records.at(-1)?.event], [0, "stopped"]);
  const hanging = await runInTest(SERVER_ARGS, {
    ...WORLD,
    starting: ({ signal }) => {
      signal("SIGINT");
      signal("SIGINT");
      return new Promise(() => {});
    },
  });
  assertEquals(hanging.code, 0);
});

Deno.test("a role that fails: the error for a person, and as a record where logs are JSON", async () => {
  const role = () =>
    Promise.reject(new PosternError("UDP port 4433 is busy", { code: "port-busy", hint: "choose another --port" }));
  const piped = await runInTest(SERVER_ARGS, { ...WORLD, role });
  assertEquals([piped.code, told(piped)], [1, { errors: ["UDP port 4433 is busy"], hints: ["choose another --port"] }]);
  const fatal = piped.records.filter(({ event }) => event === "fatal");
  assertEquals(fatal.map(({ message, fields }) => [message, fields["code"]]), [["UDP port 4433 is busy", "port-busy"]]);
  const terminal = await runInTest(SERVER_ARGS, { ...WORLD, role, terminals: true });
  assertEquals(terminal.records.filter(({ event }) => event === "fatal"), []);
  const defect = await runInTest(SERVER_ARGS, { ...WORLD, role: () => Promise.reject(new TypeError("x is not a function")) });
  assertEquals(defect.code, 1);
  assertMatch(defect.error, /postern: error: x is not a function\npostern: hint: this is a defect in postern/);
});

Deno.test("colours: only on a terminal, and not with NO_COLOR or a dumb terminal", async () => {
  const coloured = async (world: TestWorld) => {
    const { out, error } = { out: (await runInTest(["--help"], world)).out, error: (await runInTest(["nothing"], world)).error };
    return [out.includes("\x1b["), error.includes("\x1b[")];
  };
  assertEquals(await coloured({ terminals: true }), [true, true]);
  assertEquals(await coloured({}), [false, false]);
  assertEquals(await coloured({ terminals: true, environment: { NO_COLOR: "1" } }), [false, false]);
  assertEquals(await coloured({ terminals: true, environment: { TERM: "dumb" } }), [false, false]);
  assertEquals(await coloured({ terminals: true, environment: { NO_COLOR: "" } }), [true, true]);
});

Deno.test("what a caller wrote cannot move the cursor of who reads the error", async () => {
  for (
    const args of [["server", "--x\x1b[2J"], ["\x1b]0;title\x07"], ["server", "--config", "a\x1b[31m\u202e.json"], [
      "server",
      "--name",
      "\x1b[1m",
    ]]
  ) {
    const { error, code } = await runInTest(args, WORLD);
    assert(code !== 0);
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x09\x0b-\x1f\x7f\u202e]/.test(error), JSON.stringify(error));
  }
});

Deno.test("a reader that went away is no error", async () => {
  for (const args of [["--help"], ["version"], ["config", "schema", "server"]]) {
    const { code, error } = await runInTest(args, { isOutClosed: true });
    assertEquals([code, error], [0, ""], args.join(" "));
  }
});

Deno.test("default files: read in their order, an absent one is nothing, a wrong one is exit 2", async () => {
  const files = {
    ...FILES,
    "./intermediate.json": '{"cert_path": "c.pem", "key_path": "k.pem", "ca_cert_path": "c.pem", "port": 5555}',
  };
  const { started, code } = await runInTest(["server"], { ...WORLD, files });
  assert(code === 0 && started[0]?.settings.role === "server");
  assertEquals(started[0].settings.listen[0]?.port, 5555);
  const named = await runInTest(SERVER_ARGS, {
    ...WORLD,
    files: { ...files, "e.yaml": "port: 6666\n" },
    environment: { POSTERN_CONFIG: "e.yaml" },
  });
  assert(named.started[0]?.settings.role === "server");
  assertEquals(named.started[0].settings.listen[0]?.port, 6666);
  const wrong = await runInTest(["server"], { ...WORLD, files: { ...files, "/etc/postern/server.yaml": "prot: 1\n" } });
  assertEquals([wrong.code, told(wrong).errors], [2, ["/etc/postern/server.yaml:1: prot: unknown key (did you mean port?)"]]);
});

Deno.test("config check: says the role and counts, or what is wrong", async () => {
  const files = {
    "agent.yaml": "forward: [9000=web]\nserver: gw\n",
    "x.json": '{"port": 1}',
    "server.yaml": "ca_cert: c.pem\nlog_level: loud\n",
  };
  assertEquals((await runInTest(["config", "check", "agent.yaml"], { files })).out, "agent.yaml: ok (agent, 2 settings)\n");
  assertMatch((await runInTest(["config", "check", "x.json", "--role", "server"], { files })).error, /--ca-cert is missing/);
  assertMatch(
    (await runInTest(["config", "check", "server.yaml"], { files })).error,
    /server.yaml:2 log_level: 'loud' is not a level/,
  );
});

Deno.test("config show: value and source of every setting", async () => {
  const files = { "c.yaml": "server: gw:5\n\nservice: [a=h:1, b=h:2]\n" };
  const { out, code } = await runInTest(["config", "show", "connector", "--config", "c.yaml", "--name", "n1"], {
    files,
    environment: { POSTERN_CA_CERT: "ca.pem" },
  });
  assertEquals(code, 0);
  const rows = new Map(out.split("\n").map((line) => [line.split(/ {2,}/)[0], line.split(/ {2,}/).slice(1)]));
  assertEquals(rows.get("server"), ["gw:5", "c.yaml:1 server"]);
  assertEquals(rows.get("service"), ["a=h:1, b=h:2", "c.yaml:3 service"]);
  assertEquals(rows.get("name"), ["n1", "--name"]);
  assertEquals(rows.get("ca_cert"), ["ca.pem", "POSTERN_CA_CERT"]);
  assertEquals(rows.get("verify_peer"), ["true", "default"]);
  const json = JSON.parse((await runInTest(["config", "show", "connector", "--config", "c.yaml", "--json"], { files })).out);
  assertEquals(json.server, { value: [{ host: "gw", port: 5 }], source: { kind: "file", path: "c.yaml", key: "server", line: 1 } });
});

Deno.test("config show: of a webhook only its origin, in words and as JSON", async () => {
  const files = { "c.yaml": "server: gw\nalert_webhook: https://alerts.example.com:8443/hook/s3cret?token=s3cret\n" };
  const args = ["config", "show", "connector", "--config", "c.yaml", "--service", "a=h:1"];
  const outs = [await runInTest(args, { files }), await runInTest([...args, "--json"], { files })].map(({ out }) => out);
  for (const out of outs) {
    assertMatch(out, /https:\/\/alerts\.example\.com:8443\/\[secret\]/);
    assert(!out.includes("s3cret"), out);
  }
});

Deno.test("certs inspect and check, in words and as JSON", async () => {
  assertMatch((await runInTest(["certs", "inspect", "c.pem"], WORLD)).out, /^Subject: {4}CN=self\n/);
  const [report] = JSON.parse((await runInTest(["certs", "inspect", "--json", "c.pem"], WORLD)).out);
  const [summary] = readCertificatesForTest(new TextEncoder().encode(CERT_PEM));
  assertEquals([report.subject, report.daysLeft, report.spkiSha256], ["CN=self", 40, summary?.spkiSha256]);
  assertEquals(report.fingerprint, summary?.fingerprint);
  const fine = await runInTest(["certs", "check", "--cert", "c.pem", "--key", "k.pem"], WORLD);
  assertEquals([fine.code, fine.error], [0, ""]);
  assertMatch(fine.out, /^ok {3}pair: .*\nok {3}validity: .*\n$/);
  const late = await runInTest(["certs", "check", "--cert", "c.pem", "--key", "k.pem"], { ...WORLD, nowMs: Date.UTC(2028, 0, 1) });
  assertEquals(late.code, 1);
  assertMatch(late.out, /FAIL validity: c.pem expired on 2027-01-01/);
});

Deno.test("certs init: files, the table, and commands that can be pasted", async () => {
  const directory = await Deno.makeTempDir({ prefix: "postern cli-" });
  try {
    for (const command of ["init", "generate"]) {
      const target = `${directory}/it's ${command}`;
      const { code, out } = await runInTest(["certs", command, target, "--service", "web", "--name", "*.example.com"], {
        nowMs: Date.now(),
      });
      assertEquals(code, 0);
      assert([...Deno.readDirSync(target)].some((entry) => entry.name === "server-cert.pem"));
      assertMatch(out, /DNS:ztna-server .*DNS:\*\.example\.com/);
      assert(out.includes(`--cert '${directory}/it'\\''s ${command}/server-cert.pem'`), out);
      assert(out.includes("--forward 127.0.0.1:9000=web"), out);
    }
    const again = await runInTest(["certs", "init", `${directory}/it's init`], { nowMs: Date.now() });
    assertEquals(again.code, 1);
    assertMatch(again.error, /are there already\npostern: hint: .*--force/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
