// The metrics listener cannot be had without mutual TLS, nor over IPv4, nor with half of its files.
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { PosternError } from "../../src/base/mod.ts";
import type { OpsSettings } from "../../src/config/mod.ts";
import { NO_OPS } from "../../src/config/ops_fixture.ts";
import {
  loadMetricsCredentials,
  type MetricsServerConfig,
  metricsServerConfig,
  metricsServerConfigWithIpv6,
  resolveMetricsServer,
  startMetricsServer,
} from "../../src/ops/metrics_server/mod.ts";
import { metricCells } from "../../src/base/mod.ts";
import { textResponse } from "../../src/io/http/mod.ts";
import { OPS_METRICS } from "../../src/ops/metrics/mod.ts";
import type { OpsNative } from "../../src/ops/mod.ts";
import { makePoller } from "../e2e/ops_fixture.ts";
import { opsNative, writeCredentials } from "../e2e/ops_metrics_fixture.ts";
import { createAuthority } from "../pki/mod.ts";

async function withFiles(use: (config: MetricsServerConfig) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await use(await writeCredentials(folder, await createAuthority()));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Starts the listener on `config` and expects it to be refused with nothing bound. */
async function refusedStart(config: MetricsServerConfig, native = opsNative): Promise<PosternError> {
  const poller = makePoller();
  try {
    const error = await assertRejects(() =>
      startMetricsServer({
        config,
        acl: null,
        native,
        poller,
        counters: metricCells(OPS_METRICS),
        log: () => {},
        record: () => {},
        handler: () => textResponse("ok"),
      }), PosternError);
    assertEquals(poller.size, 0, "nothing is bound");
    return error;
  } finally {
    await poller.close();
  }
}

Deno.test("metrics server config: default [::1]:9090", () => {
  const config = metricsServerConfig("/c", "/k", "/a");
  assertEquals(config, { listen: { address: "::1", port: 9090 }, certPath: "/c", keyPath: "/k", caPath: "/a" });
  const on = resolveMetricsServer({ ...NO_OPS, metricsCertPath: "/c" }, "server", () => false);
  assert(on.kind === "on");
  assertEquals(on.config.listen, { address: "::1", port: 9090 });
});

Deno.test("metrics server config: custom [::]:9090", () => {
  const config = metricsServerConfigWithIpv6("[::]:9090", "/c", "/k", "/a");
  assertEquals(config, { listen: { address: "::", port: 9090 }, certPath: "/c", keyPath: "/k", caPath: "/a" });
});

Deno.test("metrics server config: rejects IPv4", () => {
  for (
    const text of [
      "127.0.0.1:9090",
      "0.0.0.0:9090",
      "127.0.0.1",
      "localhost:9090",
      "[::ffff:127.0.0.1]:9090",
      "[::FFFF:7f00:1]:9090",
    ]
  ) {
    const error = assertThrows(() => metricsServerConfigWithIpv6(text, "/c", "/k", "/a"), PosternError);
    assertEquals(error.message, "IPv4 addresses not supported. Use IPv6 format: [::1]:9090");
    assertEquals(error.exitCode, 2);
  }
});

Deno.test("metrics server validation: missing cert", async () => {
  await withFiles(async (config) => {
    Deno.removeSync(config.certPath);
    const error = await refusedStart(config);
    assertEquals([error.message, error.exitCode], [`Metrics server certificate not found: ${config.certPath}`, 1]);
  });
});

Deno.test("metrics server validation: missing key", async () => {
  await withFiles(async (config) => {
    Deno.removeSync(config.keyPath);
    const error = await refusedStart(config);
    assertEquals([error.message, error.exitCode], [`Metrics server private key not found: ${config.keyPath}`, 1]);
  });
});

Deno.test("metrics server validation: missing CA", async () => {
  await withFiles(async (config) => {
    Deno.removeSync(config.caPath);
    const error = await refusedStart(config);
    assertStringIncludes(error.message, `Metrics CA certificate not found: ${config.caPath}`);
    assertStringIncludes(error.message, "mutual TLS is mandatory");
    assertEquals(error.exitCode, 1);
  });
});

Deno.test("metrics server creation requires certs", async () => {
  await withFiles(async (config) => {
    const damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const breakages: readonly (readonly [string, string])[] = [
      [config.certPath, ""],
      [config.certPath, "no certificate"],
      [config.certPath, damaged],
      [config.keyPath, ""],
      [config.keyPath, ["BEGIN", "END"].map((word) => `-----${word} PRIVATE KEY-----\n`).join("AAAA\n")],
      [config.caPath, ""],
      [config.caPath, damaged],
    ];
    for (const [path, text] of breakages) {
      const kept = Deno.readFileSync(path);
      Deno.writeTextFileSync(path, text);
      await assertRejects(() => loadMetricsCredentials(config, opsNative), PosternError, path);
      Deno.writeFileSync(path, kept);
    }
    const other = await (await createAuthority()).issue({ commonName: "other" });
    Deno.writeFileSync(config.keyPath, other.privateKeyPem);
    await assertRejects(() => loadMetricsCredentials(config, opsNative), PosternError, config.keyPath);
  });
});

Deno.test("a file that cannot be read, is too long, or holds nothing is refused with its name", async () => {
  await withFiles(async (config) => {
    const folder = config.certPath.slice(0, config.certPath.lastIndexOf("/"));
    const unreadable = await refusedStart({ ...config, caPath: folder });
    assertStringIncludes(unreadable.message, `Metrics CA certificate cannot be read: ${folder} (it verifies the clients`);
    assertEquals(unreadable.exitCode, 1);
    const long = `${folder}/long.pem`;
    Deno.writeFileSync(long, new Uint8Array(1 << 21));
    assertStringIncludes((await refusedStart({ ...config, keyPath: long })).message, `longer than 1048576 bytes: ${long}`);
    const emptyFor = (path: string): OpsNative => ({
      ...opsNative,
      readCertificates: (pem) =>
        new TextDecoder().decode(pem) === Deno.readTextFileSync(path) ? [] : opsNative.readCertificates(pem),
    });
    for (const path of [config.certPath, config.caPath]) {
      assertStringIncludes((await refusedStart(config, emptyFor(path))).message, `No certificate in ${path}`);
    }
  });
});

Deno.test("a port that is taken is refused, and the listener tells when it read its files", async () => {
  await withFiles(async (config) => {
    const taken = Deno.listen({ hostname: "::1", port: 0 });
    await refusedStart({ ...config, listen: { address: "::1", port: taken.addr.port } });
    taken.close();
    const poller = makePoller(), before = Date.now();
    const server = await startMetricsServer({
      config,
      acl: null,
      native: opsNative,
      poller,
      counters: metricCells(OPS_METRICS),
      log: () => {},
      record: () => {},
      handler: () => textResponse("ok"),
    });
    const { atMs, error } = server.lastReload();
    assert(atMs >= before && atMs <= Date.now() && error === "");
    await server.close();
    await poller.close();
  });
});

Deno.test("metrics server startup requires certs", async () => {
  await withFiles(async (config) => {
    for (const name of ["certPath", "keyPath", "caPath"] as const) {
      const error = await refusedStart({ ...config, [name]: "/nonexistent/file.pem" });
      assertStringIncludes(error.message, "/nonexistent/file.pem");
    }
    Deno.writeTextFileSync(config.keyPath, "corrupt");
    assertStringIncludes((await refusedStart(config)).message, config.keyPath);
  });
});

Deno.test("a listener that would let anonymous clients in is taken down before it serves anybody", async () => {
  await withFiles(async (config) => {
    const lax: OpsNative = {
      ...opsNative,
      createTlsContext: (options) => {
        const { verify } = options;
        return opsNative.createTlsContext(
          verify.kind === "require" ? { ...options, verify: { ...verify, kind: "if-given" } } : options,
        );
      },
    };
    assertStringIncludes((await refusedStart(config, lax)).message, "answered a client without a certificate");
  });
});

Deno.test("without any setting and without default files there is no listener; anything partial wants all three", () => {
  const nowhere = () => false;
  assertEquals(resolveMetricsServer(NO_OPS, "server", nowhere), { kind: "off", isUnconfigured: true });
  assertEquals(resolveMetricsServer({ ...NO_OPS, metricsPort: 0 }, "server", () => true), { kind: "off", isUnconfigured: false });
  const partial: readonly Partial<OpsSettings>[] = [
    { metricsAddr: "[::1]:1" },
    { metricsPort: 1 },
    { metricsCertPath: "/c" },
    { metricsKeyPath: "/k" },
    { metricsCaPath: "/a" },
    { metricsAcl: [] },
  ];
  for (const setting of partial) assertEquals(resolveMetricsServer({ ...NO_OPS, ...setting }, "server", nowhere).kind, "on");
  for (const present of ["server.crt", "server.key", "ca.crt"]) {
    assertEquals(resolveMetricsServer(NO_OPS, "server", (path) => path === `/etc/postern/metrics/${present}`).kind, "on");
  }
});

Deno.test("each role has a port of its own, and a port alone means [::1]", () => {
  const ports = (["server", "connector", "agent"] as const).map((role) => {
    const resolution = resolveMetricsServer({ ...NO_OPS, metricsCaPath: "/a" }, role, () => false);
    return resolution.kind === "on" ? resolution.config.listen.port : null;
  });
  assertEquals(ports, [9090, 9091, 9092]);
  const resolution = resolveMetricsServer({ ...NO_OPS, metricsPort: 9500 }, "server", () => false);
  assert(resolution.kind === "on");
  assertEquals(resolution.config.listen, { address: "::1", port: 9500 });
});

Deno.test("an address and a port together, or an address that is none, are usage errors", () => {
  const texts = ["[::1]", "::1:9090", "[::1]:65536", "[::1]:x", "[fe80::1%eth0]:1", "example.com:9090", "", "[]:1", "[::1]:1:2"];
  for (const text of texts) {
    const error = assertThrows(() => metricsServerConfigWithIpv6(text, "/c", "/k", "/a"), PosternError);
    assertEquals(error.exitCode, 2, text);
  }
  const both = assertThrows(
    () => resolveMetricsServer({ ...NO_OPS, metricsAddr: "[::1]:1", metricsPort: 1 }, "server", () => false),
    PosternError,
  );
  assertEquals(both.exitCode, 2);
});
