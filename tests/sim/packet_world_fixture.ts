/**
 * Worlds of packets: agents of both versions send UDP packets to services, behind which connectors answer; two agents may use the
 * same addresses and ports. Every packet says whose it is, so that one that comes to somebody else is seen.
 */
import { SimRandom } from "./sim_random_fixture.ts";
import { assertChecksums, buildPacket, type Sample } from "../../src/core/registry/sample_packets_fixture.ts";
import { memoryKit } from "./memory_kit_fixture.ts";
import { type PacketPeer, packetPeerProgram } from "./packet_peer_fixture.ts";
import { roleProgram, type SimPlane } from "./sim_plane_fixture.ts";
import { CLEAN_LINK, type Datagram, type LinkFaults, type SimHost } from "./sim_udp_fixture.ts";
import { SimWorld } from "./sim_world_fixture.ts";
import { BACKEND_ADDRESS, connectorPlan, SERVER_NAME, serverPlan, simMaterial, uplinkPlan } from "./tunnel_plans_fixture.ts";

const SERVER_ADDRESS = "10.0.0.1";
const SERVICES = ["a", "b"] as const;
const UDP_PORT = 53;
const READY_MS = 60_000;
const STORY_MS = 20_000;
const HEADER_BYTES = 28;
/** Last bytes of inner addresses, as sample packets have them: 100.64.0.x. */
const AGENTS_FROM = 10;

export interface PacketScenario {
  readonly seed: number;
  readonly agents: readonly {
    readonly version: "ztna-v1" | "ztna-v2";
    readonly services: readonly string[];
    readonly ports: readonly number[];
  }[];
  /** `real`: the product's connector before UDP backends; the others answer packets by themselves. */
  readonly connectors: readonly ("real" | "ztna-v1" | "ztna-v2")[];
  readonly link: LinkFaults;
  readonly packets: number;
  /** An agent that goes and comes back. */
  readonly isRestless: boolean;
}

export function packetScenarioOf(seed: number): PacketScenario {
  const random = new SimRandom(seed * 104_729 + 5);
  const isBad = random.chance(0.6);
  // Few ports, so that agents collide.
  const ports = () => Array.from({ length: random.between(1, 3) }, () => random.between(1_000, 1_003));
  const version = () => random.one<"ztna-v1" | "ztna-v2">("ztna-v1", "ztna-v2");
  return {
    seed,
    agents: Array.from({ length: random.between(2, 4) }, () => ({
      version: version(),
      services: random.one<readonly string[]>(["a"], ["b"], ["a", "b"]),
      ports: ports(),
    })),
    connectors: random.one<PacketScenario["connectors"]>(["ztna-v1"], ["ztna-v2"], ["ztna-v1", "ztna-v2"], ["real"], [
      "real",
      "ztna-v1",
    ]),
    link: {
      ...CLEAN_LINK,
      delayMs: random.one(0.1, 5, 30),
      jitterMs: random.one(0, 3),
      loss: isBad ? random.one(0, 0.02, 0.1) : 0,
      duplicate: isBad ? random.one(0, 0.1) : 0,
      corrupt: isBad ? random.one(0, 0.03) : 0,
      reorder: isBad ? random.one(0, 0.2) : 0,
      reorderMs: 20,
    },
    packets: random.one(20, 60),
    isRestless: random.chance(0.4),
  };
}

interface Agent {
  readonly number: number;
  readonly plane: SimPlane;
  peer: PacketPeer | null;
  readonly sent: Set<string>;
  readonly answered: Set<string>;
}

export class PacketWorld {
  readonly world: SimWorld;
  readonly scenario: PacketScenario;
  readonly #random: SimRandom;
  readonly #violations: string[] = [];
  readonly #agents: Agent[] = [];
  readonly #connectors: PacketPeer[] = [];
  readonly #realConnectors: SimPlane[] = [];
  readonly #server: SimPlane;
  readonly #backendHost: SimHost;

