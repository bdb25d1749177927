/**
 * The connector's data plane as it is beside a {@linkcode ServerRig}, in the same reactor: its counters, logs and status can be read.
 * Backends are real sockets of the test; the engine and all sockets are the real ones.
 */
import { createSocket, type Socket } from "node:dgram";
import { type LogRecord, type MetricCells, metricCells, type SecurityEventInput } from "../../src/base/mod.ts";
import {
  type ConnectorPlan,
  createCommandChannel,
  type P2pPlan,
  type PacketTimesPlan,
  Plane,
  type PlaneMessage,
  type PlaneStatus,
  type RevocationPlan,
  type ServicePlan,
} from "../../src/roles/control/mod.ts";
import { CONNECTOR_METRICS, type ConnectorMetric, ConnectorPlane } from "../../src/roles/connector/mod.ts";
import { ALPN_V1, ALPN_V2 } from "../../src/core/wire/mod.ts";
import type { Issued } from "../pki/mod.ts";
import type { RawClientOptions } from "./raw_client_fixture.ts";
import type { ServerRig } from "./server_rig_fixture.ts";

const LOOPBACK = "127.0.0.1";

export interface ConnectorRigOptions {
  readonly services: readonly ServicePlan[];
  readonly destinations?: ConnectorPlan["destinations"];
  /** Its certificate's names; default: those of its services. */
  readonly dns?: readonly string[];
  /** Default: rig-connector. Two of one name and services are one identity. */
  readonly commonName?: string;
  /** What it offers, if it is not both versions; as a connector of ztna-v1 does. */
  readonly protocols?: readonly string[];
  /** Lets agents connect directly, on a free port. */
  readonly p2p?: boolean | Partial<P2pPlan>;
  readonly cidRotationMs?: number;
  readonly packetTimes?: PacketTimesPlan;
  /** Default: the rig's server. */
  readonly server?: { readonly port: number };
}

/** A service on loopback, over both protocols unless it says one. */
export function serviceAt(service: string, port: number, ...protocols: ("tcp" | "udp")[]): ServicePlan {
  const spoken = protocols.length === 0 ? ["tcp", "udp"] as const : protocols;
  return { service, host: LOOPBACK, port, addresses: [LOOPBACK], protocols: spoken, check: { kind: "off" } };
}

export class ConnectorRig implements Disposable {
  readonly plan: ConnectorPlan;
  readonly connector: ConnectorPlane;
  readonly logs: LogRecord[] = [];
  readonly events: SecurityEventInput[] = [];
  readonly answers = new Map<number, { readonly count: number; readonly error: string | null }>();
  /** Added to the time of day that the connector sees. */
  wallClockAheadMs = 0;
  readonly #rig: ServerRig;
  readonly #metrics: MetricCells<typeof CONNECTOR_METRICS>;
  #ports: readonly number[] = [];
  #status: PlaneStatus | null = null;
  #number = 1;

