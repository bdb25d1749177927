/** The snapshot of each role: what the data plane says becomes what pages, health and the admin API show. */
import { assertEquals } from "@std/assert";
import { metricCells, type MetricTable } from "../../base/mod.ts";
import type { FlowReport, PeerStatus, PlaneStatus, UplinkReport } from "./plane_status.ts";
import type { RoleSettings } from "./plan.ts";
import { type SnapshotParts, takeSnapshot, trafficTotals } from "./snapshot.ts";

const NOW_MS = 1_000_000;

const QUIET: PlaneStatus = { peers: [], peersTotal: 0, services: [], uplink: null, flows: [], flowsTotal: 0, limits: [] };

const UP: UplinkReport = {
  state: "up",
  server: "192.0.2.1:4433",
  protocol: "ztna-v2",
  upForMs: 5_000,
  rttMs: 2.5,
  attempts: 0,
  lastError: "",
  servers: [],
};

/** Only what a snapshot looks at. */
function settings(role: RoleSettings["role"], more: Record<string, unknown> = {}): RoleSettings {
  const named = role === "server" ? {} : { serverHost: "gw.example.com", serverPort: 4433 };
  return { role, name: `${role}-7`, ...named, ...more } as unknown as RoleSettings;
}

function snapshot(parts: Partial<SnapshotParts> & Pick<SnapshotParts, "settings">) {
  return takeSnapshot({
    version: "1.2.3",
    addresses: [],
    startedAtMs: NOW_MS - 60_000,
    nowMs: NOW_MS,
    isStopping: false,
    troubles: [],
    metrics: null,
    plane: QUIET,
    ...parts,
  });
}

Deno.test("the phase: starting without a data plane, degraded with a reason, draining whatever else is wrong", () => {
  const server = settings("server");
  const phase = (parts: Partial<SnapshotParts>) => {
    const { phase, reasons } = snapshot({ settings: server, ...parts });
    return [phase, reasons];
  };
  assertEquals(phase({}), ["ready", []]);
  assertEquals(phase({ plane: null }), ["starting", ["the data plane has not begun"]]);
  assertEquals(phase({ troubles: ["its certificate ended"] }), ["degraded", ["its certificate ended"]]);
  assertEquals(phase({ isStopping: true, troubles: ["its certificate ended"] }), ["draining", ["it was asked to end"]]);
  const lost: UplinkReport = { ...UP, state: "waiting", upForMs: null, lastError: "the server closed the connection" };
  assertEquals(phase({ settings: settings("agent", { forwards: [] }), plane: { ...QUIET, uplink: lost } }), [
    "degraded",
    ["the server closed the connection"],
  ]);
  const fresh = { ...lost, lastError: "" };
  assertEquals(phase({ settings: settings("agent", { forwards: [] }), plane: { ...QUIET, uplink: fresh } })[1], [
    "the server has not answered yet",
  ]);
});

Deno.test("a service is in trouble when all of its backends are down, not when one is", () => {
  const backend = (service: string, health: "up" | "down") => ({ service, host: "h", port: 1, health });
  const plane: PlaneStatus = {
    ...QUIET,
    uplink: UP,
    services: [{ id: "web", state: "registered", agents: 0, connectors: 0 }, {
      id: "db",
      state: "withdrawn",
      agents: 0,
      connectors: 0,
    }],
    backends: [backend("web", "up"), backend("web", "down"), backend("db", "down")],
  };
  const { phase, reasons, services } = snapshot({ settings: settings("connector"), plane });
  assertEquals([phase, reasons], ["degraded", ["the backends of db are down"]]);
  assertEquals(services.map(({ id, state, endpoint }) => [id, state, endpoint]), [
    ["web", "registered", "h:1 (up), h:1 (down)"],
    ["db", "unserved", "h:1 (down)"],
  ]);
});

