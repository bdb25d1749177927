/**
 * Worlds of packets: agents of both versions send UDP packets to services, behind which connectors answer; two agents may use the
 * same addresses and ports. Every packet says whose it is, so that one that comes to somebody else is seen. Meanwhile addresses
 * change, clocks jump, connectors end, certificates are revoked and somebody floods; afterwards everybody must get through again.
 */
import type { SimRandom } from "./sim_random_fixture.ts";
import { assertChecksums, buildPacket, type Sample } from "../../src/core/registry/sample_packets_fixture.ts";
import type { ServerPlan } from "../../src/roles/control/mod.ts";
import { memoryKit } from "./memory_kit_fixture.ts";
import { type PacketPeer, packetPeerProgram } from "./packet_peer_fixture.ts";
import { roleProgram, type SimPlane } from "./sim_plane_fixture.ts";
import { type AgentShape, type PacketScenario, STORY_MS } from "./packet_scenario_fixture.ts";
import { type PacketAgent as Agent, type PacketSeat as Seat, PacketTroubles } from "./packet_troubles_fixture.ts";
import { PacketSignals } from "./packet_signals_fixture.ts";
import { CLEAN_LINK, type Datagram, type SimHost, SimNat } from "./sim_udp_fixture.ts";
import { SimWorld } from "./sim_world_fixture.ts";
import { BACKEND_ADDRESS, connectorPlan, SERVER_NAME, serverPlan, simMaterial, uplinkPlan } from "./tunnel_plans_fixture.ts";

const SERVER_ADDRESS = "10.0.0.1";
const SERVICES = ["a", "b"] as const;
const UDP_PORT = 53;
/** One whose first packets were spoilt begins anew after its idle time. */
const READY_MS = 180_000;
/** By then everybody gets through again: a dead connection is noticed after 30 s, a flow lasts as long again. */
const RECOVERY_MS = 120_000;
const PROBE_EVERY_MS = 1_000;
/** Probes are numbered from here. */
const PROBES_FROM = 1_000;
const HEADER_BYTES = 28;
const PROTOCOL_ICMP = 1;
/** Last bytes of inner addresses, as sample packets have them: 100.64.0.x. */
const AGENTS_FROM = 10;

export class PacketWorld {
  readonly world: SimWorld;
  readonly scenario: PacketScenario;
  readonly #random: SimRandom;
  readonly #violations: string[] = [];
  readonly #agents: Agent[] = [];
  readonly #seats: Seat[] = [];
  readonly #server: SimPlane;
  readonly #serverPlan: ServerPlan;
  readonly #backendHost: SimHost;
  readonly #signals: PacketSignals;

