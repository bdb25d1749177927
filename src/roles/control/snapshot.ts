/**
 * What a role tells about itself when somebody looks: the data plane's state, its counters and the settings become the one
 * snapshot that status pages, health and the admin API show. Pure; durations become points in time here, because the data plane's
 * clock is monotonic.
 */
import type {
  DropStatus,
  FlowStatus,
  ListenerStatus,
  MetricCells,
  MetricTable,
  PeerStatus,
  Phase,
  ServiceStatus,
  StatusSnapshot,
  UplinkStatus,
} from "../../base/mod.ts";
import { formatEndpoint } from "../../io/mod.ts";
import type { BoundAddress } from "./messages.ts";
import type { BackendStatus, FlowReport, PeerStatus as PlanePeer, PlaneStatus, UplinkReport } from "./plane_status.ts";
import type { RoleSettings } from "./plan.ts";

/** What a snapshot is made of. */
export interface SnapshotParts {
  readonly settings: RoleSettings;
  readonly version: string;
  readonly addresses: readonly BoundAddress[];
  readonly startedAtMs: number;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  readonly isStopping: boolean;
  /** Why the role cannot do its work though it runs, beside what the data plane says: an identity that has ended. */
  readonly troubles: readonly string[];
  /** Null before the data plane has begun. */
  readonly metrics: MetricCells<MetricTable> | null;
  readonly plane: PlaneStatus | null;
}

/** Every connection is one: the roles speak nothing else. */
const TLS_VERSION = "TLS 1.3";

const UPLINK_STATES: Readonly<Record<string, UplinkStatus["state"]>> = {
  waiting: "waiting",
  dialling: "connecting",
  proving: "connecting",
  up: "connected",
  stopped: "closed",
};

/** The snapshot of one moment. */
export function takeSnapshot(parts: SnapshotParts): StatusSnapshot {
  const { settings, plane, nowMs } = parts;
  const uplinks = plane === null || plane.uplink === null ? [] : [plane.uplink, ...plane.furtherUplinks ?? []];
  const reasons = [...parts.troubles, ...uplinks.flatMap(uplinkTroubles), ...backendTroubles(plane), ...refusals(settings, plane)];
  return {
    role: settings.role,
    name: settings.name,
    version: parts.version,
    phase: phaseOf(parts, reasons),
    reasons: plane === null ? ["the data plane has not begun"] : parts.isStopping ? ["it was asked to end"] : reasons,
    startedAtMs: parts.startedAtMs,
    listeners: parts.addresses.map(listener),
    sockets: plane?.sockets ?? [],
    congestionControl: plane?.congestionControl ?? "",
    uplinks: uplinks.map((uplink) => uplinkStatus(uplink, settings, nowMs)),
    services: plane === null ? [] : services(parts, plane),
    peers: (plane?.peers ?? []).map((peer) => peerStatus(peer, nowMs)),
    peersTotal: plane?.peersTotal ?? 0,
    flows: (plane?.flows ?? []).map((flow) => flowStatus(flow, settings, nowMs)),
    flowsTotal: plane?.flowsTotal ?? 0,
    limits: plane?.limits ?? [],
    drops: drops(parts.metrics),
  };
}

function phaseOf({ plane, isStopping }: SnapshotParts, reasons: readonly string[]): Phase {
  if (isStopping) return "draining";
  if (plane === null) return "starting";
  return reasons.length > 0 ? "degraded" : "ready";
}

function uplinkTroubles(uplink: UplinkReport): string[] {
  if (uplink.state === "up") return [];
  return [uplink.lastError === "" ? "the server has not answered yet" : uplink.lastError];
}

/** Services of which every backend is down. */
function backendTroubles(plane: PlaneStatus | null): string[] {
  const backends = plane?.backends ?? [];
  const up = new Set(backends.filter(({ health }) => health !== "down").map(({ service }) => service));
  const down = new Set(backends.map(({ service }) => service).filter((service) => !up.has(service)));
  return [...down].map((service) => `the backends of ${service} are down`);
}

/** What the server does not let us do. Nobody can be served by it, so a probe should know. */
function refusals({ role }: RoleSettings, plane: PlaneStatus | null): string[] {
  if (role === "server") return [];
  const denied = (plane?.services ?? []).filter(({ state }) => state === "denied" || role === "agent" && state === "withdrawn");
  return denied.map(({ id }) => `the server refuses ${id}`);
}

/** A client is one of the two ends itself. */
function flowStatus({ agent, connector, ageMs, ...flow }: FlowReport, settings: RoleSettings, nowMs: number): FlowStatus {
  return {
    ...flow,
    agent: settings.role === "agent" ? settings.name : agent.name,
    connector: settings.role === "connector" ? settings.name : connector.name,
    agentId: agent.id,
    connectorId: connector.id,
    startedAtMs: nowMs - ageMs,
  };
}

function listener(bound: BoundAddress): ListenerStatus {
  const isQuic = bound.name === "quic" || bound.name === "p2p";
  return { protocol: isQuic ? "quic" : bound.transport, address: formatEndpoint(bound) };
}

function uplinkStatus(uplink: UplinkReport, settings: RoleSettings, nowMs: number): UplinkStatus {
  const named = settings.role === "server" ? "" : `${settings.serverHost}:${settings.serverPort}`;
  return {
    server: uplink.server === "" ? named : uplink.server,
    state: UPLINK_STATES[uplink.state] ?? "closed",
    protocol: uplink.protocol,
    connectedAtMs: uplink.upForMs === null ? null : nowMs - uplink.upForMs,
    rttMs: uplink.rttMs,
    attempts: uplink.attempts,
    lastError: uplink.lastError,
    servers: uplink.servers.map(({ failedForMs, ...server }) => ({
      ...server,
      failedAtMs: failedForMs === null ? null : nowMs - failedForMs,
    })),
  };
}

