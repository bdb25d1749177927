/** A role that does nothing but be seen and steered: the real control plane over a source that the test fills in. */
import type {
  CertificateStatus,
  MetricSample,
  PeerStatus,
  RevocationListStatus,
  SettingStatus,
  StatusSnapshot,
} from "../../src/base/mod.ts";
import type { OpsSettings } from "../../src/config/mod.ts";
import { NO_OPS } from "../../src/config/ops_fixture.ts";
import { createLog, type LogDestination, parseFilter } from "../../src/ops/log/mod.ts";
import { type Ops, type OpsSource, startOps } from "../../src/ops/mod.ts";
import { opsNative } from "./ops_metrics_fixture.ts";

const STARTED_MS = Date.now() - 3_725_000;

export const PEER: PeerStatus = {
  id: "7",
  role: "agent",
  commonName: "agent-1",
  serial: "0a1b",
  fingerprint: "ff".repeat(32),
  certificateNotAfterMs: STARTED_MS + 86_400_000 * 90,
  authorized: ["agent:web"],
  services: ["web"],
  remoteAddr: "192.0.2.7:4000",
  transport: "quic",
  protocol: "ztna-v2",
  tlsVersion: "TLS 1.3",
  cipherSuite: "TLS_AES_128_GCM_SHA256",
  group: "X25519MLKEM768",
  establishedAtMs: STARTED_MS + 1000,
  lastActivityMs: STARTED_MS + 2000,
  bytesSent: 1_500_000,
  bytesReceived: 900,
  rttMs: 1.25,
  packetsLost: 3,
};

export const SNAPSHOT: StatusSnapshot = {
  role: "server",
  name: "gw-1",
  version: "0.1.0",
  phase: "ready",
  reasons: [],
  startedAtMs: STARTED_MS,
  listeners: [{ protocol: "quic", address: "0.0.0.0:4433" }],
  sockets: [{
    address: "0.0.0.0:4433",
    bufferWantedBytes: 8_388_608,
    receiveBufferBytes: 8_388_608,
    sendBufferBytes: 212_992,
    sendsTrains: true,
    receivesTrains: false,
  }],
  congestionControl: "cubic",
  uplinks: [],
  services: [{ id: "web", state: "registered", connectors: 1, agents: 1, why: "", endpoint: "" }],
  peers: [PEER],
  peersTotal: 1,
  flows: [{
    service: "web",
    protocol: "stream",
    state: "joined",
    agent: "agent-1",
    agentId: "7",
    connector: "connector-1",
    connectorId: "3",
    source: "",
    destination: "",
    startedAtMs: STARTED_MS,
    bytesToService: 1,
    bytesFromService: 2,
  }],
  flowsTotal: 1,
  limits: [{ name: "connections", used: 1, max: 1000 }],
  drops: [{ reason: "malformed", count: 2 }, { reason: "too-large", count: 0 }],
};

const CERTIFICATE: CertificateStatus = {
  purpose: "identity",
  path: "/etc/postern/server.pem",
  subject: "CN=gw-1",
  issuer: "CN=ca",
  serial: "01",
  notBeforeMs: STARTED_MS,
  notAfterMs: Date.now() + 86_400_000 * 90 + 3_600_000,
  isSelfSigned: false,
  isRevoked: null,
};

const RELAYED: MetricSample = { definition: { name: "ztna_relay_bytes_total", kind: "counter", help: "Bytes relayed." }, value: 5 };

/** What the test can change while the role runs. */
export interface World {
  status: () => Promise<StatusSnapshot>;
  certificates: CertificateStatus[];
  lists: RevocationListStatus[];
  reload: () => Promise<readonly string[]>;
  traffic: { bytes: number; datagrams: number };
  /** What was asked of the role. */
  readonly asked: string[];
  readonly lines: string[];
}

export interface RoleFixture {
  readonly folder: string;
  readonly path: string;
  readonly ops: Ops;
  readonly world: World;
}

/** Runs a role with an admin socket in a folder of its own. `settings` replaces single settings. */
export async function withRole(
  settings: Partial<OpsSettings>,
  use: (fixture: RoleFixture) => Promise<void>,
  environment: Record<string, string> = {},
) {
  const folder = Deno.makeTempDirSync();
  const path = settings.adminSocketPath ?? `${folder}/run/server.sock`;
  const world: World = {
    status: () => Promise.resolve(SNAPSHOT),
    certificates: [CERTIFICATE],
    lists: [],
    reload: () => Promise.resolve(["the policy was read"]),
    traffic: { bytes: 0, datagrams: 0 },
    asked: [],
    lines: [],
  };
  const destination: LogDestination = {
    write: (line) => {
      world.lines.push(line);
      return true;
    },
    reopen: () => world.lines.push("<reopened>"),
    close: () => {},
  };
  const log = createLog({ role: "server", filter: parseFilter("info", "test").filter, destination, format: "json" });
  let ops: Ops | null = null;
  try {
    ops = await startOps({
      source: sourceOf(world),
      settings: { ...NO_OPS, metricsPort: 0, adminSocketPath: path, ...settings },
      log,
      native: opsNative,
      environment: (name) => environment[name],
    });
    await use({ folder, path, ops, world });
  } finally {
    await ops?.close();
    log.close();
    Deno.removeSync(folder, { recursive: true });
  }
}

function sourceOf(world: World): OpsSource {
  const setting: SettingStatus = { key: "port", value: "4433", source: "default" };
  return {
    role: "server",
    version: "0.1.0",
    status: () => world.status(),
    metrics: () => [RELAYED],
    traffic: () => world.traffic,
    certificates: () => world.certificates,
    revocationLists: () => world.lists,
    configuration: () => [setting],
    steering: {
      reload: () => {
        world.asked.push("reload");
        return world.reload();
      },
      drain: () => {
        world.asked.push("drain");
        return Promise.resolve();
      },
      disconnect: (id) => {
        world.asked.push(`disconnect ${id}`);
        return Promise.resolve(id === "7");
      },
      denySerial: (serial, reason) => {
        world.asked.push(`deny ${serial} ${reason}`);
        return Promise.resolve(1);
      },
    },
  };
}
