/**
 * The server's data plane as it is, with the real engine and sockets on loopback, in the process of the test: its counters, its
 * logs and events can be read, its clock for certificates set. Raw clients of either version of the protocol talk to it.
 */
import { assertEquals } from "@std/assert";
import { createArena, createCertificateReader, createLibc, createQuicheEngine, loadNative } from "../../ffi/mod.ts";
import { ENGINE_SCRATCH_BYTES, LIBC_SCRATCH_BYTES } from "../../ffi/mod.ts";
import { type LogRecord, type MetricCells, metricCells, type SecurityEventInput, Timer } from "../../src/base/mod.ts";
import { RATE_LIMITS } from "../../src/core/ratelimit/mod.ts";
import { ArenaLayout, createPlaneCrypto, Reactor } from "../../src/io/mod.ts";
import { readRevocationLists } from "../../src/platform/revocation/mod.ts";
import {
  type CommandChannel,
  createCommandChannel,
  createWorkerGroup,
  Plane,
  type PlaneMessage,
  type PlaneStatus,
  type RevocationPlan,
  type ServerPlan,
} from "../../src/roles/control/mod.ts";
import { CarrierPlane, SERVER_METRICS, type ServerMetric, ServerPlane } from "../../src/roles/server/mod.ts";
import { type Authority, type CertificateOptions, createAuthority, type Issued } from "../pki/mod.ts";
import { RawClient, type RawClientOptions, type RawWorld } from "./raw_client_fixture.ts";

/** Many servers, one behind the other; what is not used is never made. */
const ARENA_BYTES = 1024 * 1024 * 1024;

const layout = new ArenaLayout(createArena(ARENA_BYTES));
const libc = createLibc(layout.arena, layout.reserve(LIBC_SCRATCH_BYTES));
const { path: nativePath } = loadNative();
const reader = createCertificateReader(nativePath);
const engine = createQuicheEngine(nativePath, layout.arena, layout.reserve(ENGINE_SCRATCH_BYTES), (der) => {
  try {
    return reader.summarize(der);
  } catch {
    return null;
  }
});

const LOOPBACK = "127.0.0.1";
/** Any test of the server's data plane can be run with several workers. */
const WORKERS = Number(Deno.env.get("POSTERN_TEST_WORKERS") ?? "1");
const WAIT_MS = 10_000;

