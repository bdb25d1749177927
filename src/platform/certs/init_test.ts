/** The development set as other programs see it: files, modes, names, and what openssl says about the chains. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { PosternError } from "../../base/mod.ts";
import { createDevelopmentPki, type DevelopmentPkiOptions } from "./init.ts";
import { inspectCertificates } from "./inspect.ts";
import { type PemFile, writePemFiles } from "./pem_files.ts";

const DAY_MS = 86_400_000;

async function withDirectory(run: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "postern-certs-" });
  try {
    await run(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function options(directory: string, more: Partial<DevelopmentPkiOptions> = {}): DevelopmentPkiOptions {
  return { directory, service: "test-service", serverNames: [], days: 365, force: false, nowMs: Date.now(), ...more };
}

async function openssl(...args: string[]): Promise<{ readonly ok: boolean; readonly text: string }> {
  const output = await new Deno.Command("openssl", { args, stdout: "piped", stderr: "piped" }).output();
  return { ok: output.success, text: new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr) };
}

const hasOpenssl = await openssl("version").then(({ ok }) => ok, () => false);
if (!hasOpenssl) console.log("certs: openssl is not installed, its checks are left out");

const TUNNEL = ["server", "agent", "connector", "agent-wildcard", "legacy"];

Deno.test("certs init: every file exists, keys are 0600 and PKCS #8", () =>
  withDirectory(async (directory) => {
    await createDevelopmentPki(options(`${directory}/deep/er`));
    const base = `${directory}/deep/er`;
    const certs = [
      ...["ca", ...TUNNEL].map((name) => `${name}-cert.pem`),
      ...["ca", "server", "client"].map((name) => `metrics/${name}.crt`),
    ];
    const keys = [
      ...["ca", ...TUNNEL].map((name) => `${name}-key.pem`),
      ...["ca", "server", "client"].map((name) => `metrics/${name}.key`),
    ];
    for (const name of certs) {
      assertMatch(await Deno.readTextFile(`${base}/${name}`), /^-----BEGIN CERTIFICATE-----\n[^-]+\n-----END CERTIFICATE-----\n$/);
    }
    for (const name of keys) {
      assertMatch(await Deno.readTextFile(`${base}/${name}`), /^-----BEGIN (PRIVATE[ ]KEY)-----\n[^-]+\n-----END \1-----\n$/);
      assertEquals(((await Deno.stat(`${base}/${name}`)).mode ?? 0) & 0o777, 0o600, name);
    }
  }));

Deno.test("certs init: subjects, names, purposes and lifetimes", () =>
  withDirectory(async (directory) => {
    const nowMs = Date.now();
    await createDevelopmentPki(options(directory, {
      nowMs,
      days: 30,
      service: "db.internal",
      serverNames: [{ type: "dns", value: "gw.example.com" }, { type: "ip", value: "2001:db8::1" }, {
        type: "dns",
        value: "localhost",
      }],
    }));
    const read = async (name: string) => (await inspectCertificates(name, await Deno.readFile(`${directory}/${name}`), nowMs))[0];
    const rows: Record<string, { readonly subject: string; readonly names: string[]; readonly purpose: string[] }> = {
      "ca-cert.pem": { subject: "CN=ZTNA Test CA", names: [], purpose: [] },
      "agent-cert.pem": { subject: "CN=test-agent", names: ["DNS:agent.db.internal.ztna"], purpose: ["clientAuth"] },
      "connector-cert.pem": { subject: "CN=test-connector", names: ["DNS:connector.db.internal.ztna"], purpose: ["clientAuth"] },
      "agent-wildcard-cert.pem": { subject: "CN=wildcard-agent", names: ["DNS:agent.*.ztna"], purpose: ["clientAuth"] },
      "legacy-cert.pem": { subject: "CN=legacy-client", names: [], purpose: ["clientAuth"] },
      "server-cert.pem": {
        subject: "CN=ztna-server",
        names: [
          "DNS:ztna-server",
          "DNS:ztna-connector",
          "DNS:localhost",
          "IP:127.0.0.1",
          "IP:::1",
          "DNS:gw.example.com",
          "IP:2001:db8::1",
        ],
        purpose: ["serverAuth"],
      },
      "metrics/ca.crt": { subject: "CN=postern-metrics-ca", names: [], purpose: [] },
      "metrics/server.crt": { subject: "CN=localhost", names: ["DNS:localhost", "IP:::1", "IP:::"], purpose: ["serverAuth"] },
      "metrics/client.crt": { subject: "CN=postern-metrics-client", names: [], purpose: ["clientAuth"] },
    };
    for (const [name, row] of Object.entries(rows)) {
      const report = await read(name);
      assert(report !== undefined, name);
      const isAuthority = row.purpose.length === 0;
      assertEquals(report.subject, row.subject, name);
      assertEquals(report.names, row.names, name);
      assertEquals(report.extendedKeyUsage, row.purpose, name);
      assertEquals(report.isAuthority, isAuthority, name);
      assertEquals(report.keyUsage, isAuthority ? ["keyCertSign", "cRLSign"] : ["digitalSignature"], name);
      assertEquals(report.keyType, name === "metrics/ca.crt" ? "EC P-384" : "EC P-256", name);
      assertEquals(Math.floor(Date.parse(report.notAfter) / 1000), Math.floor((nowMs + 30 * DAY_MS) / 1000), name);
      assert(Date.parse(report.notBefore) < nowMs, name);
      assertMatch(report.serial, /^[4-7][0-9a-f]{31}$/, name);
    }
    assertEquals((await read("agent-cert.pem"))?.authorises, ["agent:db.internal"]);
  }));

Deno.test("certs init: several services stand in the same two certificates", () =>
  withDirectory(async (directory) => {
    await createDevelopmentPki(options(directory, { service: "web", furtherServices: ["db"] }));
    const read = async (name: string) =>
      (await inspectCertificates(name, await Deno.readFile(`${directory}/${name}`), Date.now()))[0];
    assertEquals((await read("agent-cert.pem"))?.authorises, ["agent:web", "agent:db"]);
    assertEquals((await read("connector-cert.pem"))?.names, ["DNS:connector.web.ztna", "DNS:connector.db.ztna"]);
  }));

Deno.test("certs init: what is there is never overwritten, also when only one file is", () =>
  withDirectory(async (directory) => {
    await Deno.mkdir(`${directory}/metrics`);
    await Deno.symlink(`${directory}/elsewhere`, `${directory}/metrics/client.key`);
    const error = await assertRejects(
      () => createDevelopmentPki(options(directory)),
      PosternError,
      "metrics/client.key is there already",
    );
    assertEquals(error.exitCode, 1);
    assertMatch(error.hint ?? "", /--force/);
    assertEquals([...Deno.readDirSync(directory)].map((entry) => entry.name), ["metrics"]);
  }));

Deno.test("certs init: of two at once one wins, and its set stays whole", () =>
  withDirectory(async (directory) => {
    const set = (text: string): PemFile[] =>
      Array.from({ length: 20 }, (_, i) => ({ name: `${i}.pem`, text, isPrivate: i % 2 === 0 }));
    const results = await Promise.allSettled(["a", "b"].map((text) => writePemFiles(directory, set(text), false)));
    assertEquals(results.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    const winner = results[0]?.status === "fulfilled" ? "a" : "b";
    for (let i = 0; i < 20; i++) assertEquals(await Deno.readTextFile(`${directory}/${i}.pem`), winner);
  }));

Deno.test("certs init --force: replaces the set, keeps modes, follows no link and leaves nothing behind", () =>
  withDirectory(async (directory) => {
    await createDevelopmentPki(options(directory));
    const before = await Deno.readTextFile(`${directory}/ca-cert.pem`);
    await Deno.remove(`${directory}/agent-key.pem`);
    await Deno.writeTextFile(`${directory}/victim`, "untouched");
    await Deno.symlink(`${directory}/victim`, `${directory}/agent-key.pem`);
    await createDevelopmentPki(options(directory, { force: true }));
    assert(before !== await Deno.readTextFile(`${directory}/ca-cert.pem`));
    assertEquals(await Deno.readTextFile(`${directory}/victim`), "untouched");
    const key = await Deno.lstat(`${directory}/agent-key.pem`);
    assertEquals([key.isFile, (key.mode ?? 0) & 0o777], [true, 0o600]);
    assertEquals([...Deno.readDirSync(directory)].filter((entry) => entry.name.endsWith(".new")), []);
  }));

Deno.test("certs init: a directory that cannot be written is told as such", () =>
  withDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/file`, "");
    const error = await assertRejects(() => createDevelopmentPki(options(`${directory}/file/sub`)), PosternError);
    assertEquals(error.exitCode, 1);
    assert(error.message.includes(`${directory}/file`), error.message);
  }));

Deno.test({
  name: "certs init: openssl verifies every chain for its purpose, strictly, and no other",
  ignore: !hasOpenssl,
  fn: () =>
    withDirectory(async (directory) => {
      await createDevelopmentPki(options(directory));
      const verify = (ca: string, cert: string, purpose: string) =>
        openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", `${directory}/${ca}`, `${directory}/${cert}`);
      for (const name of TUNNEL) {
        const [right, wrong] = name === "server" ? ["sslserver", "sslclient"] : ["sslclient", "sslserver"];
        assert((await verify("ca-cert.pem", `${name}-cert.pem`, right)).ok, name);
        assert(!(await verify("ca-cert.pem", `${name}-cert.pem`, wrong)).ok, `${name} for ${wrong}`);
      }
      assert((await verify("metrics/ca.crt", "metrics/server.crt", "sslserver")).ok);
      assert((await verify("metrics/ca.crt", "metrics/client.crt", "sslclient")).ok);
      assert(!(await verify("metrics/ca.crt", "server-cert.pem", "sslserver")).ok);
      for (const name of ["ca", ...TUNNEL]) {
        const ofKey = await openssl("pkey", "-in", `${directory}/${name}-key.pem`, "-pubout");
        const ofCert = await openssl("x509", "-in", `${directory}/${name}-cert.pem`, "-noout", "-pubkey");
        assertEquals(ofKey.text, ofCert.text, name);
      }
    }),
});
