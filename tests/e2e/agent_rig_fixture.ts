/**
 * The agent's data plane as it is beside a {@linkcode ServerRig}, in the same reactor: its counters, logs and status can be read. Its
 * clients are real sockets of the test.
 */
import { type LogRecord, type MetricCells, metricCells } from "../../src/base/mod.ts";
import { type AgentPlan, createCommandChannel, Plane, type PlaneMessage, type PlaneStatus } from "../../src/roles/control/mod.ts";
import { AGENT_METRICS, type AgentMetric, AgentPlane } from "../../src/roles/agent/mod.ts";
import type { ServerRig } from "./server_rig_fixture.ts";

const LOOPBACK = "127.0.0.1";

/** What of the plan is not as usual. */
type RigPlan = Partial<Omit<AgentPlan, "addresses">> & {
  /** The server's. */
  readonly addresses?: readonly string[];
  readonly packetQueueMax?: number;
};

export class AgentRig implements Disposable {
  readonly agent: AgentPlane;
  readonly logs: LogRecord[] = [];
  readonly #rig: ServerRig;
  readonly #metrics: MetricCells<typeof AGENT_METRICS>;
  #ports: readonly number[] = [];
  #status: PlaneStatus | null = null;
  #number = 1;

  private constructor(rig: ServerRig, plan: AgentPlan) {
    this.#rig = rig;
    const { world } = rig;
    const plane = new Plane({
      ...world,
      entropy: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      random: Math.random,
      wallClockMs: Date.now,
      post: (message) => this.#onMessage(message),
    }, createCommandChannel(world.reactor.libc.eventfd()));
    this.#metrics = metricCells(AGENT_METRICS);
    this.agent = new AgentPlane(plane, plan, this.#metrics);
  }

  /** An agent with a local port for each of these services (`web`, `dns/udp`), connected; its certificate names `dns`. */
  static async start(
    rig: ServerRig,
    forwards: readonly string[],
    dns?: readonly string[],
    serverPort = rig.port(),
    { addresses = [LOOPBACK], packetQueueMax = 4_096, ...further }: RigPlan = {},
  ): Promise<AgentRig> {
    const targets = forwards.map((forward) => ({ service: forward.replace("/udp", ""), isUdp: forward.endsWith("/udp") }));
    const names = dns ?? targets.map(({ service }) => `agent.${service}.ztna`);
    const identity = await rig.authority.issue({ commonName: "rig-agent", dns: names, eku: ["clientAuth"] });
    const agent = new AgentRig(rig, {
      role: "agent",
      uplink: {
        servers: [{ host: "ztna-server", port: serverPort, addresses, expectedName: "ztna-server" }],
        verifyPeer: true,
        tls: { certificatePem: identity.certificatePem, keyPem: identity.privateKeyPem, trustPem: rig.authority.certificatePem },
        allowLegacyServiceIds: false,
        cidRotationMs: 300_000,
        packetQueueMax,
      },
      forwards: targets.map(({ service, isUdp }) => ({
        listen: { address: LOOPBACK, port: 0 },
        service,
        protocol: isUdp ? "udp" : "tcp",
        servicePort: 80,
      })),
      ...further,
    });
    await rig.until(() => agent.status().uplink?.state === "up");
    return agent;
  }

  /** The local ports, in the order of the forwards. */
  get ports(): readonly number[] {
    return this.#ports;
  }

  count(metric: AgentMetric): number {
    return this.#metrics.cells[this.#metrics.index[metric]] ?? NaN;
  }

  status(): PlaneStatus {
    this.agent.onCommand({ type: "status", id: this.#number++, flowsMax: 100, peersMax: 100 }, this.#rig.world.reactor.nowMs);
    if (this.#status === null) throw new Error("the agent gave no status");
    return this.#status;
  }

  /** Turns the world while `work` goes on, and returns what came of it. */
  async during<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const watched = work.finally(() => isDone = true);
    // Rejections are the caller's; here they only end the waiting.
    watched.catch(() => {});
    await this.#rig.until(() => isDone, 60_000);
    return await watched;
  }

  [Symbol.dispose](): void {
    this.agent.dispose();
  }

  #onMessage(message: PlaneMessage): void {
    if (message.type === "log") this.logs.push(message.record);
    if (message.type === "status") this.#status = message.status;
    if (message.type === "ready") this.#ports = message.addresses.map(({ port }) => port);
  }
}