  private constructor(rig: ServerRig, plan: ConnectorPlan, protocols?: readonly string[]) {
    this.#rig = rig;
    this.plan = plan;
    const { world } = rig;
    const plane = new Plane({
      ...world,
      entropy: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      random: Math.random,
      wallClockMs: () => Date.now() + this.wallClockAheadMs,
      post: (message) => this.#onMessage(message),
    }, createCommandChannel(world.reactor.libc.eventfd()));
    this.#metrics = metricCells(CONNECTOR_METRICS);
    const { engine } = world;
    const createProfile = engine.createProfile.bind(engine);
    if (protocols !== undefined) engine.createProfile = (made) => createProfile({ ...made, protocols });
    this.connector = new ConnectorPlane(plane, plan, this.#metrics);
    if (protocols !== undefined) engine.createProfile = createProfile;
  }

  /** A connector that has registered its services, unless it has another server. */
  static async start(rig: ServerRig, options: ConnectorRigOptions): Promise<ConnectorRig> {
    const ids = [...new Set(options.services.map(({ service }) => service))];
    const dns = options.dns ?? ids.map((id) => `connector.${id}.ztna`);
    const identity = await rig.authority.issue({ commonName: options.commonName ?? "rig-connector", dns, eku: ["clientAuth"] });
    const p2p = options.p2p === undefined || options.p2p === false
      ? {}
      : { p2p: { ...await p2pPlan(rig), ...options.p2p === true ? {} : options.p2p } };
    const connector = new ConnectorRig(rig, {
      role: "connector",
      uplink: {
        servers: [{
          host: "ztna-server",
          port: options.server?.port ?? rig.port(),
          addresses: [LOOPBACK],
          expectedName: "ztna-server",
        }],
        verifyPeer: true,
        tls: tlsOf(rig, identity),
        allowLegacyServiceIds: false,
        cidRotationMs: options.cidRotationMs ?? 300_000,
        packetQueueMax: 4_096,
      },
      services: options.services,
      ...(options.packetTimes === undefined ? {} : { packetTimes: options.packetTimes }),
      ...(options.destinations === undefined ? {} : { destinations: options.destinations }),
      ...p2p,
    }, options.protocols);
    if (options.server === undefined) await rig.until(() => connector.count("registered") === ids.length);
    return connector;
  }

  /** Where agents connect directly. */
  get p2pPort(): number {
    return this.#ports[0] ?? 0;
  }

  count(metric: ConnectorMetric): number {
    return this.#metrics.cells[this.#metrics.index[metric]] ?? NaN;
  }

  status(): PlaneStatus {
    this.connector.onCommand({ type: "status", id: this.#number++, peersMax: 100, flowsMax: 100 }, this.#rig.world.reactor.nowMs);
    if (this.#status === null) throw new Error("the connector gave no status");
    return this.#status;
  }

  /** Returns what was wrong with the plan, or null. */
  reload(changes: Partial<ConnectorPlan>): string | null {
    const id = this.#number++;
    this.connector.onCommand({ type: "reload", id, plan: { ...this.plan, ...changes } }, this.#rig.world.reactor.nowMs);
    const answer = this.answers.get(id);
    if (answer === undefined) throw new Error("the connector gave no answer");
    return answer.error;
  }

  /** Reads the revocation of direct connections anew. Returns what was wrong with it, or null. */
  reloadRevocation(revocation: RevocationPlan): string | null {
    const { p2p } = this.plan;
    return p2p === undefined ? "nobody connects directly" : this.reload({ p2p: { ...p2p, revocation } });
  }

  /** Returns how many connections it ended. */
  deny(serial: string): number {
    const id = this.#number++;
    this.connector.onCommand({ type: "deny", id, entry: { serial, issuer: null } }, this.#rig.world.reactor.nowMs);
    return this.answers.get(id)?.count ?? -1;
  }

  resolved(host: string, addresses: readonly string[]): void {
    this.connector.onCommand({ type: "resolved", host, addresses }, this.#rig.world.reactor.nowMs);
  }

  has(event: string, fields: Readonly<Record<string, unknown>> = {}): boolean {
    return this.logs.some((log) =>
      log.event === event && Object.entries(fields).every(([key, value]) => log.fields[key] === value)
    );
  }

  [Symbol.dispose](): void {
    this.connector.dispose();
  }

  #onMessage(message: PlaneMessage): void {
    if (message.type === "log") this.logs.push(message.record);
    if (message.type === "answer") this.answers.set(message.id, message);
    if (message.type === "event") this.events.push(message.event);
    if (message.type === "status") this.#status = message.status;
    if (message.type === "ready") this.#ports = message.addresses.map(({ port }) => port);
  }
}

function tlsOf(rig: ServerRig, { certificatePem, privateKeyPem }: Issued) {
  return { certificatePem, keyPem: privateKeyPem, trustPem: rig.authority.certificatePem };
}

async function p2pPlan(rig: ServerRig): Promise<P2pPlan> {
  const identity = await rig.authority.issue({ commonName: "ztna-connector", dns: ["ztna-connector"] });
  return {
    binds: [{ address: LOOPBACK, port: 0 }],
    tls: tlsOf(rig, identity),
    revocation: { crlPem: null, toleratesStale: false, denied: [] },
    externalIp: null,
    hostAddresses: [],
  };
}

/** A client of the connector's own port. */
export function direct(
  connector: { readonly p2pPort: number },
  options: Partial<RawClientOptions> = {},
): Partial<RawClientOptions> {
  return {
    server: { address: "127.0.0.1", port: connector.p2pPort },
    serverName: "ztna-connector",
    protocols: [ALPN_V2, ALPN_V1],
    ...options,
  };
}

/** A UDP socket of the test: a backend that answers `re: …`, or a peer that sends by itself. */
export class UdpPort implements AsyncDisposable {
  readonly heard: { readonly text: string; readonly bytes: Uint8Array; readonly port: number }[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket, answers: boolean) {
    this.#socket = socket;
    socket.on("message", (bytes, from) => {
      this.heard.push({ text: bytes.toString(), bytes: new Uint8Array(bytes), port: from.port });
      if (answers) socket.send(`re: ${bytes}`, from.port, from.address);
    });
  }

  static async open(answers = false, address = LOOPBACK, port = 0): Promise<UdpPort> {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    await new Promise<void>((resolve) => socket.bind(port, address, resolve));
    return new UdpPort(socket, answers);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  send(bytes: Uint8Array, port: number): Promise<void> {
    return new Promise((resolve) => this.#socket.send(bytes, port, LOOPBACK, () => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}
