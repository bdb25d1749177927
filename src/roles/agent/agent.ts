/**
 * The agent's data plane, put together: local ports, each leading to one service, and one uplink, on which every local TCP connection
 * becomes a stream, or a session in packets, (`local_connections`) and local UDP becomes packets (`udp_forward`, `packet_end`).
 */
import type { MetricCells } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { classifyFrame, FrameKind } from "../../core/wire/mod.ts";
import { type IpEndpoint, TcpListener } from "../../io/mod.ts";
import {
  type AgentPlan,
  type BoundAddress,
  type ConnectPlan,
  type ForwardPlan,
  GracefulEnd,
  type Plane,
  type PlaneCommand,
  type PlaneStatus,
  type ProxyPlan,
  type RolePlane,
} from "../control/mod.ts";
import {
  type DatagramNotes,
  DRAIN_MS,
  publishIgnored,
  QueueWarning,
  Uplink,
  UplinkHub,
  type UplinkRole,
  type UplinkTrouble,
} from "../uplink/mod.ts";
import { Direct } from "./direct.ts";
import {
  CONNECTIONS_MAX,
  ONLY_UPLINK_WAIT_MS,
  SERVICES_MAX,
  UDP_FLOWS_MAX,
  UPLINK_WAIT_MS,
  WAITING_PACKETS_MAX,
} from "./limits.ts";
import { ForwardClient } from "./local_client.ts";
import type { DatagramContext } from "./local_datagrams.ts";
import { LocalConnections } from "./local_connections.ts";
import type { AGENT_METRICS, AgentMetric } from "./metrics.ts";
import { OnlyClient } from "./only_client.ts";
import { PacketEnd } from "./packet_end.ts";
import { Proxy } from "./proxy.ts";
import { serviceOfHost, type TargetRules } from "./proxy_target.ts";
import { AGENT_ADDRESS, AgentServices, STACK_ADDRESS } from "./services.ts";
import { localFlows, serviceReport } from "./status.ts";
import { Tun } from "./tun.ts";
import { UdpForward } from "./udp_forward.ts";

type Counters = MetricCells<typeof AGENT_METRICS>;

/** A local port, whatever it leads to. */
interface LocalPort {
  readonly name: string;
  readonly transport: "tcp" | "udp";
  readonly listener: { readonly bound: IpEndpoint; close(): void };
}

export class AgentPlane implements RolePlane, UplinkRole {
  readonly #plane: Plane;
  readonly #counters: Counters;
  readonly #hub: UplinkHub;
  readonly #uplink: Uplink;
  readonly #services: AgentServices;
  readonly #connections: LocalConnections;
  readonly #packets: PacketEnd;
  readonly #datagrams: DatagramContext;
  readonly #ports: readonly LocalPort[];
  readonly #tun: Tun | null;
  readonly #direct: Direct | null;
  readonly #end: GracefulEnd;