export class ServerRig implements AsyncDisposable {
  readonly authority: Authority;
  readonly plan: ServerPlan;
  readonly server: ServerPlane;
  readonly logs: LogRecord[] = [];
  readonly events: SecurityEventInput[] = [];
  readonly answers = new Map<number, { readonly count: number; readonly error: string | null }>();
  /** Added to the time of day that the server sees. */
  wallClockAheadMs = 0;
  /** Added to the clock of the server and its clients: whatever lasts until then is over. The engine's own times stay as they are. */
  clockAheadMs = 0;
  /** The other workers have no turns: they are as if busy for long. */
  areCarriersIdle = false;
  readonly #reactor: Reactor;
  readonly #metrics: MetricCells<typeof SERVER_METRICS>;
  /** Further workers, in turns with the first. */
  readonly #carriers: {
    readonly plane: CarrierPlane;
    readonly reactor: Reactor;
    readonly metrics: MetricCells<typeof SERVER_METRICS>;
  }[] = [];
  readonly #clients: RawClient[] = [];
  #ports: readonly number[] = [];
  #status: PlaneStatus | null = null;
  #number = 1;

  private constructor(authority: Authority, plan: ServerPlan, protocols: readonly string[] | undefined) {
    this.authority = authority;
    this.plan = plan;
    this.#reactor = new Reactor(libc, layout, () => performance.now() + this.clockAheadMs);
    this.#metrics = metricCells(SERVER_METRICS);
    const createProfile = engine.createProfile.bind(engine);
    if (protocols !== undefined) engine.createProfile = (options) => createProfile({ ...options, protocols });
    const channels = Array.from({ length: plan.workers ?? 1 }, () => createCommandChannel(libc.eventfd()));
    const [first, ...others] = createWorkerGroup(channels.map(({ eventFd }) => eventFd));
    const planeOf = (reactor: Reactor, at: number) => this.#planeOf(reactor, channels[at] as CommandChannel);
    this.server = new ServerPlane(planeOf(this.#reactor, 0), plan, this.#metrics, others.length > 0 ? first : undefined);
    for (const group of others) {
      const reactor = new Reactor(libc, layout, () => performance.now() + this.clockAheadMs), metrics = metricCells(SERVER_METRICS);
      const binds = this.#ports.map((port, at) => ({ address: plan.binds[at]?.address ?? LOOPBACK, port }));
      const plane = new CarrierPlane(planeOf(reactor, group.worker), { ...plan, binds }, metrics, group);
      this.#carriers.push({ plane, reactor, metrics });
    }
    if (protocols !== undefined) engine.createProfile = createProfile;
  }

  #planeOf(reactor: Reactor, channel: CommandChannel): Plane {
    return new Plane({
      reactor,
      layout,
      engine,
      crypto: createPlaneCrypto(),
      entropy: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      random: Math.random,
      wallClockMs: () => Date.now() + this.wallClockAheadMs,
      post: (message) => this.#onMessage(message),
    }, channel);
  }

  /** `protocols`: what it speaks, if it is not both; as a server of ztna-v1 does. */
  static async start(changes: Partial<ServerPlan> = {}, protocols?: readonly string[]): Promise<ServerRig> {
    const authority = await createAuthority({ commonName: "Rig CA" });
    const identity = await authority.issue({ commonName: "ztna-server", dns: ["ztna-server"] });
    const plan = { ...serverPlan(authority, identity), workers: WORKERS, ...changes };
    return new ServerRig(authority, plan.workers > 1 ? { ...plan, ...sharedKeys(plan) } : plan, protocols);
  }

  /** What else may run in the server's reactor. */
  get world(): RawWorld {
    return { engine, layout, reactor: this.#reactor, crypto: createPlaneCrypto() };
  }

  /** The port of the first address, or of another one. */
  port(at = 0): number {
    return this.#ports[at] ?? 0;
  }

  /** What all workers count together. */
  count(metric: ServerMetric): number {
    const all = [this.#metrics, ...this.#carriers.map(({ metrics }) => metrics)];
    return all.reduce((sum, { cells, index }) => sum + (cells[index[metric]] ?? NaN), 0);
  }

  /** The worker that carries a client's connection, known by the number that the server has for it. */
  workerOf(peer: number): number {
    return (peer - 1) % (this.#carriers.length + 1);
  }

  /** A client with a certificate for these DNS names; not connected yet. */
  async client(
    dns: readonly string[],
    options: Partial<RawClientOptions> = {},
    certificate: CertificateOptions = {},
  ): Promise<RawClient> {
    const identity = await this.authority.issue({ commonName: dns[0] ?? "client", dns, eku: ["clientAuth"], ...certificate });
    return this.dial(identity, options);
  }

  /** A client with this certificate, or without one. */
  dial(identity: Issued | null, options: Partial<RawClientOptions> = {}): RawClient {
    const client = new RawClient(this.world, {
      server: { address: LOOPBACK, port: this.port() },
      identity,
      trustPem: this.authority.certificatePem,
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  /** A client that is connected and has registered. */
  async registered(role: "agent" | "connector", service: string, options: Partial<RawClientOptions> = {}): Promise<RawClient> {
    const client = await this.client([`${role}.${service}.ztna`], options);
    await this.until(() => client.isUp);
    const reply = await this.register(client, role, service);
    if (reply !== "ack") throw new Error(`registration was answered with ${reply}`);
    return client;
  }

  /** Registers and returns how that was answered: `ack`, or the status of the NACK. */
  async register(client: RawClient, role: "agent" | "connector", service: string): Promise<string> {
    const before = client.replies.length;
    client.register(role, service);
    await this.until(() => client.replies.length > before);
    const reply = client.replies[before];
    return reply === undefined ? "" : reply.kind === "nack" ? reply.status : reply.kind;
  }

  /** Turns until `done`. */
  async until(done: () => boolean, ms = WAIT_MS): Promise<void> {
    const deadline = performance.now() + ms;
    const tick = new Timer(() => {});
    while (!done()) {
      if (performance.now() > deadline) {
        throw new Error(`it did not come to that\n${this.logs.slice(-10).map((log) => JSON.stringify(log)).join("\n")}`);
      }
      this.#reactor.setTimer(tick, this.#reactor.clockMs + 5);
      this.#turnAll();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    this.#reactor.cancelTimer(tick);
  }

  /** One turn, for a test that drives two servers. */
  turn(): void {
    this.#reactor.setTimer(new Timer(() => {}), this.#reactor.clockMs + 1);
    this.#turnAll();
  }

  /** With several workers nobody sleeps while another may have something to do. */
  #turnAll(): void {
    if (this.#carriers.length > 0) this.#reactor.again();
    this.#reactor.turn();
    if (this.areCarriersIdle) return;
    for (const { reactor } of this.#carriers) {
      reactor.again();
      reactor.turn();
    }
  }

  async pause(ms: number): Promise<void> {
    const until = performance.now() + ms;
    await this.until(() => performance.now() >= until, ms + WAIT_MS);
  }

  /** Turns until the counter has this value or more. */
  async untilCount(metric: ServerMetric, atLeast: number): Promise<void> {
    await this.until(() => this.count(metric) >= atLeast);
  }

  reload(changes: Partial<ServerPlan>): { readonly count: number; readonly error: string | null } {
    const id = this.#number++;
    this.server.onCommand({ type: "reload", id, plan: { ...this.plan, ...changes } }, this.#reactor.nowMs);
    const answer = this.answers.get(id) ?? { count: 0, error: "no answer" };
    if (answer.error !== null) return answer;
    for (const { plane, reactor } of this.#carriers) {
      plane.onCommand({ type: "reload", id: this.#number, plan: { ...this.plan, ...changes } });
      assertEquals(this.answers.get(this.#number++)?.error, null);
      reactor.again();
    }
    return answer;
  }

  deny(serial: string): number {
    const id = this.#number++;
    this.server.onCommand({ type: "deny", id, entry: { serial, issuer: null } }, this.#reactor.nowMs);
    return this.answers.get(id)?.count ?? -1;
  }

  /** Ends the connection with this number of the server's; returns how many there were. */
  disconnect(peer: number): number {
    const id = this.#number++;
    this.server.onCommand({ type: "disconnect", id, peer }, this.#reactor.nowMs);
    return this.answers.get(id)?.count ?? -1;
  }

  status(flowsMax = 1_000, peersMax = 1_000): PlaneStatus {
    this.server.onCommand({ type: "status", id: this.#number++, peersMax, flowsMax }, this.#reactor.nowMs);
    if (this.#status === null) throw new Error("the server gave no status");
    return this.#status;
  }

  /** Gives the server's sockets back without a word to anybody. */
  kill(): void {
    this.server.dispose();
    for (const { plane } of this.#carriers) plane.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.pause(20);
    for (const client of this.#clients) client.dispose();
    this.kill();
  }

  #onMessage(message: PlaneMessage): void {
    if (message.type === "log") this.logs.push(message.record);
    if (message.type === "event") this.events.push(message.event);
    if (message.type === "answer") this.answers.set(message.id, message);
    if (message.type === "status") this.#status = message.status;
    if (message.type === "ready" && message.addresses.length > 0) this.#ports = message.addresses.map(({ port }) => port);
  }
}

/** What the control plane gives all workers alike, unless the operator does. */
function sharedKeys({ retryKeys, resetKey }: ServerPlan): Pick<ServerPlan, "retryKeys" | "resetKey"> {
  const key = () => crypto.getRandomValues(new Uint8Array(32));
  return { retryKeys: retryKeys?.length === 0 ? [{ id: 0, key: key() }] : retryKeys, resetKey: resetKey ?? key() };
}

/** The plan of a server with defaults. */
export function serverPlan(authority: Authority, identity: Issued): ServerPlan {
  return {
    role: "server",
    binds: [{ address: LOOPBACK, port: 0 }],
    tls: {
      certificatePem: identity.certificatePem,
      keyPem: identity.privateKeyPem,
      trustPem: authority.certificatePem,
    },
    verifyPeer: true,
    requireClientCert: true,
    allowLegacyCerts: false,
    allowAnonymous: [],
    allowLegacyServiceIds: false,
    allowConnectorTakeover: false,
    revocation: { crlPem: null, toleratesStale: false, denied: [] },
    retryKeys: [],
    resetKey: null,
    tokenIssuers: [],
    limits: RATE_LIMITS,
    cidRotationMs: 300_000,
  };
}

/** What the control plane makes of a revocation list. */
export async function revocation(authority: Authority, revoked: readonly Issued[], nextUpdate?: Date): Promise<RevocationPlan> {
  const crlPem = await authority.crl({ revoked, ...(nextUpdate === undefined ? {} : { nextUpdate, thisUpdate: new Date(0) }) });
  const denied = readRevocationLists(crlPem).flatMap(({ issuer, serials }) => serials.map((serial) => ({ serial, issuer })));
  return { crlPem, toleratesStale: false, denied };
}
