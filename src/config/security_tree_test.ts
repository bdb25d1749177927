/** The `security:` tree of a file: what it means for each role, and that it asks for nothing in vain. */

import { assert, assertEquals } from "@std/assert";
import { PosternError } from "../base/mod.ts";
import {
  AGENT,
  CONNECTOR,
  formatSource,
  parseConfigFile,
  resolveSettings,
  type RoleDefinition,
  SERVER,
  type SettingTable,
} from "./mod.ts";
import { securityTree } from "./security_tree.ts";

/** As it stands in the manuals of peers that have such a file. */
const PUBLISHED = `security:
  tls:
    enabled: true
    min_version: "1.3"
    cert_file: "/etc/dwcp/certs/server.crt"
    key_file: "/etc/dwcp/certs/server.key"
    ca_file: "/etc/dwcp/certs/ca.crt"

  mtls:
    enabled: true
    require_client_cert: true
    verify_peer: true

  cert_management:
    auto_renew: true
    renew_before: 720h  # 30 days
    provider: "vault"

  encryption:
    enabled: true
    algorithm: "AES-256-GCM"
    key_derivation: "argon2id"

  auditing:
    enabled: true
    max_events: 10000
`;

/** Every key, with what this version does not have switched off. */
const WHOLE = {
  tls: {
    enabled: true,
    min_version: "1.3",
    cert_file: "/c.crt",
    key_file: "/c.key",
    ca_file: "/ca.crt",
    session_cache_size: 128,
  },
  mtls: { enabled: true, require_client_cert: true, verify_peer: true },
  cert_management: {
    auto_renew: false,
    renew_before: "720h",
    provider: "manual",
    vault: {
      address: "https://vault.example.com",
      token_file: "/etc/dwcp/vault-token",
      pki_path: "pki",
      role: "dwcp-role",
      token_ttl: "24h",
    },
    acme: {
      enabled: false,
      domains: [],
      email: "",
      cache_dir: "/var/lib/dwcp/acme-cache",
      renew_before: "720h",
      use_staging: false,
      http_challenge_port: 80,
    },
  },
  encryption: {
    enabled: false,
    algorithm: "AES-256-GCM",
    key_derivation: "argon2id",
    key_length: 32,
    argon2: { time: 1, memory: 65536, threads: 4 },
    pbkdf2: { iterations: 100000 },
  },
  auditing: {
    enabled: true,
    max_events: 20000,
    clear_old_events_after: "48h",
    export_path: "",
    alerts: { enabled: true, webhook_url: "https://alerts.example.com/x", email_recipients: [] },
  },
  monitoring: {
    metrics_port: 9190,
    prometheus: { enabled: true, path: "/metrics" },
    logging: { level: "debug", format: "console" },
  },
};

async function resolve<S extends SettingTable, R>(definition: RoleDefinition<S, R>, text: string, path = "f.yaml") {
  const file = await parseConfigFile(path, new TextEncoder().encode(text));
  return resolveSettings(definition, { flags: new Map(), positional: [], environment: {}, file, otherVariables: new Set() });
}

async function refusal(
  text: string,
  path = "f.yaml",
  definition: RoleDefinition<SettingTable, unknown> = SERVER_LIKE,
): Promise<string> {
  try {
    (await resolve(definition, text, path)).finish();
  } catch (error) {
    assert(error instanceof PosternError);
    assertEquals(error.exitCode, 2);
    return `${error.message}\n${error.hint}`;
  }
  throw new Error(`accepted: ${text}`);
}

const SERVER_LIKE = SERVER as unknown as RoleDefinition<SettingTable, unknown>;
const at = (tree: unknown, more: Record<string, unknown> = {}) => JSON.stringify({ ...more, security: tree }, null, 1);

Deno.test("the published tree asks for three features that are not here, and each is named with its line", async () => {
  const words = await refusal(PUBLISHED);
  assertEquals(words.split("\n").slice(0, 3), [
    "f.yaml:15: security.cert_management.auto_renew true: is not in this version",
    'f.yaml:17: security.cert_management.provider "vault": is not in this version',
    "f.yaml:20: security.encryption.enabled true: is not in this version",
  ]);
  const off = PUBLISHED.replace("auto_renew: true", "auto_renew: false").replace('"vault"', '"manual"').replace(
    "encryption:\n    enabled: true",
    "encryption:\n    enabled: false",
  );
  const { resolved, finish } = await resolve(SERVER, off);
  const { certPath, keyPath, caCertPath, requireClientCert, verifyPeer } = finish();
  assertEquals([certPath, keyPath, caCertPath], [
    "/etc/dwcp/certs/server.crt",
    "/etc/dwcp/certs/server.key",
    "/etc/dwcp/certs/ca.crt",
  ]);
  assertEquals([requireClientCert, verifyPeer], [true, true]);
  assertEquals(formatSource(resolved.sources.cert), "f.yaml:5 security.tls.cert_file");
});

