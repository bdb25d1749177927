/**
 * `postern doctor` where something stands between this machine and a service: each trouble is real, made with processes and sockets,
 * and told by its own check, with what mends it.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { createSocket } from "node:dgram";
import { join } from "node:path";
import { createCertificateReader, loadNative } from "../../ffi/mod.ts";
import { DOCTOR, resolveSettings } from "../../src/config/mod.ts";
import { examine, type Finding, Findings } from "../../src/diag/doctor/mod.ts";
import { needing } from "../../tools/needs.ts";
import { Gateway } from "./gateway_fixture.ts";
import { type CertificateFiles, makePki } from "./pki_fixture.ts";
import { RoleProcess, runPostern, TemporaryFolder } from "./processes_fixture.ts";
import { ServerRig } from "./server_rig_fixture.ts";
import { Backend, closedPort } from "./tcp_fixture.ts";
import { Namespace } from "./tun_fixture.ts";

const DAY_MS = 86_400_000;
/** The data plane asks the kernel for this much. */
const BUFFER_BYTES = 8 * 1024 * 1024;

const native = createCertificateReader(loadNative().path);

class Report {
  readonly code: number | null;
  readonly findings: readonly Finding[];
  readonly text: string;

  constructor({ code, stdout, said }: { readonly code: number | null; readonly stdout: string; readonly said: string }) {
    assert(stdout.startsWith("{"), `no report: ${stdout}${said}`);
    this.code = code;
    this.text = stdout + said;
    this.findings = JSON.parse(stdout).findings;
  }

  of(check: Finding["check"], subject?: string): Finding {
    const found = this.findings.find((finding) =>
      finding.check === check && (subject === undefined || finding.subject === subject)
    );
    assert(found !== undefined, `nothing is said of ${check}: ${this.text}`);
    return found;
  }

  /** What is broken, by check and in words. */
  fails(): string[] {
    return this.findings.filter(({ level }) => level === "fail").map(({ check }) => check);
  }

  /** This, and only this, is broken, in these words. */
  isOnly(check: Finding["check"], message: RegExp, mend: RegExp): void {
    assertEquals([this.fails(), this.code], [[check], 1], this.text);
    const { message: said, mend: mends } = this.of(check, this.findings.find((one) => one.level === "fail")?.subject);
    assertMatch(said, message);
    assertMatch(mends ?? "", mend);
  }
}

/** Several at once, each with seconds of patience, on a machine that does other things. */
const DOCTOR_MS = 180_000;

async function doctor(folder: string, ...args: readonly string[]): Promise<Report> {
  return new Report(await runPostern(["doctor", "--json", ...args], folder, {}, DOCTOR_MS));
}

/** A UDP socket that answers nothing, or its port after it has gone. */
async function silentSocket() {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  return { port, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => socket.close(() => resolve())) };
}

function client({ cert, key }: CertificateFiles, caCert: string): string[] {
  return ["--ca-cert", caCert, "--client-cert", cert, "--client-key", key];
}

Deno.test("doctor: all is well, for people and for scripts, by flags and by a file of settings", async () => {
  await using backend = new Backend();
  await using gateway = await Gateway.start({ services: { web: backend.port } });
  const flags = gateway.uplinkFlags(gateway.pki.agent);
  const report = await doctor(gateway.folder, ...flags, "--service", "web");
  assertEquals([report.fails(), report.code], [[], 0], report.text);
  const wanted: Finding["check"][] = ["certificate", "key", "authorities", "names", "resolve", "reach", "offload", "handshake"];
  wanted.push("server-certificate", "admission", "clock", "path", "service");
  for (const check of wanted) assertEquals(report.of(check).level, "ok", JSON.stringify(report.of(check)));
  assertMatch(report.of("certificate").message, /: \d+ days left$/);
  assertMatch(report.of("server-certificate").message, /has the name 127\.0\.0\.1, valid until .*: \d+ days left$/);
  assertMatch(report.of("service").message, /^open: its backend took a connection$/);
  // Loopback's packets are larger than any that we send.
  assertMatch(report.of("path").message, /^packets of 8980 bytes reach the server: 89\d\d bytes in one DATAGRAM$/);
  const { level, mend } = report.of("buffers");
  const most = Number(Deno.readTextFileSync("/proc/sys/net/core/rmem_max"));
  assertEquals(level, most < BUFFER_BYTES ? "warn" : "ok");
  if (most < BUFFER_BYTES) assertEquals(mend, `sysctl -w net.core.rmem_max=${BUFFER_BYTES} net.core.wmem_max=${BUFFER_BYTES}`);

  const settings = join(gateway.folder, "agent.yaml");
  const { pki } = gateway;
  Deno.writeTextFileSync(
    settings,
    `server: ${gateway.serverAddress}\nca_cert: ${pki.caCert}\nclient_cert: ${pki.agent.cert}\nclient_key: ${pki.agent.key}\n` +
      `forward: ["127.0.0.1:80=web"]\n`,
  );
  const shown = await runPostern(["doctor", "--config", settings], gateway.folder, {}, DOCTOR_MS);
  assertEquals(shown.code, 0, shown.said);
  assertMatch(shown.stdout, /^OK {4}service {13}web: open: its backend took a connection$/m);
  assertMatch(shown.stdout, /\n\n\d+ well, \d+ to look at, 0 broken\n$/);
});

