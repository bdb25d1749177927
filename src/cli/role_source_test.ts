/** A running role as it is looked at and steered: before its data plane is there, while it works, and as it ends. */
import { assertEquals, assertRejects } from "@std/assert";
import { metricCells, type MetricTable, PosternError } from "../base/mod.ts";
import { SERVER } from "../config/mod.ts";
import type { CertificateSummary } from "../core/quic/mod.ts";
import type { PlaneStatus } from "../roles/control/mod.ts";
import type { Platform, RoleHandle, RoleStart } from "./platform.ts";
import { type CurrentRole, RoleSource } from "./role_source.ts";

const NOW_MS = Date.UTC(2026, 10, 22);
const QUIET: PlaneStatus = { peers: [], peersTotal: 0, services: [], uplink: null, flows: [], flowsTotal: 0, limits: [] };
const TABLE = { relayed: { name: "ztna_relay_bytes_total", kind: "counter", help: "x" } } as const satisfies MetricTable;

const LEAF = {
  subject: "CN=gw",
  issuer: "CN=ca",
  serial: "0a",
  notBeforeMs: NOW_MS - 1000,
  notAfterMs: NOW_MS + 86_400_000,
  isSelfSigned: false,
};

/** A role whose data plane says `plane`, and what was asked of it. */
function rig(
  options: {
    readonly plane?: PlaneStatus;
    readonly role?: string;
    readonly leaf?: Partial<typeof LEAF>;
    readonly serials?: string[];
  } = {},
) {
  const asked: unknown[] = [], stopped: string[] = [];
  let reads = 0;
  const platform = {
    version: "1.2.3",
    nowMs: () => NOW_MS,
    readCertificates: () => {
      reads++;
      return [{ ...LEAF, ...options.leaf }] as unknown as CertificateSummary[];
    },
  } as unknown as Platform;
  const lists = options.serials === undefined
    ? []
    : [{ path: "/crl", issuer: "CN=ca", serials: options.serials, nextUpdateMs: NOW_MS + 1 }];
  const start = {
    settings: {
      role: options.role ?? "server",
      name: "gw-1",
      certPath: "/c.pem",
      clientCertPath: "/c.pem",
      caCertPath: "/ca.pem",
      forwards: [],
    },
    material: {
      identity: { certificateChainPem: new Uint8Array([1]) },
      trustPem: new Uint8Array([2]),
      server: { revocation: { lists } },
    },
  } as unknown as RoleStart;
  const current: CurrentRole = {
    start,
    table: SERVER.settings,
    resolved: {
      values: {},
      given: { port: 4433, cert: "/c.pem" },
      sources: { port: { kind: "flag", name: "--port" }, cert: { kind: "file", path: "s.yaml", key: "cert_path", line: 3 } },
    } as unknown as CurrentRole["resolved"],
  };
  const source = new RoleSource({
    platform,
    current: () => current,
    waits: () => [],
    reload: () => Promise.resolve([]),
    stop: (why) => stopped.push(why),
  });
  const metrics = metricCells(TABLE);
  metrics.cells[0] = 5;
  const handle = {
    host: {
      addresses: [{ name: "quic", transport: "udp", address: "0.0.0.0", port: 4433 }],
      metrics,
      status: (extent: unknown) => {
        asked.push(["status", extent]);
        return Promise.resolve(options.plane ?? QUIET);
      },
      disconnect: (peer: number) => {
        asked.push(["disconnect", peer]);
        return Promise.resolve(peer === 7);
      },
      deny: (entry: unknown) => {
        asked.push(["deny", entry]);
        return Promise.resolve(2);
      },
    },
  } as unknown as RoleHandle;
  return { source, handle, asked, stopped, reads: () => reads };
}

Deno.test("before its data plane is there a role is starting, has no counters, and cannot be steered", async () => {
  const { source } = rig();
  const { phase, reasons, listeners } = await source.status();
  assertEquals([phase, reasons, listeners], ["starting", ["the data plane has not begun"], []]);
  assertEquals([source.metrics(), source.traffic()], [[], { bytes: 0, datagrams: 0 }]);
  for (const steer of [() => source.steering.disconnect("1"), () => source.steering.drain()]) {
    const error = await assertRejects(async () => await steer(), PosternError);
    assertEquals(error.code, "starting");
  }
});

Deno.test("a role at work is asked, with as many peers and flows as are wanted; its end shows", async () => {
  const { source, handle, asked } = rig();
  source.began(handle);
  assertEquals([(await source.status()).phase, (await source.status({ peersMax: 3, flowsMax: 7 })).listeners.length], ["ready", 1]);
  assertEquals(asked, [["status", undefined], ["status", { peersMax: 3, flowsMax: 7 }]]);
  assertEquals(source.traffic(), { bytes: 5, datagrams: 0 });
  assertEquals(source.metrics().map(({ definition, value }) => [definition.name, value]), [["ztna_relay_bytes_total", 5]]);
  source.ending();
  assertEquals((await source.status()).phase, "draining");
});

Deno.test("a peer is disconnected when there is such a one; a serial is denied by servers only", async () => {
  const { source, handle, asked, stopped } = rig();
  source.began(handle);
  const answers = ["7", "8", "07", "x", ""].map((id) => source.steering.disconnect(id));
  assertEquals(await Promise.all(answers), [true, false, false, false, false]);
  assertEquals(asked, [["disconnect", 7], ["disconnect", 8]], "numbers are asked for as they are written");
  assertEquals(await source.steering.denySerial("0a", "lost"), 2);
  assertEquals(asked.at(-1), ["deny", { serial: "0a", issuer: null }]);
  await source.steering.drain();
  assertEquals(stopped, ["An operator asked"]);
  const agent = rig({ role: "agent" });
  agent.source.began(agent.handle);
  await assertRejects(async () => await agent.source.steering.denySerial("0a", ""), PosternError, "judges no certificates");
});

Deno.test("certificates are read once for a start, with their place, purpose and revocation", () => {
  const { source, reads } = rig({ serials: ["0a"] });
  const shown = source.certificates().map(({ purpose, path, isRevoked }) => [purpose, path, isRevoked]);
  assertEquals(shown, [["identity", "/c.pem", true], ["ca", "/ca.pem", true]]);
  source.certificates();
  assertEquals(reads(), 2);
  assertEquals(rig({ serials: ["0b"] }).source.certificates()[0]?.isRevoked, false);
  assertEquals(rig().source.certificates()[0]?.isRevoked, null);
  assertEquals(source.revocationLists(), [{ path: "/crl", issuer: "CN=ca", nextUpdateMs: NOW_MS + 1 }]);
});

Deno.test("an identity that has ended degrades the role, with the day", async () => {
  const { source, handle } = rig({ leaf: { notAfterMs: NOW_MS } });
  source.began(handle);
  const { phase, reasons } = await source.status();
  assertEquals([phase, reasons], ["degraded", ["its certificate ended on 2026-11-22T00:00:00.000Z"]]);
});

Deno.test("settings are shown with their source in words", () => {
  const shown = new Map(rig().source.configuration().map(({ key, source }) => [key, source]));
  assertEquals([shown.get("port"), shown.get("cert"), shown.get("bind")], ["flag --port", "file s.yaml:3 cert_path", "default"]);
});