  constructor(plane: Plane, plan: AgentPlan, counters: Counters) {
    this.#plane = plane;
    this.#counters = counters;
    const { reactor } = plane.platform;
    const count = this.#counting(plan.uplink.packetQueueMax);
    const hub: UplinkHub = new UplinkHub(
      plane,
      plan.uplink,
      null,
      (...packet) => this.#direct !== null && this.#direct.takesPacket(...packet),
    );
    hub.notes = notesOf(count);
    this.#hub = hub;
    this.#uplink = new Uplink(plane, plan.uplink, this, { hub });
    reactor.onTurnEnd(() => publishIgnored(hub.endpoint.counters, this.#counters));
    this.#end = new GracefulEnd(plane, () => this.#connections.size === 0 && !this.#uplink.isDelivering, () => this.#finish());
    this.#services = new AgentServices(plan.addresses, plan.tun === undefined ? AGENT_ADDRESS : STACK_ADDRESS);
    // Behind the uplink: the packets that its turn brought are answered in the same turn.
    this.#packets = new PacketEnd({
      plane,
      services: this.#services,
      count,
      hub,
      onAnswered: (isAcknowledged, nowMs) => {
        this.#uplink.answered(nowMs);
        if (isAcknowledged) {
          this.#uplink.succeeded();
          this.#direct?.askAgain(nowMs);
        }
        this.#connections.onRegistration();
      },
    });
    const onSize = (size: number) => this.#set("activeConnections", size);
    const uplinkWaitMs = plan.connect === undefined ? UPLINK_WAIT_MS : ONLY_UPLINK_WAIT_MS;
    this.#connections = new LocalConnections({ plane, uplink: this.#uplink, packets: this.#packets, uplinkWaitMs, count, onSize });
    this.#direct = plan.direct === undefined || plan.connect !== undefined ? null : new Direct({
      plane,
      plan,
      direct: plan.direct,
      hub: () => hub,
      connections: this.#connections,
      packets: this.#packets,
      count,
      wayOf: (service) => this.#packets.wayOf(service),
      source: plan.tun === undefined ? AGENT_ADDRESS : STACK_ADDRESS,
      isRegistered: (service, nowMs) =>
        this.#packets.request(service, nowMs) && this.#packets.registrationOf(service)?.state === "registered",
    });
    this.#connections.direct = this.#direct;
    this.#packets.direct.ways = this.#direct;
    this.#packets.own = this.#direct?.detours ?? null;
    this.#datagrams = { plane, packets: this.#packets, count, onFlows: (change) => this.#onFlows(change) };
    this.#ports = [
      ...plan.forwards.map((forward) => this.#listen(forward)),
      ...(plan.proxies ?? []).flatMap((proxy) => this.#listenAsProxy(proxy, plan)),
    ];
    const inPackets = plan.tun === undefined ? [] : plan.addresses ?? [];
    for (const { service } of [...plan.forwards, ...inPackets]) this.#packets.register(service, reactor.nowMs);
    this.#tun = plan.tun === undefined
      ? null
      : new Tun({ plane, plan: plan.tun, services: this.#services, packets: this.#packets, count });
    const ports = this.#ports.map(({ name, transport, listener }): BoundAddress => ({ name, transport, ...listener.bound }));
    const addresses = this.#tun === null ? ports : [...ports, this.#tun.bound];
    plane.platform.post({ type: "ready", addresses });
    this.#uplink.start(reactor.nowMs);
    if (plan.connect !== undefined) this.#connect(plan.connect, this.#targetRules(plan));
  }

  stop(nowMs: number): void {
    this.#plane.log("info", "stopping", "Finishing open connections", { connections: this.#connections.size });
    for (const { listener } of this.#ports) listener.close();
    this.#connections.abortWaiting();
    this.#end.begin(nowMs, DRAIN_MS);
  }

  onCommand(command: PlaneCommand, nowMs: number): void {
    if (command.type === "resolved") this.#uplink.setAddressesOf(command.host, command.addresses);
    if (command.type === "reload") {
      this.#uplink.onReload(command.id, command.plan);
      if (command.plan.role === "agent") this.#direct?.onReload(command.plan.uplink.tls.trustPem, nowMs);
    }
    if (command.type === "disconnect") this.#plane.answer(command.id, 0, null);
    if (command.type === "status") {
      this.#plane.platform.post({ type: "status", id: command.id, status: this.#status(command.flowsMax, nowMs) });
    }
  }

  onProving(connection: Connection, nowMs: number): void {
    // The server's first word shows that it accepted our certificate: an answer to this, or its address report (WIRE 3.6).
    this.#packets.begin(connection, nowMs);
  }

  onUp(connection: Connection, nowMs: number): void {
    this.#set("uplinkUp", 1);
    this.#direct?.onUp(connection);
    this.#connections.onUp(connection, nowMs);
  }

  onDown(connection: Connection, nowMs: number): void {
    this.#set("uplinkUp", 0);
    this.#add("reconnections", 1);
    this.#direct?.onDown(nowMs);
    this.#packets.end();
    this.#connections.onDown(connection, nowMs);
  }

  onDatagram(_connection: Connection, offset: number, length: number, nowMs: number): void {
    switch (classifyFrame(this.#plane.platform.engine.arena.bytes, offset, length)) {
      case FrameKind.qad4:
      case FrameKind.qad6:
        this.#uplink.answered(nowMs);
        this.#direct?.onAddress(offset, length, nowMs);
        return this.#uplink.succeeded();
      case FrameKind.ack:
      case FrameKind.nack:
        return this.#packets.onReply(offset, length, nowMs);
      case FrameKind.routed:
        return this.#takePacket(true, offset, length, nowMs);
      case FrameKind.ipv4:
        return this.#takePacket(false, offset, length, nowMs);
      default:
        this.#add("droppedUnserved", 1);
    }
  }

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    if (this.#direct !== null) this.#direct.onReadable(connection, stream, nowMs);
    else this.#connections.onReadable(connection, stream);
  }

  onWritable(connection: Connection, stream: number): void {
    if (this.#direct !== null) this.#direct.onWritable(connection, stream);
    else this.#connections.onWritable(connection, stream);
  }

  onFinalTrouble(trouble: UplinkTrouble): void {
    const { message, hint, code } = trouble;
    this.#plane.platform.post({ type: "failed", message, hint, code, exitCode: 1 });
    this.#plane.finish();
  }

  #takePacket(isRouted: boolean, offset: number, length: number, nowMs: number): void {
    if (!this.#packets.onDatagram(isRouted, offset, length, nowMs)) this.#add("droppedUnserved", 1);
  }

  #listen(forward: ForwardPlan): LocalPort {
    const { reactor, layout } = this.#plane.platform;
    const { service, listen } = forward;
    const name = `forward ${service}`;
    if (forward.protocol === "udp") return { name, transport: "udp", listener: new UdpForward(this.#datagrams, forward) };
    return { name, transport: "tcp", listener: new TcpListener(reactor, layout, listen, (fd) => this.#accept(forward, fd)) };
  }

  #targetRules({ addresses = [], uplink }: AgentPlan): TargetRules {
    return { addresses, allowLegacyServiceIds: uplink.allowLegacyServiceIds };
  }

  #listenAsProxy(proxy: ProxyPlan, plan: AgentPlan): LocalPort[] {
    const rules = this.#targetRules(plan);
    const listener = new Proxy({ datagrams: this.#datagrams, connections: this.#connections, rules }, proxy);
    const datagrams = { bound: listener.boundUdp, close: () => {} };
    return [{ name: "proxy", transport: "tcp", listener }, { name: "proxy", transport: "udp", listener: datagrams }];
  }

  #accept({ service, listen, servicePort }: ForwardPlan, fd: number): void {
    const { reactor } = this.#plane.platform;
    if (this.#connections.isFull) {
      this.#add("tooMany", 1);
      reactor.libc.setLingerZero(fd);
      reactor.libc.close(fd);
      return;
    }
    this.#add("connections", 1);
    const client = new ForwardClient(reactor, fd);
    client.follow(this.#connections.begin(service, servicePort ?? listen.port, client, reactor.nowMs));
  }

  /** The one connection for which the agent was started: the agent ends with it. */
  #connect({ host, port, fd }: ConnectPlan, rules: TargetRules): void {
    const { reactor } = this.#plane.platform;
    const service = serviceOfHost(host, rules);
    if (service === null) {
      const hint = "write the service's name, or NAME.ztna; names with dots need .ztna behind them";
      return this.#fail(`${JSON.stringify(host)} names no service`, hint, "service", 2);
    }
    const client = new OnlyClient(reactor, fd, (why) => {
      if (why === "closed") return this.stop(reactor.nowMs);
      if (this.#plane.isStopping) return;
      const { lastError } = this.#uplink.report(reactor.nowMs);
      const detail = why === "no-uplink" && lastError !== "" ? lastError : why;
      this.#fail(`no connection to ${service}: ${detail}`, "`postern agent --log-level debug` tells more", why, 1);
    });
    client.follow(this.#connections.begin(service, port, client, reactor.nowMs));
  }

  #fail(message: string, hint: string, code: string, exitCode: 1 | 2): void {
    this.#plane.platform.post({ type: "failed", message, hint, code, exitCode });
    this.#uplink.stop("agent shutting down");
    this.#plane.finish();
  }

  #onFlows(change: 1 | -1): void {
    if (change === 1) this.#add("udpFlows", 1);
    this.#add("activeUdpFlows", change);
  }

  #status(flowsMax: number, nowMs: number): PlaneStatus {
    const known = [...this.#services.all()].map((service) => ({
      ...serviceReport({
        id: service.id,
        registration: this.#packets.registrationOf(service.id),
        answer: this.#connections.answerOf(service.id),
      }),
      ...(this.#direct === null ? {} : { route: this.#direct.describe(service.id) }),
      isKept: this.#services.isKept(service),
    }));
    // What a program asked for in vain is no trouble of the agent's.
    const services = known.filter(({ isKept, state }) => isKept || state !== "denied").map(({ isKept: _, ...service }) => service);
    return {
      peers: [],
      peersTotal: 0,
      services,
      ...this.#hub.report(),
      uplink: this.#uplink.report(nowMs),
      flows: localFlows(this.#connections.all(), nowMs, flowsMax),
      flowsTotal: this.#connections.size,
      limits: [
        { name: "local-connections", used: this.#connections.size, max: CONNECTIONS_MAX },
        { name: "udp-flows", used: this.#packets.stack.flowCount, max: UDP_FLOWS_MAX },
        { name: "services", used: this.#services.size, max: SERVICES_MAX },
      ],
    };
  }

  /** Gives the sockets back. Only for those who do not end the process. */
  dispose(): void {
    for (const { listener } of this.#ports) listener.close();
    this.#connections.abortAll();
    this.#uplink.dispose();
  }

  #finish(): void {
    this.#connections.abortAll();
    this.#tun?.close();
    this.#direct?.stop();
    this.#uplink.stop("agent shutting down");
    this.#plane.finish();
  }

  /** Counts, and tells of losses for want of room. */
  #counting(packetQueueMax: number): (metric: AgentMetric, amount: number) => void {
    const { reactor } = this.#plane.platform;
    const warning = new QueueWarning((...record) => this.#plane.log("warn", ...record));
    return (metric, amount) => {
      this.#add(metric, amount);
      if (metric === "droppedQueue") warning.lost("send", "queue", amount, packetQueueMax, reactor.nowMs);
      if (metric === "droppedReceive") warning.lost("receive", "receive-queue", amount, packetQueueMax, reactor.nowMs);
      if (metric === "droppedWaiting") warning.lost("registration", "waiting", amount, WAITING_PACKETS_MAX, reactor.nowMs);
    };
  }

  #add(key: AgentMetric, amount: number): void {
    const { cells, index } = this.#counters;
    const at = index[key];
    cells[at] = (cells[at] ?? 0) + amount;
  }

  #set(key: AgentMetric, value: number): void {
    this.#counters.cells[this.#counters.index[key]] = value;
  }
}

function notesOf(count: (metric: AgentMetric, amount: number) => void): DatagramNotes {
  return {
    left: () => count("packetsSent", 1),
    tooLarge: () => count("droppedTooLarge", 1),
    lost: (amount) => count("droppedQueue", amount),
    gone: (amount) => count("droppedNoUplink", amount),
    overflowed: (amount) => count("droppedReceive", amount),
  };
}