Deno.test("uplinks: durations become points in time, internal states the published ones", () => {
  const of = (uplink: UplinkReport) => snapshot({ settings: settings("connector"), plane: { ...QUIET, uplink } }).uplinks[0];
  assertEquals(of(UP), {
    server: "192.0.2.1:4433",
    state: "connected",
    protocol: "ztna-v2",
    connectedAtMs: NOW_MS - 5_000,
    rttMs: 2.5,
    attempts: 0,
    lastError: "",
    servers: [],
  });
  const failed = { server: "gw-2:4433", isCurrent: false, health: "failed", failures: 2, lastError: "no answer" } as const;
  assertEquals(of({ ...UP, servers: [{ ...failed, failedForMs: 3_000 }] })?.servers, [{ ...failed, failedAtMs: NOW_MS - 3_000 }]);
  const states = ["waiting", "dialling", "proving", "up", "stopped", "unheard-of"];
  assertEquals(states.map((state) => of({ ...UP, state })?.state), [
    "waiting",
    "connecting",
    "connecting",
    "connected",
    "closed",
    "closed",
  ]);
  assertEquals(of({ ...UP, server: "" })?.server, "gw.example.com:4433");
});

Deno.test("services of a server are served or not; those of an agent have the port that leads to them", () => {
  const services = [{ id: "web", state: "", agents: 2, connectors: 1 }, { id: "db", state: "", agents: 1, connectors: 0 }];
  const server = snapshot({ settings: settings("server"), plane: { ...QUIET, services } });
  assertEquals(server.services.map(({ state, connectors, agents }) => [state, connectors, agents]), [["registered", 1, 2], [
    "unserved",
    0,
    1,
  ]]);
  const agent = snapshot({
    settings: settings("agent"),
    addresses: [
      { name: "forward web", transport: "tcp", address: "::1", port: 9001 },
      { name: "forward db", transport: "tcp", address: "::1", port: 9003 },
      { name: "forward web", transport: "udp", address: "::1", port: 9002 },
    ],
    plane: { ...QUIET, uplink: UP, services: [{ id: "web", state: "registered", why: "", agents: 0, connectors: 0 }] },
  });
  const endpoint = "[::1]:9001, [::1]:9002/udp";
  assertEquals(agent.services, [{ id: "web", state: "registered", why: "", connectors: 0, agents: 0, endpoint }]);
  assertEquals(agent.listeners.map(({ protocol }) => protocol), ["tcp", "tcp", "udp"]);
});

Deno.test("an agent's services are as the data plane says while it is connected, and a refusal is a reason to be degraded", () => {
  const after = (state: string, why = "", uplink = UP) => {
    const services = [{ id: "web", state, why, agents: 1, connectors: 0 }];
    const shown = snapshot({ settings: settings("agent"), plane: { ...QUIET, uplink, services } });
    return [shown.services[0]?.state, shown.services[0]?.why, shown.services[0]?.agents, shown.phase, ...shown.reasons];
  };
  assertEquals(after("open"), ["open", "", 1, "ready"]);
  assertEquals(after("unserved", "no-connector"), ["unserved", "no-connector", 1, "ready"]);
  for (const state of ["denied", "withdrawn"]) {
    assertEquals(after(state, "not-authorised"), [state, "not-authorised", 1, "degraded", "the server refuses web"]);
  }
  const down = { ...UP, state: "waiting", lastError: "lost" };
  assertEquals(after("open", "", down), ["pending", "", 0, "degraded", "lost"]);
  assertEquals(after("unheard-of")[0], "pending");
});

Deno.test("a connector whose service the server refuses is degraded", () => {
  const services = [{ id: "web", state: "denied", agents: 0, connectors: 0 }, {
    id: "db",
    state: "registered",
    agents: 0,
    connectors: 0,
  }];
  const { phase, reasons } = snapshot({ settings: settings("connector"), plane: { ...QUIET, uplink: UP, services } });
  assertEquals([phase, reasons], ["degraded", ["the server refuses web"]]);
});

