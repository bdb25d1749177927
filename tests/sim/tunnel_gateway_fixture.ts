/**
 * One gateway's story: server, connectors, agents and an intruder on their hosts, the connections of the scenario, what goes
 * wrong, and what must hold all the same. {@linkcode Gateway.run} tells what did not.
 */
import type { TlsMaterial } from "../../src/roles/control/mod.ts";
import { memoryKit } from "./memory_kit_fixture.ts";
import { MemoryEngine } from "./memory_engine_fixture.ts";
import { roleProgram, type SimPlane, type SimProgram } from "./sim_plane_fixture.ts";
import { type SimTcpEnd, SimTcpSocket, type TcpAcceptor } from "./sim_tcp_fixture.ts";
import { type SimHost, SimNat } from "./sim_udp_fixture.ts";
import { SimWorld } from "./sim_world_fixture.ts";
import {
  agentPlan,
  BACKEND_ADDRESS,
  connectorPlan,
  SERVER_NAME,
  serverPlan,
  simMaterial,
  uplinkPlan,
} from "./tunnel_plans_fixture.ts";
import { type ConnectionPlan, type Disruption, type Scenario, STORY_MS, type Whom } from "./tunnel_scenario_fixture.ts";
import { PLAIN_SCRIPT, Script } from "./tunnel_script_fixture.ts";

const FIRST_PORT = 7_000;
const PROBE_PORT = 9_000;
/** Agents dial again at most so late, and a dead connection is noticed at most so late. */
const RECOVERY_MS = 80_000;
const IDLE_MS = 70_000;
const PROBE_MS = 30_000;
const LATE_MS = 1_500;
const SETTLE_MS = 5_000;
const READY_MS = 60_000;
/** A role has ended so long after it was asked to. */
const STOP_MS = 4_000;
/** By then every connection has found its end. */
const PATIENCE_MS = 600_000;
/** What may stand in a socket's buffer beyond the pipe, and in chunks between them. */
const SLACK_BYTES = 70_000;

/** One connection: its plan, and the programs at both ends. The backend's is there once it was reached. */
interface Story {
  readonly plan: ConnectionPlan;
  readonly port: number;
  readonly client: Script;
  readonly backend: Script;
  isReached: boolean;
  /** Something happened meanwhile that may break it. */
  isDisturbed: boolean;
}

interface Seat {
  readonly whom: Whom;
  readonly host: SimHost;
  readonly program: SimProgram;
  plane: SimPlane;
}

export class Gateway {
  readonly world: SimWorld;
  readonly scenario: Scenario;
  readonly #violations: string[] = [];
  readonly #stories: Story[] = [];
  readonly #seats: Seat[] = [];
  readonly #backendHost: SimHost;
  /** When everybody was there: the scenario's times count from then. */
  #baseMs = 0;
  /** Whose connection comes to the port for probes. */
  #probed: Story | null = null;
  #disruptedUntilMs = 0;
  #intruderReached = false;

  constructor(scenario: Scenario, show?: (line: string) => void) {
    this.scenario = scenario;
    const kit = memoryKit(scenario.limits);
    this.world = new SimWorld({ seed: scenario.seed, kit, ...(show === undefined ? {} : { show }) });
    const { network, tcp } = this.world;
    network.defaults = scenario.link;
    network.coalesces = scenario.coalesces;
    tcp.options = scenario.tcp;
    this.#backendHost = this.world.host("backend", [BACKEND_ADDRESS]);
    const serverAddress = scenario.isIpv6 ? "fd00::1" : "10.0.0.1";
    this.world.names.set(SERVER_NAME, [serverAddress]);
    for (const plan of scenario.connections) {
      const story = this.#storyOf(plan, FIRST_PORT + plan.number);
      this.#stories.push(story);
      if (plan.backend !== "refuses") this.#serve(story.port, plan.backend, () => story);
    }
    this.#serve(PROBE_PORT, "accepts", () => this.#probed);
    this.#takeSeats(serverAddress);
  }

