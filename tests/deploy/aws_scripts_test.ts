/** The scripts for EC2 with an aws, a certbot and a service manager that only note their calls. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { makePki } from "../e2e/pki_fixture.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { runWithStubs, type Stub } from "./stub_fixture.ts";
import { ROOT, UNITS } from "./unit_fixture.ts";

const CERTBOT = join(ROOT, "deploy", "aws", "setup-certbot.sh");
const BINARY = { files: ["dist/postern"] };

/** The variables that keep the scripts inside a folder. */
function inside(folder: string): Record<string, string> {
  return {
    POSTERN_LIB: UNITS,
    LETSENCRYPT_DIR: join(folder, "letsencrypt"),
    POSTERN_RENEWED_DIR: join(folder, "renewed"),
    POSTERN_OWNER: String(Deno.uid()),
    POSTERN_BINARY: join(ROOT, "dist", "postern"),
  };
}

/** A certbot that puts these files where certbot does. */
function certbot(folder: string, files: Readonly<Record<string, string>>): Stub {
  const live = join(folder, "letsencrypt", "live", "gateway.example.com");
  const copies = Object.entries(files).map(([name, path]) => `cp '${path}' '${live}/${name}.pem'`);
  return { script: [`mkdir -p '${live}'`, ...copies].join("\n") };
}

Deno.test(needing(BINARY, "setup-certbot.sh asks for a certificate by DNS and installs it for the server", async () => {
  using folder = new TemporaryFolder();
  const pki = await makePki(join(folder.path, "pki"));
  const made = certbot(folder.path, { fullchain: pki.server.cert, privkey: pki.server.key, chain: pki.caCert });
  const hook = `--deploy-hook ${UNITS}/install-certificate.sh && systemctl kill -s SIGHUP postern-server`;
  const asked = "certbot certonly --dns-route53 -d gateway.example.com --non-interactive --agree-tos";
  for (
    const [args, account] of [
      [["gateway.example.com", "ops@example.com"], "--email ops@example.com"],
      [["gateway.example.com"], "--register-unsafely-without-email"],
    ] as const
  ) {
    const result = await runWithStubs(CERTBOT, args, { certbot: made }, { env: inside(folder.path) });
    assertEquals([result.code, result.calls], [0, [`${asked} ${account} ${hook}`]], result.stderr);
    for (const [name, original] of [["cert", pki.server.cert], ["key", pki.server.key], ["ca-cert", pki.caCert]] as const) {
      const link = join(folder.path, "renewed", `${name}.pem`);
      assert(Deno.lstatSync(link).isSymlink);
      assertEquals(Deno.readTextFileSync(link), Deno.readTextFileSync(original));
    }
  }
}));

Deno.test(
  needing(BINARY, "setup-certbot.sh says what is wrong: words, programs, certbot, a key of another certificate", async () => {
    using folder = new TemporaryFolder();
    const pki = await makePki(join(folder.path, "pki"));
    const env = inside(folder.path);
    const wrong: readonly (readonly [readonly string[], number, string])[] = [
      [["../../etc"], 2, "ERROR: Invalid domain: '../../etc'"],
      [["localhost"], 2, "ERROR: Invalid domain: 'localhost'"],
      [["gateway.example.com", "ops"], 2, "ERROR: Invalid email: 'ops'"],
      [["gateway.example.com", "--x@example.com"], 2, "ERROR: Invalid email: '--x@example.com'"],
      [[], 2, "Usage: setup-certbot.sh DOMAIN [EMAIL]"],
    ];
    for (const [args, code, message] of wrong) {
      const result = await runWithStubs(CERTBOT, args, { certbot: {} }, { env });
      assertEquals([result.code, result.stderr.split("\n")[0], result.calls], [code, message, []]);
    }
    const args = ["gateway.example.com"];
    const none = await runWithStubs(CERTBOT, args, {}, { env });
    assertEquals([none.code, none.stderr], [1, "ERROR: certbot is missing: install certbot and python3-certbot-dns-route53\n"]);
    const noLib = await runWithStubs(CERTBOT, args, { certbot: {} }, { env: { ...env, POSTERN_LIB: "/nonexistent" } });
    assertEquals([noLib.code, noLib.calls, noLib.stderr], [
      1,
      [],
      "ERROR: no /nonexistent/install-certificate.sh: run deploy/systemd/install.sh first\n",
    ]);
    const refused = await runWithStubs(CERTBOT, args, { certbot: { code: 1 } }, { env });
    assertEquals([refused.code, refused.stderr], [1, "ERROR: certbot made no certificate for gateway.example.com\n"]);
    const empty = await runWithStubs(CERTBOT, args, { certbot: {} }, { env });
    assertEquals(empty.code, 1);
    assertStringIncludes(empty.stderr, "ERROR: no file ");
    const mixed = certbot(folder.path, { fullchain: pki.server.cert, privkey: pki.agent.key, chain: pki.caCert });
    const refusedKey = await runWithStubs(CERTBOT, args, { certbot: mixed }, { env });
    assertEquals(refusedKey.code, 1);
    assertStringIncludes(refusedKey.stderr, "was refused; the one before stays in use");
    assert(!existsSync(join(folder.path, "renewed")));
  }),
);