Deno.test("flows: a client is one end of each itself, the server names both", () => {
  const flow: FlowReport = {
    service: "web",
    protocol: "tcp",
    state: "established",
    agent: { id: "4", name: "laptop" },
    connector: { id: "9", name: "rack" },
    source: "100.64.0.1:40000",
    destination: "10.100.0.1:80",
    ageMs: 1_500,
    bytesToService: 10,
    bytesFromService: 20,
  };
  const ends = (role: RoleSettings["role"]) => {
    const plane = { ...QUIET, uplink: UP, flows: [flow], flowsTotal: 7 };
    const { flows, flowsTotal } = snapshot({ settings: settings(role, { forwards: [] }), plane });
    assertEquals([flowsTotal, flows[0]?.startedAtMs, flows[0]?.state], [7, NOW_MS - 1_500, "established"]);
    return [flows[0]?.agent, flows[0]?.agentId, flows[0]?.connector, flows[0]?.connectorId];
  };
  assertEquals(ends("server"), ["laptop", "4", "rack", "9"]);
  assertEquals(ends("connector"), ["laptop", "4", "connector-7", "9"]);
  assertEquals(ends("agent"), ["agent-7", "4", "rack", "9"]);
});

const PEER: PeerStatus = {
  id: 3,
  role: "none",
  name: null,
  certificate: null,
  protocol: "ztna-v2",
  authorized: [],
  services: [],
  streams: 0,
  group: "X25519",
  cipher: "TLS_AES_128_GCM_SHA256",
  remoteAddress: "192.0.2.7:4000",
  ageMs: 2_000,
  idleMs: 500,
  rttMs: 1,
  bytesSent: 1,
  bytesReceived: 2,
  packetsLost: 0,
};

Deno.test("a peer that has not registered is what its certificate says, unless it says both or nothing", () => {
  const role = (dnsNames: string[] | null) => {
    const certificate = dnsNames === null ? null : { dnsNames, serial: "01", fingerprint: "ff", notAfterMs: 5 };
    const peer = { ...PEER, certificate: certificate as unknown as PeerStatus["certificate"] };
    return snapshot({ settings: settings("server"), plane: { ...QUIET, peers: [peer] } }).peers[0]?.role;
  };
  assertEquals(role(["agent.web.ztna"]), "agent");
  assertEquals(role(["connector.web.ztna", "example.com"]), "connector");
  assertEquals(role(["connector.web.ztna", "agent.web.ztna"]), "none");
  assertEquals([role([]), role(null)], ["none", "none"]);
  const [peer] = snapshot({ settings: settings("server"), plane: { ...QUIET, peers: [PEER] } }).peers;
  assertEquals([peer?.establishedAtMs, peer?.lastActivityMs, peer?.certificateNotAfterMs], [NOW_MS - 2_000, NOW_MS - 500, null]);
});

Deno.test("drops and traffic are read from the counters that tell of them, summed by reason", () => {
  const table = {
    a: { name: "ztna_datagrams_dropped_total", kind: "counter", help: "x", labels: { reason: "malformed" } },
    b: { name: "ztna_streams_refused_total", kind: "counter", help: "x", labels: { code: "denied" } },
    c: { name: "ztna_packets_ignored_total", kind: "counter", help: "x", labels: { reason: "short" } },
    d: { name: "ztna_agent_datagrams_dropped_total", kind: "counter", help: "x" },
    e: { name: "ztna_relay_bytes_total", kind: "counter", help: "x" },
    f: { name: "ztna_datagrams_relayed_total", kind: "counter", help: "x" },
    g: { name: "ztna_stream_bytes_total", kind: "counter", help: "x", labels: { direction: "up" } },
  } as const satisfies MetricTable;
  const metrics = metricCells(table);
  Object.values(metrics.index).forEach((at, i) => metrics.cells[at] = i + 1);
  assertEquals(snapshot({ settings: settings("server"), metrics }).drops, [
    { reason: "malformed", count: 1 },
    { reason: "refused denied", count: 2 },
    { reason: "packet short", count: 3 },
    { reason: "unserved", count: 4 },
  ]);
  assertEquals(trafficTotals(metrics), { bytes: 5 + 7, datagrams: 6 });
});
