// Seeing and steering as a whole: what a role's start, reload and end look like from outside.
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { PosternError } from "../../src/base/mod.ts";
import { HttpClient } from "../../src/io/http/mod.ts";
import { statusPage } from "../../src/ops/commands/page.ts";
import { createAuthority } from "../pki/mod.ts";
import { datagramSocket } from "./ops_fixture.ts";
import { scraper, tlsExchange, writeCredentials } from "./ops_metrics_fixture.ts";
import { SNAPSHOT, withRole } from "./ops_role_fixture.ts";

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function metricsSettings(folder: string) {
  const authority = await createAuthority();
  const { certPath, keyPath, caPath } = await writeCredentials(folder, authority);
  const settings = {
    metricsPort: null,
    metricsAddr: "[::1]:0",
    metricsCertPath: certPath,
    metricsKeyPath: keyPath,
    metricsCaPath: caPath,
  };
  return { authority, settings };
}

Deno.test("without any metrics setting the listener is off, with one warning; with --metrics-port 0 it is off without", async () => {
  await withRole({ metricsPort: null }, ({ ops, world }) => {
    assertEquals(ops.metricsAddress, null);
    const warnings = world.lines.filter((line) => line.includes('"level":"warn"'));
    assertEquals(warnings.length, 1);
    assertStringIncludes(warnings[0] ?? "", "The metrics listener is off");
    return Promise.resolve();
  });
  await withRole({ metricsPort: 0 }, ({ world }) => {
    assert(!world.lines.join("").includes("metrics-off"));
    return Promise.resolve();
  });
});

Deno.test("a mistake in the settings ends the start with nothing bound", async () => {
  await withFolder(async (folder) => {
    const { settings } = await metricsSettings(folder);
    const socket = `${folder}/run/server.sock`;
    const mistakes = [
      { metricsPort: null, metricsCertPath: `${folder}/server.crt` },
      { ...settings, metricsKeyPath: "/nonexistent" },
      { ...settings, metricsAddr: "127.0.0.1:9090" },
      { ...settings, alertWebhook: "http://alerts.example.com/" },
    ];
    for (const mistake of mistakes) {
      await assertRejects(() => withRole({ ...mistake, adminSocketPath: socket }, () => Promise.resolve()), PosternError);
      await assertRejects(() => Deno.lstat(socket), Deno.errors.NotFound);
    }
  });
});

Deno.test("a metrics port that is taken, or an admin socket that is, ends the start and unbinds the rest", async () => {
  await withFolder(async (folder) => {
    const { settings, authority } = await metricsSettings(folder);
    await withRole(settings, async ({ ops, path }) => {
      const port = ops.metricsAddress?.port ?? 0;
      const taken = await assertRejects(
        () => withRole({ ...settings, metricsAddr: `[::1]:${port}` }, () => Promise.resolve()),
        PosternError,
      );
      assertEquals([taken.code, taken.exitCode], ["bind", 1]);
      await assertRejects(() => withRole({ ...settings, adminSocketPath: path }, () => Promise.resolve()), PosternError);
      assertStringIncludes((await tlsExchange(port, await scraper(authority))).text, "200 OK");
    });
  });
});

Deno.test("the service manager hears READY when the role is ready, RELOADING and READY around a reload, STOPPING at the end", async () => {
  await withFolder(async (folder) => {
    const manager = datagramSocket(`${folder}/notify`);
    await withRole({}, async ({ ops, world }) => {
      await ops.reload();
      ops.ready("serving");
      assertStringIncludes(await manager.next(), "READY=1\nSTATUS=serving");
      assertEquals(await ops.reload(), ["the log file was opened again", "the policy was read"]);
      assertStringIncludes(await manager.next(), "RELOADING=1\nMONOTONIC_USEC=");
      assertStringIncludes(await manager.next(), "READY=1");
      world.reload = () => Promise.reject(new Error("no"));
      await assertRejects(() => ops.reload());
      assertStringIncludes(await manager.next(), "RELOADING=1");
      assertStringIncludes(await manager.next(), "READY=1", undefined);
      ops.stopping();
      assertEquals(await manager.next(), "STOPPING=1");
    }, { NOTIFY_SOCKET: `${folder}/notify` });
    manager.close();
  });
});