/** A copy of deploy/aws beside an installation script that only notes its call. */
function release(folder: string): string {
  for (const name of ["aws", "systemd"]) Deno.mkdirSync(join(folder, "deploy", name), { recursive: true });
  for (const name of ["bootstrap.sh", "setup-certbot.sh"]) {
    Deno.copyFileSync(join(ROOT, "deploy", "aws", name), join(folder, "deploy", "aws", name));
  }
  Deno.writeTextFileSync(join(folder, "deploy", "systemd", "install.sh"), '#!/bin/sh\ninstall.sh "$@"\n', { mode: 0o755 });
  return join(folder, "deploy", "aws", "bootstrap.sh");
}

const FETCH = (name: string) =>
  `aws ssm get-parameter --with-decryption --name /postern/x/${name} --query Parameter.Value --output text`;

Deno.test("bootstrap.sh installs a role, fetches its keys for root alone and starts it", async () => {
  using folder = new TemporaryFolder();
  const tls = join(folder.path, "tls");
  const stubs = { "install.sh": {}, systemctl: {}, aws: { script: 'echo "text of $5"' } };
  const options = { env: { POSTERN_TLS_DIR: tls } };
  const { code, stdout, stderr, calls } = await runWithStubs(release(folder.path), ["connector", "/postern/x/"], stubs, options);
  assertEquals([code, stdout, stderr], [0, "Started postern-connector.service\n", ""]);
  assertEquals(calls, [
    "install.sh connector",
    ...["ca.crt", "connector.crt", "connector.key"].map(FETCH),
    "systemctl enable --now postern-connector.service",
  ]);
  for (const name of ["ca.crt", "connector.crt", "connector.key"]) {
    assertEquals(Deno.readTextFileSync(join(tls, name)), `text of /postern/x/${name}\n`);
    assertEquals((Deno.statSync(join(tls, name)).mode ?? 0) & 0o777, 0o600);
  }
});

Deno.test(
  needing(BINARY, "bootstrap.sh gives a server with a domain a certificate of certbot, and its clients' authority", async () => {
    using folder = new TemporaryFolder();
    const pki = await makePki(join(folder.path, "pki"));
    const made = certbot(folder.path, { fullchain: pki.server.cert, privkey: pki.server.key, chain: pki.caCert });
    const stubs = { "install.sh": {}, systemctl: {}, aws: { stdout: "x" }, certbot: made };
    const env = { ...inside(folder.path), POSTERN_TLS_DIR: join(folder.path, "tls") };
    const args = ["server", "/postern/x", "gateway.example.com", "ops@example.com"];
    const { code, stderr, calls } = await runWithStubs(release(folder.path), args, stubs, { env });
    assertEquals(code, 0, stderr);
    const [install, ca, ask, start, ...further] = calls;
    assertEquals([install, ca, start, further], [
      "install.sh --with renewed-files server",
      FETCH("ca.crt"),
      "systemctl enable --now postern-server.service postern-cert-renew.timer",
      [],
    ]);
    assertStringIncludes(ask ?? "", "-d gateway.example.com --non-interactive --agree-tos --email ops@example.com ");
  }),
);

Deno.test("bootstrap.sh says what is wrong and starts nothing", async () => {
  using folder = new TemporaryFolder();
  const script = release(folder.path);
  const all = { "install.sh": {}, systemctl: {}, aws: {} };
  const options = { env: { POSTERN_TLS_DIR: join(folder.path, "tls") } };
  const wrong: readonly (readonly [readonly string[], number, string])[] = [
    [["gateway", "/x"], 2, "ERROR: no such role: gateway"],
    [["server", "x; y"], 2, "ERROR: Invalid parameters: 'x; y'"],
    [["agent", "/x", "gateway.example.com"], 2, "ERROR: only a server has a domain"],
    [["server"], 2, "Usage: bootstrap.sh ROLE PARAMETERS [DOMAIN [EMAIL]]"],
  ];
  for (const [args, code, message] of wrong) {
    const result = await runWithStubs(script, args, all, options);
    assertEquals([result.code, result.stderr.split("\n")[0], result.calls], [code, message, []]);
  }
  const args = ["connector", "/postern/x"];
  const noAws = await runWithStubs(script, args, { "install.sh": {}, systemctl: {} }, options);
  assertEquals([noAws.code, noAws.stderr], [1, "ERROR: aws is missing: install awscli\n"]);
  const denied = await runWithStubs(script, args, { ...all, aws: { code: 254 } }, options);
  assertEquals([denied.code, denied.stderr], [1, "ERROR: the parameter /postern/x/ca.crt could not be read\n"]);
  assertEquals([...Deno.readDirSync(join(folder.path, "tls"))], [], "nothing half is left");
  const notInstalled = await runWithStubs(script, args, { ...all, "install.sh": { code: 1 } }, options);
  assertEquals([notInstalled.code, notInstalled.calls], [1, ["install.sh connector"]]);
  const notStarted = await runWithStubs(script, args, { ...all, systemctl: { code: 1 } }, options);
  assertEquals([notStarted.code, notStarted.stdout], [1, ""]);
});