function services({ settings, addresses }: SnapshotParts, plane: PlaneStatus): ServiceStatus[] {
  switch (settings.role) {
    case "server":
      return plane.services.map(({ id, agents, connectors }) => ({
        id,
        state: connectors > 0 ? "registered" : "unserved",
        connectors,
        agents,
        why: "",
        endpoint: "",
      }));
    case "connector":
      return plane.services.map(({ id, state }) => ({
        id,
        state: connectorState(state),
        connectors: state === "registered" ? 1 : 0,
        agents: 0,
        why: "",
        endpoint: (plane.backends ?? []).filter(({ service }) => service === id).map(backendText).join(", "),
      }));
    case "agent": {
      const isUp = plane.uplink?.state === "up";
      return plane.services.map(({ id, state, why, agents, route }): ServiceStatus => ({
        id,
        state: isUp ? agentState(state) : "pending",
        why: isUp ? why ?? "" : "",
        connectors: 0,
        agents: isUp ? agents : 0,
        endpoint: addresses.filter(({ name }) => name === `forward ${id}`).map(formatForward).join(", "),
        ...(route === undefined ? {} : { route }),
      }));
    }
  }
}

/** The agent says states by these names; anything else would be another version's. */
function agentState(state: string): ServiceStatus["state"] {
  const known = (["registered", "pending", "denied", "withdrawn", "unserved", "open"] as const).find((name) => name === state);
  return known ?? "pending";
}

function formatForward(bound: BoundAddress): string {
  return formatEndpoint(bound) + (bound.transport === "udp" ? "/udp" : "");
}

/** A service that cannot be reached is withdrawn: nobody serves it. */
function connectorState(state: string): ServiceStatus["state"] {
  if (state === "registered" || state === "denied") return state;
  return state === "withdrawn" || state === "withdrawing" ? "unserved" : "pending";
}

function hostPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A backend with what is known to be wrong with it. */
function backendText(backend: BackendStatus): string {
  return hostPort(backend) + (backend.health === "unknown" ? "" : ` (${backend.health})`);
}

function peerStatus(peer: PlanePeer, nowMs: number): PeerStatus {
  return {
    id: String(peer.id),
    role: peer.role === "none" ? roleByCertificate(peer) : peer.role,
    commonName: peer.name ?? "",
    serial: peer.certificate?.serial ?? "",
    fingerprint: peer.certificate?.fingerprint ?? "",
    certificateNotAfterMs: peer.certificate?.notAfterMs ?? null,
    authorized: peer.authorized,
    services: peer.services,
    remoteAddr: peer.remoteAddress,
    transport: "quic",
    protocol: peer.protocol,
    tlsVersion: TLS_VERSION,
    cipherSuite: peer.cipher,
    group: peer.group,
    establishedAtMs: nowMs - peer.ageMs,
    lastActivityMs: nowMs - peer.idleMs,
    bytesSent: peer.bytesSent,
    bytesReceived: peer.bytesReceived,
    rttMs: peer.rttMs,
    packetsLost: peer.packetsLost,
  };
}

/** An agent of ztna-v2 need not register: its certificate says what it is, unless it says both. */
function roleByCertificate({ role, certificate }: PlanePeer): string {
  const has = (name: string) => certificate?.dnsNames.some((dns) => dns.startsWith(`${name}.`)) === true;
  return has("agent") === has("connector") ? role : has("agent") ? "agent" : "connector";
}

/** Families of counters that tell of something that was not done, and the word before their label. */
const DROP_FAMILIES: readonly (readonly [family: RegExp, word: string])[] = [
  [/_datagrams_dropped_total$/, ""],
  [/_packets_ignored_total$/, "packet "],
  [/_(?:streams|connections)_refused_total$/, "refused "],
];

function drops(metrics: MetricCells<MetricTable> | null): DropStatus[] {
  if (metrics === null) return [];
  const counts = new Map<string, number>();
  for (const [key, { name, labels }] of Object.entries(metrics.table)) {
    const word = DROP_FAMILIES.find(([family]) => family.test(name))?.[1];
    const label = Object.values(labels ?? {})[0];
    if (word === undefined) continue;
    const reason = label === undefined ? word.trim() || "unserved" : `${word}${label}`;
    counts.set(reason, (counts.get(reason) ?? 0) + (metrics.cells[metrics.index[key] ?? 0] ?? 0));
  }
  return [...counts].map(([reason, count]) => ({ reason, count }));
}

const BYTES = /_(?:relay|stream|forwarded)_bytes_total$/;
const DATAGRAMS = /_(?:datagrams_relayed|forwarded_packets)_total$/;

/** What the role has moved since its start, for throughput. */
export function trafficTotals(metrics: MetricCells<MetricTable>): { readonly bytes: number; readonly datagrams: number } {
  let bytes = 0, datagrams = 0;
  for (const [key, { name }] of Object.entries(metrics.table)) {
    const value = metrics.cells[metrics.index[key] ?? 0] ?? 0;
    if (BYTES.test(name)) bytes += value;
    else if (DATAGRAMS.test(name)) datagrams += value;
  }
  return { bytes, datagrams };
}