Deno.test("the watchdog starves when the data plane hangs", async () => {
  await withFolder(async (folder) => {
    const manager = datagramSocket(`${folder}/notify`);
    const environment = { NOTIFY_SOCKET: `${folder}/notify`, WATCHDOG_USEC: "100000" };
    await withRole({}, async ({ ops, world }) => {
      ops.ready("serving");
      assertStringIncludes(await manager.next(), "READY=1");
      assertEquals(await manager.next(), "WATCHDOG=1");
      world.status = () => new Promise(() => {});
      await new Promise((resolve) => setTimeout(resolve, 200));
      ops.stopping();
      let message = await manager.next();
      let fed = 0;
      for (; message === "WATCHDOG=1"; message = await manager.next()) fed++;
      assertEquals(message, "STOPPING=1");
      assert(fed <= 1, "an answer that was under way may still count");
      // The question that still waits gives up after two seconds.
      world.status = () => Promise.resolve(SNAPSHOT);
      await new Promise((resolve) => setTimeout(resolve, 2_100));
    }, environment);
    manager.close();
  });
});

Deno.test("a reload reads the metrics files and the role; a damaged file stops it before the role", async () => {
  await withFolder(async (folder) => {
    const { settings, authority } = await metricsSettings(folder);
    await withRole(settings, async ({ ops, world }) => {
      await writeCredentials(folder, authority);
      assertEquals(await ops.reload(), [
        "the log file was opened again",
        "the metrics listener's certificates were read",
        "the policy was read",
      ]);
      assertEquals(world.asked, ["reload"]);
      Deno.writeTextFileSync(`${folder}/ca.crt`, "damaged");
      await assertRejects(() => ops.reload(), PosternError, "old certificates stay in use");
      assertEquals(world.asked, ["reload"]);
      assertStringIncludes((await tlsExchange(ops.metricsAddress?.port ?? 0, await scraper(authority))).text, "200 OK");
    });
  });
});

Deno.test("two reloads at once are one", async () => {
  await withRole({}, async ({ ops, world }) => {
    await Promise.all([ops.reload(), ops.reload(), ops.reload()]);
    assertEquals(world.asked, ["reload"]);
  });
});

Deno.test("the admin socket takes the runtime folder of the user, and a role without any place goes on without", async () => {
  await withFolder(async (folder) => {
    await withRole({ adminSocketPath: null }, ({ ops }) => {
      assertEquals(ops.adminPath, `${folder}/postern/server.sock`);
      return Promise.resolve();
    }, { XDG_RUNTIME_DIR: folder });
    Deno.writeTextFileSync(`${folder}/file`, "");
    const none = await assertRejects(
      () => withRole({ adminSocketPath: `${folder}/file/server.sock` }, () => Promise.resolve()),
      PosternError,
    );
    assertStringIncludes(none.message, "its folder cannot be made");
    await withRole({ hasAdminSocket: false }, ({ ops }) => {
      assertEquals(ops.adminPath, null);
      return Promise.resolve();
    });
  });
});

Deno.test("a scrape has the role's cells, our own, the events, the certificates and the process", async () => {
  await withFolder(async (folder) => {
    const { settings, authority } = await metricsSettings(folder);
    await withRole(settings, async ({ ops, world }) => {
      ops.record({ event_type: "auth_failure", details: {} });
      world.status = () => Promise.resolve({ ...SNAPSHOT, phase: "starting" });
      const { text } = await tlsExchange(ops.metricsAddress?.port ?? 0, await scraper(authority));
      for (
        const sample of [
          "ztna_relay_bytes_total 5",
          'postern_tls_connections_total{listener="metrics"} 1',
          'postern_tls_version{version="1.3"} 1',
          'postern_security_events_total{type="auth_failure"} 1',
          'postern_security_alerts_total{severity="warning"} 1',
          'postern_certificate_rotations_total{purpose="metrics"} 0',
        ]
      ) assertStringIncludes(text, sample + "\n");
      const expiry = (purpose: string) =>
        Number(new RegExp(`postern_certificate_expiry_seconds\\{purpose="${purpose}"\\} (\\S+)`).exec(text)?.[1]);
      assert(expiry("metrics") > 80_000 && expiry("metrics") <= 86_400);
      assert(expiry("identity") > 86_400 * 89);
    });
  });
});