Deno.test("the whole tree loads as JSON and as YAML, in every role, and what has no effect is said", async () => {
  for (const path of ["f.json", "f.yaml"]) {
    const { finish, warnings } = await resolve(SERVER, at(WHOLE), path);
    const server = finish();
    assertEquals([server.certPath, server.keyPath, server.caCertPath], ["/c.crt", "/c.key", "/ca.crt"]);
    assertEquals([server.ops.eventsMax, server.ops.eventsKeepMs], [20_000, 48 * 3_600_000]);
    assertEquals([server.ops.alertWebhook, server.ops.metricsPort], ["https://alerts.example.com/x", 9190]);
    assertEquals([server.logLevel, server.logFormat], ["debug", "text"]);
    assertEquals(warnings.length, 1);
    assert(warnings[0]?.includes("security.tls.session_cache_size has no effect"), warnings[0]);
  }
  const connector = (await resolve(CONNECTOR, at(WHOLE), "f.json")).finish();
  assertEquals([connector.clientCertPath, connector.clientKeyPath, connector.caCertPath], ["/c.crt", "/c.key", "/ca.crt"]);
  const agent = (await resolve(AGENT, at(WHOLE, { forward: "1=web" }), "f.json")).finish();
  assertEquals([agent.clientCertPath, agent.verifyPeer], ["/c.crt", true]);
});

Deno.test("every key of the tree is in that whole tree", () => {
  const keys = (value: unknown, prefix: string): string[] =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inside]) => keys(inside, prefix === "" ? key : `${prefix}.${key}`))
      : [prefix];
  assertEquals(securityTree().map(({ path }) => path), keys(WHOLE, ""));
});

Deno.test("alerts that are switched off are sent nowhere", async () => {
  const auditing = { alerts: { enabled: false, webhook_url: "https://alerts.example.com/x" } };
  assertEquals((await resolve(SERVER, at({ auditing }), "f.json")).finish().ops.alertWebhook, null);
});

Deno.test("an unknown key anywhere in the tree: path, line and near miss, in JSON and in YAML", async () => {
  const yaml = await refusal("security:\n  tls:\n    enabled: true\n    cert_fil: x\n  mtsl: {}\n");
  assert(yaml.includes("f.yaml:4: security.tls.cert_fil: unknown key (did you mean cert_file?)"), yaml);
  assert(yaml.includes("f.yaml:5: security.mtsl: unknown key (did you mean mtls?)"), yaml);
  const json = await refusal('{\n "security": {\n  "auditing": {\n   "max_event": 5\n  }\n }\n}\n', "f.json");
  assert(json.includes("f.json:4: security.auditing.max_event: unknown key (did you mean max_events?)"), json);
});

Deno.test("what cannot be so is refused with the reason", async () => {
  const cases: [unknown, string][] = [
    [{ tls: { enabled: false } }, "security.tls.enabled false: TLS cannot be turned off"],
    [{ tls: { min_version: "1.2" } }, 'security.tls.min_version "1.2": must be "1.3"'],
    [{ mtls: { enabled: false } }, "mutual TLS cannot be turned off"],
    [{ auditing: { enabled: false } }, "security events cannot be turned off"],
    [{ auditing: { max_events: 5 } }, "security.auditing.max_events 5: must be at least 100"],
    [{ auditing: { clear_old_events_after: "soon" } }, "security.auditing.clear_old_events_after"],
    [{ auditing: { export_path: "/x.json" } }, "is not in this version"],
    [{ auditing: { alerts: { email_recipients: ["a@example.com"] } } }, "is not in this version"],
    [{ cert_management: { acme: { enabled: true } } }, "is not in this version"],
    [{ cert_management: { provider: "magic" } }, "must be vault, acme or manual"],
    [{ cert_management: { renew_before: "30 days" } }, "security.cert_management.renew_before"],
    [{ monitoring: { prometheus: { path: "/m" } } }, "must be /metrics"],
    [{ monitoring: { logging: { format: "xml" } } }, "must be json or console"],
    ["yes", "security"],
  ];
  for (const [tree, words] of cases) {
    const said = await refusal(at(tree), "f.json");
    assert(said.includes(words), `${words} is not in ${said}`);
  }
  const both = await refusal(at({ tls: { cert_file: "/a" } }, { cert_path: "/b" }), "f.json");
  assert(both.includes("security.tls.cert_file: says again what cert_path says"), both);
});