  /** Runs the whole story. Returns what was wrong, nothing when all was well. */
  run(): readonly string[] {
    const { world, scenario } = this;
    if (!world.run(READY_MS, () => this.#isReady())) this.#wrong("the gateway is not ready in time");
    this.#baseMs = world.nowMs;
    for (const story of this.#stories) this.#plan(story);
    for (const disruption of scenario.disruptions) this.#planDisruption(disruption);
    const endMs = this.#baseMs + Math.max(STORY_MS, ...scenario.disruptions.map(endOf));
    world.run(endMs);
    world.run(endMs + PATIENCE_MS, () => this.#stories.every(isOver));
    if (scenario.weather === "rough") world.run(Math.max(world.nowMs, endMs) + RECOVERY_MS);
    this.#probe();
    world.run(world.nowMs + SETTLE_MS);
    // The last words on a bad link may be lost again and again.
    world.run(world.nowMs + PATIENCE_MS, () => this.#seats.every(({ plane }) => streamsIn(plane) === 0));
    this.#checkStories();
    this.#checkQuiet();
    this.#stopAll();
    if (this.#intruderReached) this.#wrong("the intruder reached a backend");
    return this.#violations;
  }

  #takeSeats(serverAddress: string): void {
    const { scenario } = this;
    const service = (port: number, isLookedAt: boolean) => ({ id: `s${port}`, port, isLookedAt });
    const services = [
      ...scenario.connections.map(({ number, backend }) => service(FIRST_PORT + number, backend === "accepts")),
      service(PROBE_PORT, true),
    ];
    const family = (index: number, net: string) => scenario.isIpv6 ? [`fd00::${net}:${index + 1}`] : [`10.${net}.0.${index + 1}`];
    const { retries, cidRotationMs } = scenario;
    const bind = scenario.isIpv6 ? "::" : "0.0.0.0";
    const uplink = (tls: TlsMaterial) => uplinkPlan(tls, serverAddress, cidRotationMs);
    const sit = (role: Whom["role"], index: number, addresses: readonly string[], program: SimProgram) => {
      const name = `${role} ${index}`;
      const nat = scenario.hasNat && role !== "server" ? new SimNat(natOf(addresses), 20_000) : null;
      const host = this.world.host(name, addresses, nat);
      host.interfaceMtu = scenario.interfaceMtu;
      host.takesSegments = scenario.takesSegments;
      host.sendBlocks = scenario.sendBlocks;
      const plane = this.world.start(name, host, program);
      plane.process.troubles = scenario;
      this.#seats.push({ whom: { role, index }, host, program, plane });
    };
    sit(
      "server",
      0,
      [serverAddress],
      roleProgram(serverPlan(simMaterial("server", [SERVER_NAME]), { bind, retries, cidRotationMs })),
    );
    for (let i = 0; i < scenario.connectors; i++) {
      const tls = simMaterial(`connector ${i}`, i === 0 ? ["connector.*.ztna"] : services.map(({ id }) => `connector.${id}.ztna`));
      sit("connector", i, family(i, "1"), roleProgram(connectorPlan(uplink(tls), services)));
    }
    for (let i = 0; i < scenario.agents; i++) {
      const tls = simMaterial(`agent ${i}`, i === 0 ? ["agent.*.ztna"] : services.map(({ id }) => `agent.${id}.ztna`));
      sit("agent", i, family(i, "2"), roleProgram(agentPlan(uplink(tls), services)));
    }
    // Its certificate is good, but allows other things.
    const intruder: TlsMaterial = simMaterial("intruder", ["agent.other.ztna", "connector.other.ztna", "s7000"]);
    sit("agent", INTRUDER, family(INTRUDER, "2"), roleProgram(agentPlan(uplink(intruder), services)));
  }

  /** Every client is up, and every service registered by every connector. */
  #isReady(): boolean {
    const services = this.scenario.connections.length + 1;
    return this.#seats.every(({ plane, whom }) => {
      if (whom.role === "server") return true;
      return plane.metric("uplinkUp") === 1 && (whom.role === "agent" || plane.metric("registered") === services);
    });
  }

  #storyOf(plan: ConnectionPlan, port: number): Story {
    const { limits, tcp } = this.scenario;
    const lead = () => 2 * tcp.pipeBytes + 2 * limits.streamWindowBytes + SLACK_BYTES;
    const random = this.world.random.fork(`${plan.number} ${port}`);
    const names = [`client ${plan.number} ${port}`, `backend ${plan.number} ${port}`] as const;
    const client = new Script(names[0], names[1], plan.client, this.world.events, random.fork("client"), lead);
    const backend = new Script(names[1], names[0], plan.server, this.world.events, random.fork("backend"), lead);
    client.other = backend;
    backend.other = client;
    return { plan, port, client, backend, isReached: false, isDisturbed: false };
  }

  /** A backend's port is open from the beginning: connectors look whether it is. */
  #serve(port: number, kind: "accepts" | "late" | "silent", storyOf: () => Story | null): void {
    const onAccept = (end: SimTcpEnd) => {
      const story = storyOf();
      if (story === null || story.isReached) {
        this.#wrong(`port ${port} was reached by nobody's connection`);
        end.reset();
        return;
      }
      story.isReached = true;
      story.backend.begin(end);
    };
    const acceptor: TcpAcceptor = kind === "silent"
      ? { kind }
      : { kind: "script", afterMs: kind === "late" ? LATE_MS : 0, onAccept };
    this.world.tcp.serve(this.#backendHost, BACKEND_ADDRESS, port, acceptor);
  }

  /** The client comes at its time. */
  #plan(story: Story): void {
    const { plan, port } = story;
    this.world.events.at(this.#baseMs + plan.startMs, () => {
      const seat = this.#seat({ role: "agent", index: plan.agent });
      story.client.begin(this.world.tcp.connect(seat.host, "127.0.0.1", port));
      this.#knock(port);
    });
  }

  /** The intruder tries the same service at the same time. */
  #knock(port: number): void {
    const { host } = this.#seat({ role: "agent", index: INTRUDER });
    const plan = { ...PLAIN_SCRIPT, sendBytes: 10 };
    const script = new Script("intruder", "nobody", plan, this.world.events, this.world.random.fork("intruder"), () => Infinity);
    script.isOrphan = true;
    script.begin(this.world.tcp.connect(host, "127.0.0.1", port));
    this.world.events.after(20_000, () => {
      if (script.received > 0 || script.hasFin) this.#intruderReached = true;
      if (!script.isOver) this.#wrong(`the intruder was not refused on ${port}`);
    });
  }

  #planDisruption(disruption: Disruption): void {
    this.world.events.at(this.#baseMs + disruption.atMs, () => {
      this.world.trace.note(this.world.nowMs, JSON.stringify(disruption));
      this.#disrupt(disruption);
    });
  }

  #disrupt(disruption: Disruption): void {
    const { world } = this;
    const seat = this.#seat(disruption.whom);
    const { host } = seat;
    // What happens to one may be felt by all; a new address is felt by nobody.
    if (disruption.kind !== "rebind") this.#disturb(this.#baseMs + endOf(disruption));
    switch (disruption.kind) {
      case "restart":
        if (disruption.isGraceful) seat.plane.stop();
        else this.#kill(seat);
        return world.events.after(disruption.awayMs + (disruption.isGraceful ? STOP_MS : 0), this.#restart(seat));
      case "partition":
        world.network.cut(host, this.#seat({ role: "server", index: 0 }).host, true);
        return world.events.after(
          disruption.forMs,
          () => world.network.cut(host, this.#seat({ role: "server", index: 0 }).host, false),
        );
      case "freeze":
        seat.plane.frozenUntilMs = world.nowMs + disruption.forMs;
        return;
      case "jump":
        seat.plane.jump(disruption.byMs);
        return;
      case "rebind":
        host.nat?.rebind();
    }
  }

  /** All connections that are not over may break until some time after `untilMs`. */
  #disturb(untilMs: number): void {
    this.#disruptedUntilMs = Math.max(this.#disruptedUntilMs, untilMs + RECOVERY_MS);
    for (const story of this.#stories) if (!isOver(story) && story.client.startedAtMs !== Infinity) story.isDisturbed = true;
  }

  #kill(seat: Seat): void {
    this.#orphan(seat);
    seat.plane.kill();
  }

  /** Programs whose gateway process ends without asking see what the kernel makes of it. */
  #orphan({ whom }: Seat): void {
    for (const { plan, client, backend } of this.#stories) {
      if (whom.role === "agent" && plan.agent === whom.index) client.isOrphan = true;
      if (whom.role === "connector") backend.isOrphan = true;
    }
  }

  /** What comes after the process that is there now: another one in its place, if nobody put one there meanwhile. */
  #restart(seat: Seat): () => void {
    const before = seat.plane;
    return () => {
      if (seat.plane !== before) return;
      if (before.isRunning && before.frozenUntilMs <= this.world.nowMs) this.#wrong(`${before.name} did not stop within its time`);
      if (before.isRunning) this.#kill(seat);
      seat.plane = this.world.start(before.name, seat.host, seat.program);
      seat.plane.process.troubles = this.scenario;
    };
  }

  /** After everything each agent gets through to each connector's services. */
  #probe(): void {
    const { world, scenario } = this;
    const script = { ...PLAIN_SCRIPT, sendBytes: 3_000 };
    const probes = Array.from({ length: scenario.agents }, (_, agent): Story => {
      const plan: ConnectionPlan = {
        number: 100 + agent,
        agent,
        startMs: 0,
        backend: "accepts",
        client: script,
        server: script,
      };
      return this.#storyOf(plan, PROBE_PORT);
    });
    // All use one service, one after the other.
    for (const story of probes) {
      this.#probed = story;
      this.#stories.push(story);
      this.#plan(story);
      if (!world.run(world.nowMs + PROBE_MS, () => isOver(story))) this.#wrong(`${story.client.label} did not get through`);
    }
  }

  #checkStories(): void {
    for (const story of this.#stories) {
      const { client, backend, isReached, plan } = story;
      for (const script of [client, backend]) if (script.fault !== null) this.#wrong(`${script.label} ${script.fault}`);
      if (!client.isOver) this.#wrong(`${client.label} hangs: sent ${client.sent}, received ${client.received}`);
      if (isReached && !backend.isOver) this.#wrong(`${backend.label} hangs: sent ${backend.sent}, received ${backend.received}`);
      const isCalm = !story.isDisturbed && (client.startedAtMs > this.#disruptedUntilMs || this.#disruptedUntilMs === 0);
      if (isCalm) this.#checkCalm(story, plan);
    }
  }

  /** Nothing went wrong around it: what must happen is known. */
  #checkCalm({ client, backend, isReached }: Story, plan: ConnectionPlan): void {
    const what = (script: Script) =>
      `${script.label} (sent ${script.sent} of ${script.plan.sendBytes}, received ${script.received})`;
    if (plan.backend === "refuses" || plan.backend === "silent") {
      if (!client.hasReset && (client.broken === 0 || client.received > 0)) this.#wrong(`${what(client)} was not refused`);
      return;
    }
    // With few streams some are refused for want of one; then as a whole.
    const mayBeBusy = this.scenario.limits.streamsMax < this.#stories.length;
    if (mayBeBusy && !isReached && client.broken !== 0 && client.received === 0) return;
    if (!client.hasReset && !backend.hasReset) {
      if (!isReached || !client.isComplete || !backend.isComplete) {
        this.#wrong(`${what(client)} or ${what(backend)} did not complete`);
      }
      return;
    }
    for (const [one, other] of [[client, backend], [backend, client]] as const) {
      if (!one.hasReset || other.hasReset || (other === backend && !isReached)) continue;
      // Who was through before the reset came does not see it.
      if (other.broken === 0 && !other.isComplete) this.#wrong(`${what(other)} did not see the reset of ${what(one)}`);
      if (other.isComplete && !one.hasSentFin) this.#wrong(`${what(other)} took a reset for an end`);
    }
  }

  /** Nothing is open: what is still kept is a leak. */
  #checkQuiet(): void {
    const { world } = this;
    const clients = this.#seats.length - 1;
    // A connection that was given up, whose end was lost on the way, is idle for a while first.
    world.run(world.nowMs + IDLE_MS, () => this.#liveAtServer() === clients);
    if (this.#liveAtServer() !== clients) this.#wrong(`the server has ${this.#liveAtServer()} connections of ${clients} clients`);
    for (const { plane } of this.#seats) plane.command({ type: "status", id: 1, peersMax: 100, flowsMax: 100 });
    world.run(world.nowMs + 100);
    for (const { plane, whom } of this.#seats) {
      if (plane.state === "thrown") this.#wrong(`${plane.name} threw ${plane.failure}`);
      if (!plane.isRunning) {
        this.#wrong(`${plane.name} is ${plane.state}: ${plane.failure}`);
        continue;
      }
      const gauges = { server: "activeStreams", connector: "activeStreams", agent: "activeConnections" } as const;
      const active = plane.metric(gauges[whom.role]);
      if (active !== 0) this.#wrong(`${plane.name} has ${active} active`);
      const streams = plane.status?.flows.filter(({ protocol }) => protocol === "stream").length;
      if (streams !== 0) this.#wrong(`${plane.name} tells of ${streams} streams`);
      for (const peer of plane.status?.peers ?? []) {
        if (peer.streams !== 0) this.#wrong(`${plane.name} keeps streams of ${peer.name}`);
      }
      const open = [...plane.process.files.values()].filter((file) => file instanceof SimTcpSocket && file.end?.isOpen === true);
      if (open.length > 0) this.#wrong(`${plane.name} has ${open.length} sockets connected`);
      this.#checkEngine(plane);
    }
  }

  /** Connections that the server keeps; those that were closed and drain do not count. */
  #liveAtServer(): number {
    const { engine } = this.#seat({ role: "server", index: 0 }).plane;
    return engine instanceof MemoryEngine ? [...engine.connections].filter((one) => !one.isDraining()).length : 0;
  }

  #checkEngine({ name, engine }: SimPlane): void {
    if (!(engine instanceof MemoryEngine)) return;
    for (const { streams } of engine.connections) {
      if (streams.size > 0) this.#wrong(`${name} keeps ${streams.size} streams in its engine`);
      if (streams.bufferedBytes > 0) this.#wrong(`${name} keeps ${streams.bufferedBytes} bytes in its engine`);
    }
  }

  #stopAll(): void {
    for (const { plane } of [...this.#seats].reverse()) {
      if (!plane.isRunning) continue;
      plane.stop();
      this.world.run(this.world.nowMs + 1_000, () => !plane.isRunning);
      if (plane.state !== "stopped") this.#wrong(`${plane.name} does not stop: ${plane.state} ${plane.failure ?? ""}`);
    }
  }

  #seat({ role, index }: Whom): Seat {
    const seat = this.#seats.find(({ whom }) => whom.role === role && whom.index === index);
    if (seat === undefined) throw new Error(`there is no ${role} ${index}`);
    return seat;
  }

  #wrong(what: string): void {
    this.world.trace.note(this.world.nowMs, `WRONG: ${what}`);
    this.#violations.push(what);
  }
}

/** The intruder's number among the agents. */
const INTRUDER = 9;

function isOver({ client, backend, isReached }: Story): boolean {
  return client.isOver && (!isReached || backend.isOver);
}

function endOf(disruption: Disruption): number {
  switch (disruption.kind) {
    case "restart":
      return disruption.atMs + disruption.awayMs + STOP_MS;
    case "partition":
    case "freeze":
      return disruption.atMs + disruption.forMs;
    default:
      return disruption.atMs;
  }
}

/** The outside of a client's translator. */
function natOf(addresses: readonly string[]): string {
  const [address = ""] = addresses;
  return address.includes(":") ? address.replace("fd00::", "fd01::") : address.replace("10.", "172.");
}

/** Streams that a plane's engine keeps. */
function streamsIn({ engine, isRunning }: SimPlane): number {
  if (!isRunning || !(engine instanceof MemoryEngine)) return 0;
  return [...engine.connections].reduce((sum, { streams }) => sum + streams.size, 0);
}
