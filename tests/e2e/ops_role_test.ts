// Seeing and steering as a whole: what a role's start, reload and end look like from outside.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { PosternError } from "../../src/base/mod.ts";
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