  constructor(scenario: PacketScenario, show?: (line: string) => void) {
    this.scenario = scenario;
    this.world = new SimWorld({ seed: scenario.seed, kit: memoryKit(), ...(show === undefined ? {} : { show }) });
    this.#random = this.world.random.fork("packets");
    this.world.network.defaults = scenario.link;
    this.#backendHost = this.world.host("backend", [BACKEND_ADDRESS]);
    this.#serveBackend();
    this.#server = this.world.start(
      "server",
      this.world.host("server", [SERVER_ADDRESS]),
      roleProgram(serverPlan(simMaterial("server", [SERVER_NAME]))),
    );
    scenario.connectors.forEach((kind, number) => this.#startConnector(kind, number));
    scenario.agents.forEach((_, number) => this.#startAgent(number));
  }

  /** Runs the story. Returns what was wrong. */
  run(): readonly string[] {
    const { world, scenario } = this;
    if (!world.run(READY_MS, () => this.#isReady())) this.#wrong("not everybody is registered in time");
    for (const agent of this.#agents) {
      for (let i = 0; i < scenario.packets; i++) world.events.after(this.#random.next() * STORY_MS, () => this.#send(agent, i));
    }
    if (scenario.isRestless) world.events.after(STORY_MS / 2, () => this.#replaceAgent());
    for (let i = 0; i < 20; i++) world.events.after(this.#random.next() * STORY_MS, () => this.#sendUnasked());
    world.run(world.nowMs + STORY_MS + 2_000);
    this.#check();
    return this.#violations;
  }

  #startConnector(kind: PacketScenario["connectors"][number], number: number): void {
    const name = `connector ${number}`;
    const host = this.world.host(name, [`10.1.0.${number + 1}`]);
    const tls = simMaterial(name, ["connector.*.ztna"]);
    if (kind === "real") {
      // A backend is near, and nothing protects what goes there.
      const { network } = this.world;
      network.link(host, this.#backendHost).faults = CLEAN_LINK;
      network.link(this.#backendHost, host).faults = CLEAN_LINK;
      const services = SERVICES.map((id) => ({ id, port: UDP_PORT }));
      const plan = connectorPlan(uplinkPlan(tls, SERVER_ADDRESS), services);
      const destinations = SERVICES.map((service, at) => ({ service, address: innerAddress(at + 1), port: null }));
      const program = roleProgram({
        ...plan,
        destinations,
        services: plan.services.map((service) => ({ ...service, protocols: ["udp"] as const })),
      });
      this.#realConnectors.push(this.world.start(name, host, program));
      return;
    }
    const program = packetPeerProgram({
      role: "connector",
      services: SERVICES,
      version: kind,
      tls,
      serverAddress: SERVER_ADDRESS,
      onPacket: (peer, packet, service) => this.#answer(peer, packet, service),
    }, (peer) => this.#connectors.push(peer));
    const plane = this.world.start(name, host, program);
    for (const peer of this.#connectors.slice(-1)) peer.wake = () => plane.poke();
  }

  #startAgent(number: number): void {
    const { version, services } = this.scenario.agents[number] as PacketScenario["agents"][number];
    const name = `agent ${number} ${this.#agents.length}`;
    const host: SimHost = this.world.host(name, [`10.2.0.${this.#agents.length + 1}`]);
    const made: PacketPeer[] = [];
    const program = packetPeerProgram({
      role: "agent",
      services,
      version,
      tls: simMaterial(`agent ${number}`, services.map((service) => `agent.${service}.ztna`)),
      serverAddress: SERVER_ADDRESS,
      onPacket: (_peer, packet) => this.#receive(agent, packet),
    }, (peer) => made.push(peer));
    const plane = this.world.start(name, host, program);
    const peer = made[0] ?? null;
    if (peer !== null) peer.wake = () => plane.poke();
    const agent: Agent = { number: this.#agents.length, plane, peer, sent: new Set(), answered: new Set() };
    this.#agents.push(agent);
  }

  #isReady(): boolean {
    return this.#agents.every(({ peer }) => peer?.isReady === true) && this.#connectors.every((peer) => peer.isReady) &&
      this.#realConnectors.every((plane) => plane.metric("registered") === SERVICES.length);
  }

  /** One packet of an agent to one of its services. The payload says whose it is. */
  #send(agent: Agent, count: number): void {
    if (!agent.plane.isRunning) return;
    const shape = this.scenario.agents[agent.number % this.scenario.agents.length] as PacketScenario["agents"][number];
    const at = this.#random.between(0, shape.services.length - 1);
    const service = shape.services[at] as string;
    const key = `${agent.number}/${count}`;
    // Every second uses an address that others use, too.
    const source = count % 2 === 0 ? AGENTS_FROM : AGENTS_FROM + agent.number;
    const sample: Sample = {
      protocol: "udp",
      source,
      destination: SERVICES.indexOf(service as typeof SERVICES[number]) + 1,
      sourcePort: shape.ports[count % shape.ports.length] as number,
      destinationPort: UDP_PORT,
      payload: new TextEncoder().encode(`${key} ${"x".repeat(count * 10)}`),
    };
    // Without a name a packet goes to the service that was registered first, which may be the other one: only with one it is sure.
    const isNamed = shape.version === "ztna-v2" || shape.services.length > 1 || this.#random.chance(0.5);
    agent.sent.add(key);
    agent.peer?.send(buildPacket(sample), isNamed ? service : null);
  }

  /** What an agent gets must be the answer to what it sent, as it sent it. */
  #receive(agent: Agent, packet: Uint8Array<ArrayBuffer>): void {
    const text = new TextDecoder().decode(packet.subarray(HEADER_BYTES));
    const key = text.split(" ")[0] ?? "";
    if (!agent.sent.has(key)) return this.#wrong(`agent ${agent.number} got a packet of another one: ${text.slice(0, 40)}`);
    if (agent.answered.has(key) && this.scenario.link.duplicate === 0) this.#wrong(`agent ${agent.number} got ${key} twice`);
    agent.answered.add(key);
    const shape = this.scenario.agents[agent.number % this.scenario.agents.length] as PacketScenario["agents"][number];
    const view = new DataView(packet.buffer);
    const count = Number(key.split("/")[1]);
    const source = count % 2 === 0 ? AGENTS_FROM : AGENTS_FROM + agent.number;
    const isOurs = packet[19] === source && view.getUint16(22) === shape.ports[count % shape.ports.length];
    if (!isOurs || view.getUint16(20) !== UDP_PORT) this.#wrong(`agent ${agent.number} got ${key} under another address`);
    this.#checkSums(packet, `agent ${agent.number}`);
  }

  /** A connector's program turns a packet round. */
  #answer(peer: PacketPeer, packet: Uint8Array<ArrayBuffer>, service: string | null): void {
    this.#checkSums(packet, "a connector");
    if (service !== null && !peer.registered.has(service)) this.#wrong(`a connector got a packet for ${service}`);
    const back = packet.slice();
    back.set(packet.subarray(12, 16), 16);
    back.set(packet.subarray(16, 20), 12);
    back.set(packet.subarray(20, 22), 22);
    back.set(packet.subarray(22, 24), 20);
    this.world.events.after(this.#random.next() * 50, () => peer.send(back, peer.options.version === "ztna-v2" ? service : null));
  }

  /** A connector sends what nobody asked for: it must reach nobody. */
  #sendUnasked(): void {
    const peer = this.#connectors[0];
    if (peer === undefined) return;
    const sample: Sample = {
      protocol: "udp",
      source: 1,
      destination: AGENTS_FROM + this.#random.between(0, 4),
      sourcePort: UDP_PORT + 1,
      destinationPort: this.#random.between(1_000, 1_003),
      payload: new TextEncoder().encode("nobody/0 asked"),
    };
    peer.send(buildPacket(sample), peer.options.version === "ztna-v2" ? "a" : null);
  }

  /** The first agent goes without a word, and another one with the same addresses comes. */
  #replaceAgent(): void {
    this.#agents[0]?.plane.kill();
    this.#startAgent(0);
  }

  #check(): void {
    const { link, isRestless } = this.scenario;
    const isClean = link.loss === 0 && link.corrupt === 0;
    for (const { plane, sent, answered, number } of this.#agents) {
      if (plane.state === "thrown") this.#wrong(`${plane.name} threw ${plane.failure}`);
      if (sent.size > 5 && answered.size === 0) this.#wrong(`agent ${number} got no answer at all`);
      const isWhole = !isRestless && isClean;
      if (isWhole && answered.size < sent.size) this.#wrong(`agent ${number} got ${answered.size} answers of ${sent.size}`);
    }
    if (this.#server.state !== "running") this.#wrong(`the server is ${this.#server.state}: ${this.#server.failure}`);
    for (const plane of this.#realConnectors) {
      if (!plane.isRunning) this.#wrong(`${plane.name} is ${plane.state}: ${plane.failure}`);
    }
  }

  #serveBackend(): void {
    const { network, events } = this.world;
    const host = this.#backendHost;
    network.bind(
      {
        receive: ({ from, bytes }: Datagram) =>
          events.after(this.#random.next() * 50, () => network.send(host, `${BACKEND_ADDRESS}|${UDP_PORT}`, from, bytes.slice())),
      },
      [BACKEND_ADDRESS],
      UDP_PORT,
    );
  }

  #checkSums(packet: Uint8Array, whose: string): void {
    try {
      assertChecksums(packet);
    } catch {
      this.#wrong(`${whose} got a packet whose checksums are wrong`);
    }
  }

  #wrong(what: string): void {
    this.world.trace.note(this.world.nowMs, `WRONG: ${what}`);
    this.#violations.push(what);
  }
}

function innerAddress(last: number): string {
  return `100.64.0.${last}`;
}
