/** Certificates and keys as they lie on a disk: missing, foreign, expired, readable by others; and the words for each. */

import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { PosternError } from "../base/mod.ts";
import { readCertificatesForTest } from "./certificate_fixture.ts";
import {
  AGENT,
  type AgentSettings,
  CONNECTOR,
  loadClientMaterial,
  loadServerMaterial,
  type MaterialReader,
  resolveSettings,
  type Role,
  type RoleMaterial,
  SERVER,
  SYSTEM_BUNDLES,
} from "./mod.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 10, 22);
const EC = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

async function selfSigned(
  name: string,
  fromDays: number,
  toDays: number,
  algorithm: EcKeyGenParams | Algorithm = EC,
): Promise<{ cert: string; key: string }> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [name] }],
    notBefore: new Date(NOW_MS + fromDays * DAY_MS),
    notAfter: new Date(NOW_MS + toDays * DAY_MS),
    keys,
    signingAlgorithm: algorithm as EcdsaParams,
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { cert: certificate.toString("pem") + "\n", key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") + "\n" };
}

const good = await selfSigned("good", -1, 100);
const other = await selfSigned("other", -1, 100);
const edwards = await selfSigned("ed", -1, 100, { name: "Ed25519" });
const soon = await selfSigned("soon", -1, 3);
const expired = await selfSigned("expired", -9, -1);
const future = await selfSigned("future", 1, 9);
const signed = await issuedBy("an authority");

/** A certificate that neither is an authority nor signed itself. */
async function issuedBy(issuer: string): Promise<{ cert: string }> {
  const keys = await crypto.subtle.generateKey(EC, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: ["peer"] }],
    issuer: [{ CN: [issuer] }],
    notBefore: new Date(NOW_MS - DAY_MS),
    notAfter: new Date(NOW_MS + DAY_MS),
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: EC,
  });
  return { cert: certificate.toString("pem") + "\n" };
}

interface Disk {
  readonly files: Readonly<Record<string, string>>;
  readonly modes?: Readonly<Record<string, number>>;
  readonly forbidden?: readonly string[];
}

function reader({ files, modes, forbidden }: Disk): MaterialReader {
  return {
    readFile: (path) => {
      if (forbidden?.includes(path)) return Promise.reject(new Deno.errors.PermissionDenied("Permission denied"));
      const text = files[path];
      return text === undefined
        ? Promise.reject(new Deno.errors.NotFound("no such file"))
        : Promise.resolve(new TextEncoder().encode(text));
    },
    fileMode: (path) => Promise.resolve(modes?.[path] ?? 0o100600),
    createPrivateFile: () => Promise.reject(new Deno.errors.PermissionDenied("read-only")),
    readCertificates: readCertificatesForTest,
    readRevocationLists: () => [],
    entropy: (bytes) => bytes.fill(1),
    nowMs: NOW_MS,
  };
}

const DISK: Disk = { files: { "c.pem": good.cert, "k.pem": good.key, "ca.pem": other.cert } };

function withFiles(files: Record<string, string | undefined>): Disk {
  const merged = Object.entries({ ...DISK.files, ...files }).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return { files: Object.fromEntries(merged) };
}

async function load(role: Role, flags: Record<string, readonly string[] | boolean>, disk: Disk): Promise<RoleMaterial> {
  const inputs = {
    flags: new Map(Object.entries(flags)),
    positional: [],
    environment: {},
    file: null,
    otherVariables: new Set<string>(),
  };
  if (role === "server") return await loadServerMaterial(resolveSettings(SERVER, inputs).finish(), reader(disk));
  const settings = role === "agent"
    ? resolveSettings(AGENT, inputs).finish() as AgentSettings
    : resolveSettings(CONNECTOR, inputs).finish();
  return await loadClientMaterial(settings, reader(disk));
}

const SERVER_FLAGS = { cert: ["c.pem"], key: ["k.pem"], ca_cert: ["ca.pem"] };
const CLIENT_FLAGS = { client_cert: ["c.pem"], client_key: ["k.pem"], ca_cert: ["ca.pem"] };

function messages({ notices }: RoleMaterial, level: string): string[] {
  return notices.filter((notice) => notice.level === level).map((notice) => notice.message);
}

