/**
 * The connector's data plane, put together: connections to the server (`server_links`), on which its services are registered and
 * which bring streams, each joined to a backend that the configuration names (`backend_streams`), and packets, which end here
 * (`datagram_end`).
 */
import type { MetricCells, StatusExtent } from "../../base/mod.ts";
import { counterPublisher } from "../../core/netstack/mod.ts";
import { CloseCode } from "../../core/wire/mod.ts";
import { type ConnectorPlan, GracefulEnd, type Plane, type PlaneCommand, type RolePlan, type RolePlane } from "../control/mod.ts";
import {
  type DatagramNotes,
  DRAIN_MS,
  publishIgnored,
  QueueWarning,
  REGISTRATION_FRAME_BYTES,
  UplinkHub,
  type UplinkTrouble,
} from "../uplink/mod.ts";
import { ADDRESS_SLOT_BYTES } from "./backend_stream.ts";
import { BackendStreams } from "./backend_streams.ts";
import { BackendWatch } from "./backend_watch.ts";
import { DatagramEnd } from "./datagram_end.ts";
import type { CONNECTOR_METRICS, ConnectorMetric } from "./metrics.ts";
import { P2p } from "./p2p.ts";
import { ServerLinks } from "./server_links.ts";
import { ServiceDrains } from "./service_drains.ts";
import { ServiceTable } from "./services.ts";
import { backendStatus, flowReports, limitReports } from "./status.ts";

type Counters = MetricCells<typeof CONNECTOR_METRICS>;
type Count = (metric: ConnectorMetric, amount: number) => void;

export class ConnectorPlane implements RolePlane {
  readonly #plane: Plane;
  readonly #counters: Counters;
  /** At the end of its first turn. */
  #beganMs: number | null = null;
  readonly #services: ServiceTable;
  readonly #hub: UplinkHub;
  readonly #links: ServerLinks;
  readonly #p2p: P2p;
  readonly #streams: BackendStreams;
  readonly #datagrams: DatagramEnd;
  #publishStack: (() => void) | null = null;
  readonly #watch: BackendWatch;
  readonly #drains: ServiceDrains;
  readonly #end: GracefulEnd;

