// The metrics listener and the admin API, judged by programs that nobody here wrote.
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { lackOfPackages, pythonEnvironment } from "../../tools/python_packages.ts";
import { type Authority, createAuthority } from "../pki/mod.ts";
import { scraper, writeCredentials } from "./ops_metrics_fixture.ts";
import { type RoleFixture, withRole } from "./ops_role_fixture.ts";

interface Scraped extends RoleFixture {
  readonly port: number;
  /** The folder with ca.crt, client.crt and client.key. */
  readonly pki: string;
  readonly authority: Authority;
}

/** A role with a metrics listener, and a client certificate on disk. */
async function withScrape(use: (fixture: Scraped) => Promise<void>): Promise<void> {
  const pki = Deno.makeTempDirSync();
  const authority = await createAuthority({ commonName: "postern-metrics-ca" });
  const { certPath, keyPath, caPath } = await writeCredentials(pki, authority);
  const client = await scraper(authority);
  Deno.writeFileSync(`${pki}/client.crt`, client.certificatePem);
  Deno.writeFileSync(`${pki}/client.key`, client.privateKeyPem, { mode: 0o600 });
  const settings = {
    metricsPort: null,
    metricsAddr: "[::1]:0",
    metricsCertPath: certPath,
    metricsKeyPath: keyPath,
    metricsCaPath: caPath,
  };
  try {
    await withRole(settings, (role) => use({ ...role, pki, authority, port: role.ops.metricsAddress?.port ?? 0 }));
  } finally {
    Deno.removeSync(pki, { recursive: true });
  }
}

interface Ran {
  readonly code: number;
  readonly text: string;
}