Deno.test("doctor: nobody listens there, nobody answers, the name is none", async () => {
  using folder = new TemporaryFolder();
  const pki = await makePki(join(folder.path, "pki"));
  const files = client(pki.agent, pki.caCert);
  await using silent = await silentSocket();
  let left: number;
  {
    await using gone = await silentSocket();
    left = gone.port;
  }
  const [down, dark, unknown] = await Promise.all([
    doctor(folder.path, ...files, "--server", `127.0.0.1:${left}`),
    doctor(folder.path, ...files, "--server", `127.0.0.1:${silent.port}`),
    doctor(folder.path, ...files, "--server", "gateway.invalid"),
  ]);
  const both = await doctor(folder.path, ...files, "--server", `127.0.0.1:${left}`, "--server", "gateway.invalid");
  assertEquals(both.fails(), ["reach", "resolve"], both.text);
  assertEquals([both.of("reach").server, both.of("resolve", "gateway.invalid").server], [
    `127.0.0.1:${left}`,
    "gateway.invalid:4433",
  ]);
  down.isOnly("reach", /^UDP is refused \(ICMP port unreachable\)/, new RegExp(`^on the server: .*ss -lun 'sport = :${left}'`));
  dark.isOnly("reach", /^nothing comes back, no refusal either: a firewall drops UDP/, /^let UDP port \d+ pass/);
  unknown.isOnly("resolve", /^cannot resolve the name gateway\.invalid/, /^getent ahosts gateway\.invalid/);
});

Deno.test("doctor: certificates of another authority, of another name, expired, and not valid yet", async () => {
  await using gateway = await Gateway.empty();
  const { pki, folder } = gateway;
  const now = Date.now();
  const [foreign, expired, early] = await Promise.all([
    pki.foreignAuthority("foreign"),
    pki.issue("expired", { dns: ["agent.web.ztna"], notBefore: new Date(now - 3 * DAY_MS), notAfter: new Date(now - DAY_MS) }),
    pki.issue("early", { dns: ["agent.web.ztna"], notBefore: new Date(now + DAY_MS), notAfter: new Date(now + 2 * DAY_MS) }),
    gateway.startServer(),
  ]);
  const to = ["--server", gateway.serverAddress];
  const strangers = await pki.issue("stranger", { dns: ["agent.web.ztna"] }, foreign.authority);
  const [wrongCa, wrongName, ended, notYet, unknown, lent] = await Promise.all([
    doctor(folder, ...to, ...client(pki.agent, foreign.caCert)),
    doctor(folder, ...to, ...client(pki.agent, pki.caCert), "--server-name", "other.example.com"),
    doctor(folder, ...to, ...client(expired, pki.caCert)),
    doctor(folder, ...to, ...client(early, pki.caCert)),
    doctor(folder, ...to, ...client(strangers, pki.caCert)),
    doctor(folder, ...to, "--ca-cert", pki.caCert, "--client-cert", pki.agent.cert, "--client-key", pki.connector.key),
  ]);
  wrongCa.isOnly("server-certificate", /signed by .* is not trusted: /, /^give the authority that signed it with --ca-cert/);
  wrongName.isOnly(
    "server-certificate",
    /^the name other\.example\.com is not in it; it has /,
    /^name one of them: --server-name /,
  );
  assertEquals(ended.fails(), ["certificate", "admission"], ended.text);
  assertMatch(ended.of("certificate").message, /expired on .*, 1 days ago$/);
  assertMatch(ended.of("admission").message, /refused us: our certificate is expired/);
  assertEquals(notYet.fails(), ["certificate", "admission", "clock"], notYet.text);
  assertMatch(notYet.of("certificate").message, /not valid before .*: the clock here says /);
  assertMatch(notYet.of("clock").mend ?? "", /timedatectl set-ntp true/);
  unknown.isOnly("admission", /refused us/, /--client-cert/);
  assertEquals(lent.fails().includes("key"), true, lent.text);
  assertMatch(lent.of("key").mend ?? "", /^postern certs check --cert .* --key /);
});