  constructor(scenario: PacketScenario, show?: (line: string) => void) {
    this.scenario = scenario;
    this.world = new SimWorld({ seed: scenario.seed, kit: memoryKit(), ...(show === undefined ? {} : { show }) });
    this.#random = this.world.random.fork("packets");
    this.#signals = new PacketSignals(this.world, (what) => this.#wrong(what));
    this.world.network.defaults = scenario.link;
    this.#backendHost = this.world.host("backend", [BACKEND_ADDRESS]);
    this.#serveBackend();
    this.#serverPlan = serverPlan(simMaterial("server", [SERVER_NAME]), scenario);
    this.#server = this.world.start("server", this.world.host("server", [SERVER_ADDRESS]), roleProgram(this.#serverPlan));
    scenario.connectors.forEach((kind, number) => this.#startConnector(kind, number));
    scenario.agents.forEach((_, number) => this.#startAgent(number));
  }

  /** Runs the story. Returns what was wrong. */
  run(): readonly string[] {
    const { world, scenario } = this;
    const cast = { server: this.#server, serverPlan: this.#serverPlan, agents: this.#agents, seats: this.#seats };
    const troubles = new PacketTroubles(world, cast, (agent) => this.#sampleOf(agent, 0, "a", "flood"));
    if (!world.run(READY_MS, () => this.#isReady())) this.#wrong("not everybody is registered in time");
    for (const agent of this.#agents) this.#planAgent(agent);
    if (scenario.isRestless) world.events.after(STORY_MS / 2, () => this.#replaceAgent());
    for (let i = 0; i < 20; i++) world.events.after(this.#random.next() * STORY_MS, () => this.#sendUnasked());
    for (const trouble of scenario.troubles) {
      world.events.after(trouble.atMs, () => {
        world.trace.note(world.nowMs, JSON.stringify(trouble));
        troubles.begin(trouble);
      });
    }
    world.run(world.nowMs + STORY_MS + 2_000);
    this.#check();
    if (scenario.troubles.length > 0) this.#probe();
    this.#checkPlanes();
    return this.#violations;
  }

  #planAgent(agent: Agent): void {
    const { events } = this.world;
    for (let i = 0; i < this.scenario.packets; i++) events.after(this.#random.next() * STORY_MS, () => this.#send(agent, i));
    const { offers, services } = agent.shape;
    for (let i = 0; i < offers; i++) {
      events.after(this.#random.next() * STORY_MS, () => {
        if (agent.peer !== null) this.#signals.offer(agent.number, agent.peer, i, services[0] as string);
      });
    }
  }

  #startConnector(kind: PacketScenario["connectors"][number], number: number): void {
    const name = `connector ${number}`;
    const host = this.world.host(name, [`10.1.0.${number + 1}`], new SimNat(`172.1.0.${number + 1}`, 20_000));
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
      const start = () => this.world.start(name, host, program);
      this.#seats.push({ host, start, plane: start(), peer: null });
      return;
    }
    const made: PacketPeer[] = [];
    const program = packetPeerProgram({
      role: "connector",
      services: SERVICES,
      version: kind,
      tls,
      serverAddress: SERVER_ADDRESS,
      onPacket: (peer, packet, service) => this.#answer(peer, packet, service),
      onSignal: (peer, message, stream) => this.#signals.onConnector(peer, message, stream),
    }, (peer) => made.push(peer));
    const seat = { host, start: () => start(), plane: null as SimPlane | null, peer: null as PacketPeer | null };
    const start = (): SimPlane => {
      const plane = this.world.start(name, host, program);
      const peer = made.pop() ?? null;
      if (peer !== null) peer.wake = () => plane.poke();
      seat.peer = peer;
      return plane;
    };
    seat.plane = start();
    this.#seats.push(seat as Seat);
  }

  #startAgent(number: number): void {
    const shape = this.scenario.agents[number] as AgentShape;
    const { version, services } = shape;
    const at = this.#agents.length;
    const name = `agent ${number} ${at}`;
    const host: SimHost = this.world.host(name, [`10.2.0.${at + 1}`], new SimNat(`172.2.0.${at + 1}`, 20_000));
    const made: PacketPeer[] = [];
    const program = packetPeerProgram({
      role: "agent",
      services,
      version,
      tls: simMaterial(`agent ${number}`, services.map((service) => `agent.${service}.ztna`)),
      serverAddress: SERVER_ADDRESS,
      onPacket: (_peer, packet) => this.#receive(agent, packet),
      onSignal: (_peer, message) => this.#signals.onAgent(at, message),
    }, (peer) => made.push(peer));
    const plane = this.world.start(name, host, program);
    const peer = made[0] ?? null;
    if (peer !== null) peer.wake = () => plane.poke();
    const agent: Agent = {
      number: at,
      shape,
      name: `agent ${number}`,
      plane,
      peer,
      sent: new Set(),
      answered: new Set(),
      isTouched: false,
      deniedFromMs: Infinity,
      deniedUntilMs: -Infinity,
    };
    this.#agents.push(agent);
  }

  #isReady(): boolean {
    return this.#agents.every(({ peer }) => peer?.isReady === true) &&
      this.#seats.every(({ peer, plane }) => peer === null ? plane.metric("registered") === SERVICES.length : peer.isReady);
  }

  /** One packet of an agent to one of its services. The payload says whose it is. */
  #send(agent: Agent, count: number): void {
    if (!agent.plane.isRunning) return;
    const { shape } = agent;
    const service = shape.services[this.#random.between(0, shape.services.length - 1)] as string;
    const key = `${agent.number}/${count}`;
    // Without a name a packet goes to the service that was registered first, which may be the other one: only with one it is sure.
    const isNamed = shape.version === "ztna-v2" || shape.services.length > 1 || this.#random.chance(0.5);
    agent.sent.add(key);
    const packet = this.#sampleOf(agent, count, service, `${key} ${"x".repeat((count % PROBES_FROM) * 10)}`);
    agent.peer?.send(packet, isNamed ? service : null);
  }

  #sampleOf({ number, shape: { ports } }: Agent, count: number, service: string, text: string): Uint8Array<ArrayBuffer> {
    const sample: Sample = {
      protocol: "udp",
      // Every second uses an address that others use, too.
      source: count % 2 === 0 ? AGENTS_FROM : AGENTS_FROM + number,
      destination: SERVICES.indexOf(service as typeof SERVICES[number]) + 1,
      sourcePort: ports[count % ports.length] as number,
      destinationPort: UDP_PORT,
      payload: new TextEncoder().encode(text),
    };
    return buildPacket(sample);
  }

  /** What an agent gets must be the answer to what it sent, as it sent it. */
  #receive(agent: Agent, packet: Uint8Array<ArrayBuffer>): void {
    // While nobody serves, the server says so, with the packet that it is about.
    const isError = packet[9] === PROTOCOL_ICMP;
    const text = new TextDecoder().decode(packet.subarray(isError ? 2 * HEADER_BYTES : HEADER_BYTES));
    const key = text.split(" ")[0] ?? "";
    if (!agent.sent.has(key)) return this.#wrong(`agent ${agent.number} got a packet of another one: ${text.slice(0, 40)}`);
    if (isError) return this.#checkSums(packet, `agent ${agent.number}`);
    if (agent.answered.has(key) && this.scenario.link.duplicate === 0) this.#wrong(`agent ${agent.number} got ${key} twice`);
    agent.answered.add(key);
    const { nowMs } = this.world;
    if (nowMs > agent.deniedFromMs && nowMs < agent.deniedUntilMs) this.#wrong(`agent ${agent.number} is denied and got ${key}`);
    const { shape } = agent;
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
    if (service !== null && !peer.options.services.includes(service)) this.#wrong(`a connector got a packet for ${service}`);
    const back = packet.slice();
    back.set(packet.subarray(12, 16), 16);
    back.set(packet.subarray(16, 20), 12);
    back.set(packet.subarray(20, 22), 22);
    back.set(packet.subarray(22, 24), 20);
    this.world.events.after(this.#random.next() * 50, () => peer.send(back, peer.options.version === "ztna-v2" ? service : null));
  }

  /** A connector sends what nobody asked for: it must reach nobody. */
  #sendUnasked(): void {
    const peer = this.#seats.find((seat) => seat.peer !== null)?.peer ?? null;
    if (peer === null) return;
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
    const { link, isRestless, troubles, cidRotationMs } = this.scenario;
    // A packet that is overtaken by the retirement of its connection ID is lost (RFC 9000 §5.1.2).
    const isOvertaken = (link.reorder > 0 || link.jitterMs > 0) && cidRotationMs < STORY_MS;
    const isClean = link.loss === 0 && link.corrupt === 0 && !isOvertaken;
    for (const { sent, answered, number, isTouched, shape } of this.#agents) {
      if (isTouched) continue;
      if (sent.size > 5 && answered.size === 0) this.#wrong(`agent ${number} got no answer at all`);
      if (isRestless || !isClean) continue;
      if (answered.size < sent.size) this.#wrong(`agent ${number} got ${answered.size} answers of ${sent.size}`);
      // The product's own connector has no direct path here.
      const started = this.#signals.started.get(number) ?? 0;
      const isAsked = this.#seats.every(({ peer }) => peer !== null);
      if (isAsked && started < shape.offers) this.#wrong(`agent ${number} began ${started} sessions of ${shape.offers}`);
    }
    const isFlooded = troubles.some(({ kind }) => kind === "flood") && isClean && !troubles.some(({ kind }) => kind === "jump");
    const isFloodAlone = troubles.every(({ kind }) => kind === "flood") && !isRestless;
    if (isFlooded && isFloodAlone && this.#server.metric("limit:datagrams-per-connection") === 0) {
      this.#wrong("nobody was limited");
    }
  }

  /** Everybody asks until there is an answer. */
  #probe(): void {
    const { world } = this;
    const waiting = new Set(this.#agents.filter(({ plane }) => plane.isRunning));
    const endMs = world.nowMs + RECOVERY_MS;
    for (let count = PROBES_FROM; waiting.size > 0 && world.nowMs < endMs; count++) {
      for (const agent of waiting) this.#send(agent, count);
      world.run(world.nowMs + PROBE_EVERY_MS);
      for (const agent of waiting) {
        if ([...agent.answered].some((key) => Number(key.split("/")[1]) >= PROBES_FROM)) waiting.delete(agent);
      }
    }
    for (const { number } of waiting) this.#wrong(`agent ${number} does not get through again`);
  }

  #checkPlanes(): void {
    for (const plane of [this.#server, ...this.#agents.map((agent) => agent.plane), ...this.#seats.map((seat) => seat.plane)]) {
      if (plane.state === "thrown") this.#wrong(`${plane.name} threw ${plane.failure}`);
    }
    if (!this.#server.isRunning) this.#wrong(`the server is ${this.#server.state}: ${this.#server.failure}`);
    if (this.scenario.troubles.some(({ kind }) => kind === "lose")) return;
    for (const { plane } of this.#seats) if (!plane.isRunning) this.#wrong(`${plane.name} is ${plane.state}: ${plane.failure}`);
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