Deno.test("what fits is loaded as it lies there", async () => {
  for (
    const [role, flags] of [["server", SERVER_FLAGS], ["connector", CLIENT_FLAGS], ["agent", {
      ...CLIENT_FLAGS,
      forward: ["1=x"],
    }]] as const
  ) {
    const material = await load(role, flags, DISK);
    assertEquals(material.identity, {
      certificateChainPem: new TextEncoder().encode(good.cert),
      privateKeyPem: new TextEncoder().encode(good.key),
    });
    assertEquals(material.trustPem, new TextEncoder().encode(other.cert));
    assertEquals(messages(material, "warn"), []);
    assert(messages(material, "info").includes("Loaded CA certificate from ca.pem"));
  }
});

Deno.test("key and certificate in one file, EC PARAMETERS before the key, Ed25519", async () => {
  const both = withFiles({ "c.pem": good.cert + good.key, "k.pem": good.key + good.cert });
  await load("server", SERVER_FLAGS, both);
  const parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
  await load("server", SERVER_FLAGS, withFiles({ "k.pem": parameters + good.key }));
  await load("server", SERVER_FLAGS, withFiles({ "c.pem": edwards.cert, "k.pem": edwards.key }));
});

const blockOf = (label: string, text: string) => `-----BEGIN ${label}-----\n${text}\n-----END ${label}-----\n`;
const ENCRYPTED = blockOf("ENCRYPTED PRIVATE KEY", "MIH");
const BROKEN_KEY = blockOf("PRIVATE KEY", "AAAA");
const BROKEN_CERT = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

const WRONG: readonly (readonly [what: string, files: Record<string, string | undefined>, message: string])[] = [
  ["no certificate file", { "c.pem": undefined }, "Certificate file not found: c.pem"],
  ["no key file", { "k.pem": undefined }, "Private key file not found: k.pem"],
  ["no CA file", { "ca.pem": undefined }, "CA certificate file not found: ca.pem"],
  ["an empty certificate file", { "c.pem": "" }, "No certificate in c.pem"],
  ["a damaged certificate", { "c.pem": BROKEN_CERT }, "Certificate cannot be parsed: c.pem"],
  ["an empty key file", { "k.pem": "" }, "No private key in k.pem"],
  ["a damaged key", { "k.pem": BROKEN_KEY }, "Private key cannot be parsed: k.pem"],
  ["a key with a passphrase", { "k.pem": ENCRYPTED }, "Private key k.pem is encrypted"],
  ["another key", { "k.pem": other.key }, "Private key k.pem does not belong to certificate c.pem"],
  ["a key of another kind", { "k.pem": edwards.key }, "Private key k.pem does not belong to certificate c.pem"],
  ["an expired certificate", { "c.pem": expired.cert, "k.pem": expired.key }, "Certificate expired on 2026-11-21T00:00:00Z: c.pem"],
  [
    "one that begins later",
    { "c.pem": future.cert, "k.pem": future.key },
    "Certificate is not valid before 2026-11-23T00:00:00Z: c.pem",
  ],
  ["a peer's certificate as CA file", { "ca.pem": signed.cert }, "No authority in ca.pem: CN=peer may not sign certificates"],
  ["an empty CA file", { "ca.pem": "\n" }, "No CA certificate in ca.pem"],
  ["a damaged CA file", { "ca.pem": other.cert + BROKEN_CERT }, "Certificate cannot be parsed: ca.pem"],
  ["an expired CA", { "ca.pem": expired.cert }, "CA certificate expired on 2026-11-21T00:00:00Z: ca.pem"],
];

for (const [what, files, message] of WRONG) {
  Deno.test(`refused with exit 1 by every role: ${what}`, async () => {
    for (const [role, flags] of [["server", SERVER_FLAGS], ["connector", CLIENT_FLAGS]] as const) {
      const error = await assertRejects(() => load(role, flags, withFiles(files)), PosternError, message);
      assertEquals(error.exitCode, 1, role);
      assert(error.hint !== null, role);
    }
  });
}

Deno.test("a file that may not be read is told apart from one that is missing", async () => {
  const disk = { ...DISK, forbidden: ["k.pem"] };
  const error = await assertRejects(
    () => load("server", SERVER_FLAGS, disk),
    PosternError,
    "Private key file cannot be read: k.pem",
  );
  assertEquals(error.exitCode, 1);
});