/** A server in this process, turned for as long as the doctor's process runs. */
async function doctorAt(rig: ServerRig, folder: string, ...args: readonly string[]): Promise<Report> {
  let report: Report | null = null;
  const running = doctor(folder, ...args).then((done) => report = done);
  // A rejection is the caller's; here it only ends the waiting.
  let hasEnded = false;
  running.catch(() => {}).finally(() => hasEnded = true);
  await rig.until(() => report !== null || hasEnded, DOCTOR_MS);
  return await running;
}

Deno.test("doctor: a server whose certificate begins tomorrow tells of clocks; one of ztna-v1 is asked in packets", async () => {
  using folder = new TemporaryFolder();
  const pki = await makePki(join(folder.path, "pki"));
  const files = client(pki.agent, pki.caCert);
  const from = Date.now() + DAY_MS;
  const server = { commonName: "ztna-server", dns: ["ztna-server"] };
  const early = await pki.authority.issue({ ...server, notBefore: new Date(from), notAfter: new Date(from + DAY_MS) });
  const valid = await pki.authority.issue(server);
  const tls = ({ certificatePem, privateKeyPem }: typeof early) => ({
    tls: { certificatePem, keyPem: privateKeyPem, trustPem: pki.authority.certificatePem },
  });
  const at = (rig: ServerRig) => ["--server", `127.0.0.1:${rig.port()}`, "--server-name", "ztna-server", ...files];
  {
    await using rig = await ServerRig.start(tls(early));
    const report = await doctorAt(rig, folder.path, ...at(rig));
    assertEquals(report.fails(), ["server-certificate", "clock"], report.text);
    assertMatch(report.of("server-certificate").message, /not valid before .*: the clock here says /);
    assertMatch(report.of("clock").mend ?? "", /timedatectl/);
  }
  await using rig = await ServerRig.start(tls(valid), ["ztna-v1"]);
  const report = await doctorAt(rig, folder.path, ...at(rig), "--service", "web", "--service", "db");
  assertMatch(report.of("handshake").message, /^ztna-v1, /);
  assertMatch(report.of("service", "web").message, /^allowed; a server of ztna-v1 does not say/);
  assertMatch(report.of("service", "db").message, /^the server denies it: not-authorised/);
});

Deno.test("doctor: of several addresses the first that answers is used, and the others are told of", async () => {
  await using rig = await ServerRig.start();
  const identity = await rig.authority.issue({ commonName: "laptop", dns: ["agent.web.ztna"], eku: ["clientAuth"] });
  const files = new Map([["ca", rig.authority.certificatePem], ["cert", identity.certificatePem], ["key", identity.privateKeyPem]]);
  const flags = new Map([["server", [`ztna-server:${rig.port()}`]], ["ca_cert", ["ca"]], ["client_cert", ["cert"]], ["client_key", [
    "key",
  ]]]);
  const settings = resolveSettings(DOCTOR, { flags, positional: [], environment: {}, file: null, otherVariables: new Set() })
    .finish();
  const entropy = (bytes: Uint8Array) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
  const findings = new Findings();
  await examine({ settings, services: [] }, {
    reader: {
      readFile: (path) => Promise.resolve(files.get(path) ?? new Uint8Array()),
      fileMode: () => Promise.resolve(0o600),
      createPrivateFile: null,
      readRevocationLists: () => [],
      readCertificates: (pem) => native.certificatesOf(pem as Uint8Array<ArrayBuffer>).map((der) => native.summarize(der)),
      entropy,
      nowMs: Date.now(),
    },
    // On the first nobody listens.
    resolve: () => Promise.resolve(["127.0.0.9", "127.0.0.1"]),
    openProbe: () => Promise.resolve({ ...rig.world, entropy }),
  }, findings);
  const reached = findings.all.filter(({ check }) => check === "reach").map(({ level, subject }) => `${level} ${subject}`);
  assertEquals(reached, [`warn 127.0.0.9:${rig.port()}`, `ok 127.0.0.1:${rig.port()}`]);
  assertEquals(findings.all.filter(({ level }) => level === "fail"), []);
  const admitted = findings.all.find(({ check }) => check === "admission");
  const server = `ztna-server:${rig.port()}`;
  assertEquals(admitted, {
    server,
    check: "admission",
    level: "ok",
    subject: `127.0.0.1:${rig.port()}`,
    message: "the server lets us in",
    mend: null,
  });
});