/** Runs a program; `text` is all that it said. */
async function run(program: string, args: readonly string[], input = "", cwd = Deno.cwd()): Promise<Ran> {
  const child = new Deno.Command(program, { args: [...args], cwd, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

const identity = (pki: string) => ["--cacert", `${pki}/ca.crt`, "--cert", `${pki}/client.crt`, "--key", `${pki}/client.key`];

Deno.test(
  needing(
    { tools: ["curl"] },
    "curl reads metrics with a certificate; without one, with TLS 1.2, over plain HTTP and over IPv4 it gets nothing",
    async () => {
      await withScrape(async ({ port, pki }) => {
        const url = `https://[::1]:${port}/metrics`;
        const good = await run("curl", ["-sS", ...identity(pki), url]);
        assertEquals(good.code, 0);
        assertStringIncludes(good.text, "\nztna_relay_bytes_total 5\n");
        assertStringIncludes(good.text, 'postern_build_info{role="server",version="0.1.0"} 1');
        const refused: readonly (readonly [string, string[]])[] = [
          ["no certificate", ["-sSk", url]],
          ["TLS 1.2", ["-sS", ...identity(pki), "--tls-max", "1.2", url]],
          ["plain HTTP", ["-sS", `http://[::1]:${port}/metrics`]],
          ["IPv4", ["-sSk", ...identity(pki), `https://127.0.0.1:${port}/metrics`]],
        ];
        for (const [name, args] of refused) {
          const { code, text } = await run("curl", args);
          assert(code !== 0, name);
          assert(!text.includes("ztna_"), name);
        }
        assertStringIncludes((await run("curl", ["-sSk", url])).text, "certificate required");
      });
    },
  ),
);

Deno.test(
  needing(
    { tools: ["openssl"] },
    "openssl gets TLS 1.3 with a NIST group, is told which CA to use, and is refused TLS 1.2 with an event",
    async () => {
      await withScrape(async ({ port, pki, ops }) => {
        const client = [
          "s_client",
          "-connect",
          `[::1]:${port}`,
          "-CAfile",
          `${pki}/ca.crt`,
          "-cert",
          `${pki}/client.crt`,
          "-key",
          `${pki}/client.key`,
        ];
        const request = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        const good = await run("openssl", [...client, "-tls1_3", "-groups", "P-384", "-quiet", "-verify_return_error"], request);
        assertStringIncludes(good.text, "HTTP/1.1 200 OK");
        const shown = await run("openssl", [...client, "-tls1_3"]);
        assertStringIncludes(shown.text, "CN = postern-metrics-ca");
        assertMatch(shown.text, /New, TLSv1\.3, Cipher is TLS_/);
        assert(!/^\s*TLS session ticket:/m.test(shown.text) || /Reused/.test(shown.text), "no tickets are given");
        const old = await run("openssl", [...client, "-tls1_2"]);
        assertMatch(old.text, /protocol version/);
        assertEquals(ops.events.query({ type: "weak_protocol", limit: 10 }).length, 1);
      });
    },
  ),
);

Deno.test(needing({ tools: ["sslscan"] }, "sslscan finds TLS 1.3 and nothing older", async () => {
  await withScrape(async ({ port, pki }) => {
    const { text } = await run("sslscan", [
      "--ipv6",
      "--no-colour",
      `--certs=${pki}/client.crt`,
      `--pk=${pki}/client.key`,
      `[::1]:${port}`,
    ]);
    for (const version of ["SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2"]) {
      assertMatch(text, new RegExp(`^${version.replace(".", "\\.")}\\s+disabled`, "m"));
    }
    assertMatch(text, /^TLSv1\.3\s+enabled/m);
    for (const [, version] of text.matchAll(/^(?:Preferred|Accepted)\s+(\S+)/gm)) assertEquals(version, "TLSv1.3");
    assert(!/heartbleed.*vulnerable to/i.test(text.replaceAll(/not vulnerable/gi, "")));
  });
}));

Deno.test(needing({ tools: ["curl", "promtool"] }, "promtool finds nothing wrong with a whole scrape", async () => {
  await withScrape(async ({ port, pki }) => {
    const scrape = await run("curl", ["-sS", ...identity(pki), `https://[::1]:${port}/metrics`]);
    assertEquals(await run("promtool", ["check", "metrics"], scrape.text), { code: 0, text: "" });
    const open = await run("curl", [
      "-sS",
      ...identity(pki),
      "-H",
      "accept: application/openmetrics-text",
      `https://[::1]:${port}/metrics`,
    ]);
    assert(open.text.endsWith("# EOF\n"));
  });
}));

Deno.test(
  needing(
    { tools: ["prometheus", "promtool"] },
    "a real Prometheus with the shipped configuration scrapes by its client certificate and evaluates the shipped alerts",
    async () => {
      await withScrape(async ({ port, pki }) => {
        const shipped = (name: string) => Deno.readTextFileSync(new URL(`../../deploy/observability/${name}`, import.meta.url));
        const config = shipped("prometheus.yml").replaceAll("/etc/prometheus/postern", pki).replace("[::1]:9090", `[::1]:${port}`)
          .replaceAll("15s", "1s");
        Deno.writeTextFileSync(`${pki}/alerts.yml`, shipped("alerts.yml"));
        Deno.writeTextFileSync(`${pki}/prometheus.yml`, config);
        assertEquals((await run("promtool", ["check", "config", `${pki}/prometheus.yml`])).code, 0);
        const web = freePort();
        const args = [
          `--config.file=${pki}/prometheus.yml`,
          `--storage.tsdb.path=${pki}/data`,
          `--web.listen-address=127.0.0.1:${web}`,
        ];
        const prometheus = new Deno.Command("prometheus", { args, stdout: "null", stderr: "null" }).spawn();
        try {
          assertEquals(await scraped(web, 'up{role="server"}'), "1");
          assertEquals(await scraped(web, "ztna_relay_bytes_total"), "5");
          assertEquals(await scraped(web, 'ALERTS{alertname="PosternDown",alertstate="pending",role="agent"}'), "1");
        } finally {
          prometheus.kill("SIGTERM");
          await prometheus.status;
        }
      });
    },
  ),
);

/** The first code block of the manual's chapter on metrics that is in `language` and has `words`. */
function manualBlock(language: string, words: string): string {
  const manual = Deno.readTextFileSync(new URL("../../docs/OPERATIONS.md", import.meta.url));
  const blocks = [...manual.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].filter((block) =>
    block[1] === language && block[2]?.includes(words)
  );
  assert(blocks[0]?.[2] !== undefined, `the manual has no ${language} block with ${words}`);
  return blocks[0][2];
}

Deno.test(needing({ tools: ["openssl", "bash", "curl"] }, "the manual's recipe makes certificates that work", async () => {
  const folder = Deno.makeTempDirSync();
  const recipe = manualBlock("sh", "-subj /CN=postern-metrics-ca").replaceAll("rsa:4096", "rsa:2048").replace(/^curl .*$/m, "");
  assertEquals((await run("bash", ["-euo", "pipefail", "-c", recipe], "", folder)).code, 0);
  const settings = {
    metricsPort: null,
    metricsAddr: "[::1]:0",
    metricsCertPath: `${folder}/server.crt`,
    metricsKeyPath: `${folder}/server.key`,
    metricsCaPath: `${folder}/ca.crt`,
  };
  await withRole(settings, async ({ ops }) => {
    const scrape = await run("curl", ["-sS", ...identity(folder), `https://[::1]:${ops.metricsAddress?.port}/healthz`]);
    assertEquals(scrape, { code: 0, text: "ok\n" });
  });
  Deno.removeSync(folder, { recursive: true });
}));

Deno.test(needing({ tools: ["promtool"] }, "promtool takes the manual's scrape configuration", async () => {
  await withScrape(async ({ pki }) => {
    const config = manualBlock("yaml", "scrape_configs").replaceAll("/etc/prometheus/postern", pki);
    Deno.writeTextFileSync(`${pki}/manual.yml`, config);
    const { code, text } = await run("promtool", ["check", "config", `${pki}/manual.yml`]);
    assertEquals(code, 0, text);
  });
}));

/** Its script, without the path of the Python that installed it. */
const SCHEMATHESIS = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())";
const SCHEMATHESIS_CHECKS =
  "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method";
const SCHEMATHESIS_ARGS = [
  ["run", "--max-examples", "15", "--seed", "1"],
  ["--checks", SCHEMATHESIS_CHECKS, "--exclude-path", "/v1/events/stream"],
].flat();
const schemathesisLack = await lackOfPackages("schemathesis");

Deno.test({
  name: "schemathesis finds no answer of the admin API that its document does not allow" +
    (schemathesisLack === undefined ? "" : ` [needs its Python packages: ${schemathesisLack}]`),
  ignore: schemathesisLack !== undefined,
  fn: async () => {
    await withRole({}, async ({ path, world, folder }) => {
      const bridge = openBridge(path);
      try {
        const url = `http://127.0.0.1:${bridge.port}`;
        const answer = await fetch(`${url}/v1/tokens`, {
          method: "POST",
          body: '{"bind":"caller"}',
          headers: { "content-type": "application/json" },
        });
        const { token } = await answer.json();
        const { code, stdout, stderr } = await new Deno.Command("python3", {
          args: ["-c", SCHEMATHESIS, ...SCHEMATHESIS_ARGS, "-H", `Authorization: ${token}`, `${url}/openapi.json`],
          cwd: folder,
          env: pythonEnvironment("schemathesis"),
          stdin: "null",
        }).output();
        const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        assertEquals(code, 0, text.slice(-4000));
        assert(world.asked.includes("drain") && world.asked.includes("reload"), "what steers was reached");
      } finally {
        await bridge.close();
      }
    });
  },
});

/** A TCP port that leads to the Unix socket: this process is the caller for all of them. */
function openBridge(path: string): { readonly port: number; close(): Promise<void> } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.Conn>();
  const join = async (client: Deno.Conn) => {
    const server = await Deno.connect({ transport: "unix", path });
    open.add(client).add(server);
    const both = [client.readable.pipeTo(server.writable), server.readable.pipeTo(client.writable)];
    await Promise.allSettled(both);
    open.delete(client);
    open.delete(server);
  };
  const joining: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const client of listener) joining.push(join(client));
  })();
  return {
    port: listener.addr.port,
    close: async () => {
      listener.close();
      for (const connection of open) {
        try {
          connection.close();
        } catch {
          // Closed by its pipe.
        }
      }
      await accepting;
      await Promise.allSettled(joining);
    },
  };
}

/** The value of a metric as Prometheus knows it; waits up to half a minute for the first scrape. */
async function scraped(web: number, metric: string): Promise<string | null> {
  for (let attempt = 0; attempt < 150; attempt++) {
    try {
      const response = await fetch(`http://127.0.0.1:${web}/api/v1/query?query=${metric}`);
      const { data } = await response.json();
      const value = data?.result?.[0]?.value?.[1];
      if (value !== undefined && value !== "0") return value;
    } catch {
      // Not up yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return null;
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}