Deno.test("warnings: a key that others may read, an end that is near, one expired CA among several", async () => {
  for (const mode of [0o100640, 0o100604, 0o100644]) {
    const [warning] = messages(await load("server", SERVER_FLAGS, { ...DISK, modes: { "k.pem": mode } }), "warn");
    assertEquals(
      warning,
      `Private key k.pem can be read by others (mode ${(mode & 0o777).toString(8).padStart(4, "0")}): chmod 600 it`,
    );
  }
  const near = await load("connector", CLIENT_FLAGS, withFiles({ "c.pem": soon.cert, "k.pem": soon.key }));
  assertEquals(messages(near, "warn"), ["Certificate c.pem expires on 2026-11-25T00:00:00Z"]);
  const mixed = await load("connector", CLIENT_FLAGS, withFiles({ "ca.pem": other.cert + expired.cert }));
  assertEquals(messages(mixed, "warn"), ["CA certificate CN=expired in ca.pem has expired"]);
  // A bundle of a system may have many: they are counted.
  const many = await load("connector", CLIENT_FLAGS, withFiles({ "ca.pem": other.cert + expired.cert + expired.cert }));
  assertEquals(messages(many, "warn"), ["2 of the 3 CA certificates in ca.pem have expired, CN=expired among them"]);
});

Deno.test("a server without --ca-cert does not start, but a missing file is told first", async () => {
  const error = await assertRejects(
    () => load("server", { cert: ["c.pem"], key: ["k.pem"] }, DISK),
    PosternError,
    "--ca-cert is missing",
  );
  assertEquals(error.exitCode, 2);
  await assertRejects(
    () => load("server", { cert: ["none"], key: ["k.pem"] }, DISK),
    PosternError,
    "Certificate file not found: none",
  );
  const open = await load("server", { cert: ["c.pem"], key: ["k.pem"], verify_peer: false, require_client_cert: false }, DISK);
  assertEquals(open.trustPem, null);
  assert(messages(open, "warn").includes("TLS peer verification DISABLED — do not use in production"));
});

Deno.test("what the server demands of clients stands in its log", async () => {
  const strict = await load("server", SERVER_FLAGS, DISK);
  assertEquals(messages(strict, "info").filter((message) => message.includes("lient")), [
    "Require client cert: true",
    "mTLS client authentication ENABLED — connections without valid client certs will be rejected",
  ]);
  const flags = { ...SERVER_FLAGS, require_client_cert: false, allow_anonymous: ["agent:web"], allow_legacy_certs: true };
  const open = await load("server", flags, DISK);
  assert(messages(open, "info").includes("Require client cert: false"));
  assert(messages(open, "warn").some((message) => message.includes("NOT required") && message.includes("agent:web")));
  assert(messages(open, "warn").some((message) => message.includes("--allow-legacy-certs")));
});

Deno.test("a client without --ca-cert takes the system's bundle and says which", async () => {
  const [first = "", second = ""] = SYSTEM_BUNDLES;
  const material = await load("connector", {}, { files: { [second]: other.cert } });
  assertEquals(material.trustPem, new TextEncoder().encode(other.cert));
  assertEquals(messages(material, "info"), [`verify_peer enabled, using system CA store for Intermediate connection (${second})`]);
  assert(messages(material, "warn")[0]?.startsWith("No client certificate"));
  const preferred = await load("connector", {}, { files: { [first]: good.cert, [second]: other.cert } });
  assertEquals(preferred.trustPem, new TextEncoder().encode(good.cert));
  const error = await assertRejects(() => load("connector", {}, { files: {} }), PosternError, "no bundle of CA certificates");
  assertEquals([error.exitCode, error.hint?.includes("--ca-cert")], [1, true]);
});

Deno.test("a client with --no-verify-peer trusts nothing, reads no bundle and warns", async () => {
  const material = await load("connector", { verify_peer: false }, { files: {} });
  assertEquals(material.trustPem, null);
  assert(messages(material, "warn").includes("TLS peer verification DISABLED — do not use in production"));
});

Deno.test("an agent that listens beyond this machine warns for each such forward", async () => {
  const forward = ["127.0.0.1:1=x", "0.0.0.0:2=x", "[::1]:3=x", "[::]:4=x"];
  const warnings = messages(await load("agent", { ...CLIENT_FLAGS, forward, allow_remote_clients: true }, DISK), "warn");
  assertEquals(warnings.map((warning) => warning.slice(0, 30)), [
    "The forward on 0.0.0.0 port 2 ",
    "The forward on :: port 4 serve",
  ]);
});