Deno.test("doctor: a service that is denied, that nobody offers, that was left, and whose backend is down", async () => {
  await using gateway = await Gateway.empty();
  const { pki, folder } = gateway;
  const connectorFiles = await pki.issue("c", { dns: ["connector.down.ztna", "connector.left.ztna"], eku: ["clientAuth"] });
  await gateway.startServer();
  const to = (files: CertificateFiles) => gateway.uplinkFlags(files);
  await using leaving = await gateway.startConnector({ left: closedPort() }, connectorFiles);
  await leaving.stop();
  await gateway.startConnector({ down: closedPort() }, connectorFiles);
  const asked = ["--service", "down", "--service", "left", "--service", "nowhere"];
  const [any, named] = await Promise.all([
    doctor(folder, ...to(pki.wildcardAgent), ...asked),
    doctor(folder, ...to(pki.agent), "--service", "down"),
  ]);
  assertEquals([any.fails(), any.code], [["service", "service", "service"], 1], any.text);
  assertMatch(any.of("service", "down").message, /^allowed, but its connector cannot reach the backend \(backend-refused\)/);
  assertMatch(any.of("service", "left").message, /^allowed, but no connector offers it now/);
  assertMatch(any.of("service", "nowhere").message, /^allowed, but no connector has offered it/);
  assertMatch(any.of("service", "nowhere").mend ?? "", /postern connector --service nowhere=HOST:PORT/);
  assertEquals([named.fails(), named.code], [["names", "service"], 1], named.text);
  assertMatch(named.of("names").message, /its names are agent\.web\.ztna$/);
  assertMatch(named.of("service").message, /^the server denies it: the certificate does not name this role and service$/);

  const connector = await doctorOfConnector(
    folder,
    ...to(connectorFiles),
    "--service",
    "down=127.0.0.1:1",
    "--service",
    "x=127.0.0.1:1",
  );
  assertEquals([connector.fails(), connector.code], [["names"], 1], connector.text);
  assertEquals([connector.of("names", "down").level, connector.of("names", "x").level], ["ok", "fail"]);
  assertEquals(connector.of("admission").level, "ok");
});

async function doctorOfConnector(folder: string, ...args: readonly string[]): Promise<Report> {
  return new Report(await runPostern(["doctor", "connector", "--json", ...args], folder, {}, DOCTOR_MS));
}

Deno.test("doctor: wrong settings are told before anything is looked at", async () => {
  using folder = new TemporaryFolder();
  for (const args of [["--server", "a:b:c"], ["--client-cert", "c.pem"], ["--service", "no spaces"], ["--unknown"]]) {
    const { code, stdout } = await runPostern(["doctor", ...args], folder.path);
    assertEquals([code, stdout], [2, ""], args.join(" "));
  }
});

const NEEDS = { root: true, tools: ["unshare", "nsenter", "ip"], files: ["dist/postern"] };

Deno.test(needing(NEEDS, "doctor: a path whose packets are small, and one on which QUIC does not work at all", async () => {
  using folder = new TemporaryFolder();
  const pki = await makePki(join(folder.path, "pki"));
  await using host = await Namespace.open();
  await host.run("ip", "link", "set", "lo", "mtu", "1305", "up");
  const inside = ["nsenter", `--net=/proc/${host.pid}/ns/net`];
  const serverFlags = ["--bind", "127.0.0.1:0", "--cert", pki.server.cert, "--key", pki.server.key, "--ca-cert", pki.caCert];
  await using server = new RoleProcess(["server", ...serverFlags], folder.path, {}, inside);
  const flags = ["--server", `127.0.0.1:${(await server.ports())[0]}`, ...client(pki.agent, pki.caCert)];
  const look = async () => {
    await using process = new RoleProcess(["doctor", "--json", ...flags], folder.path, {}, inside);
    return new Report(await process.end(DOCTOR_MS));
  };
  const small = await look();
  assertEquals([small.fails(), small.of("path").level], [[], "warn"], small.text);
  assertMatch(small.of("path").message, /^packets of 1300 bytes reach the server: 12\d\d bytes in one DATAGRAM, too few/);
  assertMatch(small.of("path").mend ?? "", /tracepath -n 127\.0\.0\.1 /);
  await host.run("ip", "link", "set", "lo", "mtu", "1200");
  (await look()).isOnly("reach", /takes no packet of 1200 bytes of UDP/, /ip link set dev DEVICE mtu 1500/);
}));