Deno.test("a scraper's TCP connection stands in the status with who, whence, how, since when and how many bytes, until it ends", async () => {
  await withFolder(async (folder) => {
    const { settings, authority } = await metricsSettings(folder);
    const identity = await scraper(authority);
    let scrape: ReturnType<typeof tlsExchange> | null = null;
    await withRole(settings, async ({ ops, path }) => {
      using client = await HttpClient.connect(path);
      const status = async () => {
        const { body } = await client.request({ method: "GET", target: "/v1/status", headers: {} });
        return JSON.parse(new TextDecoder().decode(body));
      };
      assertEquals((await status()).connections, []);
      const keepOpen = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
      scrape = tlsExchange(ops.metricsAddress?.port ?? 0, identity, keepOpen);
      let seen = await status();
      while (seen.connections[0]?.requests !== 1) seen = await status();
      const { established, last_activity, remote_addr, bytes_sent, bytes_received, duration, idle_duration, ...rest } =
        seen.connections[0];
      assertEquals(rest, {
        listener: "metrics",
        common_name: "postern-metrics-client",
        serial: rest.serial,
        fingerprint: rest.fingerprint,
        transport: "tcp",
        tls_version: "TLS 1.3",
        cipher_suite: rest.cipher_suite,
        group: "X25519MLKEM768",
        requests: 1,
      });
      assertMatch(rest.serial, /^01[0-9a-f]{16}$/);
      assertMatch(rest.fingerprint, /^[0-9a-f]{64}$/);
      assertMatch(rest.cipher_suite, /^TLS_/);
      assertMatch(remote_addr, /^\[::1\]:\d+$/);
      assert(Date.parse(established) <= Date.parse(last_activity) + 1, `${established} is behind ${last_activity}`);
      assert(bytes_received > keepOpen.length && bytes_sent > 500, `${bytes_received} in, ${bytes_sent} out`);
      assert(duration >= 0 && idle_duration >= 0);
      const names = seen.limits.map(({ name, used }: { name: string; used: number }) => `${name} ${used}`);
      assertEquals(names.slice(-3), ["metrics_handshakes 0", "metrics_connections 1", "admin_connections 1"]);
      assertStringIncludes(statusPage(seen), "Scrapers (1)\n");
    });
    const { text } = await (scrape ?? Promise.reject(new Error("there was no scrape")));
    assertStringIncludes(text, "HTTP/1.1 200");
  });
});

Deno.test("metrics of TLS, certificates and security have a second name where one is wished, and only then", async () => {
  const scrape = async (metricsAlias: string | null) => {
    let text = "";
    await withRole({ metricsAlias }, async ({ ops, path }) => {
      ops.record({ event_type: "auth_failure", details: { username: "u", reason: "r" } });
      using client = await HttpClient.connect(path);
      text = new TextDecoder().decode((await client.request({ method: "GET", target: "/metrics", headers: {} })).body);
    });
    return text;
  };
  assert(!(await scrape(null)).includes("dwcp_"));
  const text = await scrape("dwcp");
  const families = [...text.matchAll(/^# TYPE dwcp_(\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`);
  assertEquals(families.sort(), [
    "certificate_expiry_seconds gauge",
    "certificate_rotations_total counter",
    "security_alerts_total counter",
    "security_events_total counter",
    "tls_connections_total counter",
    "tls_handshake_failures_total counter",
    "tls_version gauge",
  ]);
  const events = [...text.matchAll(/^(\w+)_security_events_total\{type="auth_failure"\} (\d+)$/gm)].map((
    [, prefix, n],
  ) => [prefix, n]);
  assertEquals(events, [["postern", "1"], ["dwcp", "1"]]);
});