  constructor(plane: Plane, plan: ConnectorPlan, counters: Counters) {
    this.#plane = plane;
    this.#counters = counters;
    const { layout, reactor } = plane.platform;
    const services = new ServiceTable(plan);
    this.#services = services;
    const addressSlot = layout.reserve(ADDRESS_SLOT_BYTES);
    const count: Count = (metric, amount) => this.#add(metric, amount);
    this.#p2p = new P2p(plane, plan, count, () => this.#streams);
    const { listening } = this.#p2p;
    this.#hub = new UplinkHub(plane, plan.uplink, listening);
    this.#hub.notes = this.#datagramNotes(plan, count);
    this.#end = new GracefulEnd(plane, () => this.#isIdle(), () => this.#finish());
    this.#streams = new BackendStreams({
      plane,
      allowLegacyServiceIds: plan.uplink.allowLegacyServiceIds,
      addressSlot,
      serviceOf: (id) => services.byId(id),
      count,
      onSize: (size) => this.#set("activeStreams", size),
      openSignalling: (connection, stream, first) => this.#p2p.signals.open(connection, stream, first),
    });
    // Behind the hub: the packets that its turn brought are answered in the same turn.
    const { packetTimes: times = null } = plan;
    this.#datagrams = new DatagramEnd({ plane, services, addressSlot, times, count, hub: this.#hub });
    this.#links = new ServerLinks({
      plane,
      plan: plan.uplink,
      hub: this.#hub,
      frameAt: layout.reserve(REGISTRATION_FRAME_BYTES),
      services,
      streams: this.#streams,
      datagrams: this.#datagrams,
      count,
      onChanged: () => {
        this.#set("uplinkUp", this.#links.isUp ? 1 : 0);
        this.#set("registered", this.#links.registeredCount);
      },
      onAddress: (address) => this.#p2p.signals.setAddress(address),
      onFinalTrouble: (trouble) => this.#fail(trouble),
      onDenied: (service) => plan.exitsOnDenied === true && this.#endDenied(service),
    });
    this.#drains = new ServiceDrains({ plane, services, streams: this.#streams, datagrams: this.#datagrams });
    this.#watch = new BackendWatch({
      plane,
      dial: this.#streams.context,
      services,
      onAvailability: (nowMs) => this.#links.balance(nowMs),
    });
    this.#p2p.begin({
      hub: this.#hub,
      services,
      streams: this.#streams,
      datagrams: this.#datagrams,
      serverConnectionOf: (service) => this.#links.connectionOf(service),
    }, (connections) => this.#set("p2pConnections", connections));
    reactor.onTurnEnd((nowMs) => this.#publish(nowMs));
    const bound = listening === null ? [] : [...this.#hub.sockets].slice(0, listening.binds.length);
    plane.platform.post({
      type: "ready",
      addresses: bound.map((socket) => ({ name: "p2p", transport: "udp", ...socket.bound })),
    });
    this.#watch.update(reactor.nowMs);
    this.#links.start(reactor.nowMs);
  }

  #datagramNotes({ uplink }: ConnectorPlan, count: Count): DatagramNotes {
    const { reactor } = this.#plane.platform;
    const warning = new QueueWarning((...record) => this.#plane.log("warn", ...record));
    return {
      left: () => {},
      tooLarge: () => count("droppedTooLarge", 1),
      gone: (amount) => count("droppedPeerGone", amount),
      lost: (amount) => {
        count("droppedQueue", amount);
        warning.lost("send", "queue-full", amount, uplink.packetQueueMax, reactor.nowMs);
      },
      overflowed: (amount) => {
        count("droppedReceive", amount);
        warning.lost("receive", "receive-queue", amount, uplink.packetQueueMax, reactor.nowMs);
      },
    };
  }

  stop(nowMs: number): void {
    const sessions = this.#datagrams.sessionCount;
    this.#plane.log("info", "stopping", "Finishing open streams and sessions", { streams: this.#streams.size, sessions });
    this.#watch.stop();
    this.#p2p.stop();
    this.#end.begin(nowMs, DRAIN_MS);
  }

  onCommand(command: PlaneCommand, nowMs: number): void {
    if (command.type === "resolved" && command.addresses.length > 0) {
      this.#hub.setAddressesOf(command.host, command.addresses);
      this.#services.resolved(command.host, command.addresses);
    }
    if (command.type === "reload") this.#plane.answer(command.id, 0, this.#reload(command.plan, nowMs));
    if (command.type === "status") this.#postStatus(command.id, command, nowMs);
    if (command.type === "deny") this.#plane.answer(command.id, this.#p2p.deny(command.entry), null);
    if (command.type === "disconnect") this.#plane.answer(command.id, this.#p2p.disconnect(command.peer) ? 1 : 0, null);
  }

  /** Goes over to what may change of the plan, all of it or nothing. Returns why not. */
  #reload(plan: RolePlan, nowMs: number): string | null {
    if (plan.role !== "connector") return "the plan is for another role";
    const profile = this.#p2p.prepare(plan);
    if (typeof profile === "string") return profile;
    const problem = this.#hub.reload(plan.uplink);
    if (problem !== null) {
      profile?.free();
      return problem;
    }
    if (profile !== null) this.#p2p.replace(profile, plan);
    if (this.#plane.isStopping) return null;
    const { added, changed, removed } = this.#services.replace(plan);
    for (const [services, message] of [[added, "added"], [changed, "changed"], [removed, "removed"]] as const) {
      for (const { id } of services) this.#plane.log("info", "service-changed", `A service was ${message}`, { service: id });
    }
    this.#watch.update(nowMs);
    this.#links.balance(nowMs);
    this.#drains.begin(removed, nowMs);
    return null;
  }

  #postStatus(id: number, { peersMax, flowsMax }: StatusExtent, nowMs: number): void {
    this.#plane.platform.post({
      type: "status",
      id,
      status: {
        peers: this.#p2p.status(peersMax, nowMs),
        peersTotal: this.#p2p.peers,
        services: this.#services.all.map((service) => ({
          id: service.id,
          state: this.#links.stateOf(service),
          agents: 0,
          connectors: 0,
        })),
        ...this.#hub.report(),
        ...this.#links.reports(nowMs),
        flows: flowReports(this.#streams.all(), this.#datagrams, nowMs, flowsMax),
        flowsTotal: this.#streams.size + this.#datagrams.sessionCount + this.#datagrams.flowCount,
        limits: limitReports(this.#streams.size, this.#datagrams),
        backends: backendStatus(this.#services),
      },
    });
  }

  #fail({ message, hint, code }: UplinkTrouble): void {
    this.#plane.platform.post({ type: "failed", message, hint, code, exitCode: 1 });
    this.#plane.finish();
  }

  /** As the configuration wants it, a connector that may not serve something does not stay. */
  #endDenied(service: string): void {
    if (this.#plane.isStopping) return;
    this.#plane.platform.post({
      type: "failed",
      message: `the server refused the registration of ${service}`,
      hint: `the certificate or token must name connector.${service}.ztna; without --exit-on-denied it is tried again`,
      code: "registration-denied",
      exitCode: 1,
    });
    this.#finish();
  }

  /** Nothing runs any more, and what was said has arrived. */
  #isIdle(): boolean {
    return this.#streams.size === 0 && this.#datagrams.sessionCount === 0 && !this.#hub.endpoint.isDelivering;
  }

  #finish(): void {
    const { nowMs } = this.#plane.platform.reactor;
    this.#streams.abortAll();
    this.#datagrams.abortAll(nowMs);
    this.#links.stop("connector shutting down");
    this.#hub.endpoint.closeAll(CloseCode.shuttingDown, "connector shutting down");
    this.#plane.finish();
  }

  /** Gives the sockets back. Only for those who do not end the process. */
  dispose(): void {
    this.#watch.stop();
    this.#hub.dispose();
  }

  #publish(nowMs: number): void {
    this.#beganMs ??= nowMs;
    const { stack } = this.#datagrams;
    const { cells, index } = this.#counters;
    this.#p2p.publish();
    publishIgnored(this.#hub.endpoint.counters, this.#counters);
    this.#publishStack ??= counterPublisher(stack.counters, this.#counters);
    this.#publishStack();
    cells[index.forwardedPackets] = stack.counters.packetsReceived + stack.counters.packetsSent;
    cells[index.packetSessions] = stack.sessionCount;
    cells[index.packetFlows] = stack.flowCount;
    cells[index.bufferedBytes] = stack.bufferedBytes;
    cells[index.rotations] = this.#hub.endpoint.localIds.rotations;
    cells[index.uptimeSeconds] = Math.floor((nowMs - this.#beganMs) / 1000);
  }

  #add(key: ConnectorMetric, amount: number): void {
    const { cells, index } = this.#counters;
    const at = index[key];
    cells[at] = (cells[at] ?? 0) + amount;
  }

  #set(key: ConnectorMetric, value: number): void {
    this.#counters.cells[this.#counters.index[key]] = value;
  }
}
