/**
 * The server's data plane on one page: the functions stand in the order in which a packet meets them.
 *
 *   receive ─► endpoint (whose connection?) ─► onDatagram / onReadable ─► who is it, may it? ─► where to? ─► forward
 *
 * Everything is synchronous and runs in the worker's loop. Deny is the default of every step.
 */
import { type MetricCells, sanitizeForLog, Timer } from "../../base/mod.ts";
import { type Connection, type Ending, type Endpoint, type EndpointHandler, EngineError } from "../../core/quic/mod.ts";
import type { LimitName } from "../../core/ratelimit/mod.ts";
import { FlowDrop, type FlowDropName, type FlowTable, type Registry } from "../../core/registry/mod.ts";
import { classifyFrame, CloseCode, encodeRoutedHeader, FrameKind, ROUTED_ID_AT, routedIdLength } from "../../core/wire/mod.ts";
import type { UdpSocket } from "../../io/mod.ts";
import {
  type Departures,
  GracefulEnd,
  originOf,
  type Plane,
  type PlaneCommand,
  type RolePlan,
  type RolePlane,
  type ServerPlan,
  type WorkerGroup,
} from "../control/mod.ts";
import { Gauges } from "./gauges.ts";
import * as limits from "./limits.ts";
import { SERVER_METRICS, type ServerMetric } from "./metrics.ts";
import { createParts, type ServerParts } from "./parts.ts";
import type { Peer } from "./peer.ts";
import { flowLimits, registryLimits, signalLimits } from "./rules.ts";
import { serverStatus } from "./status.ts";
import { bindSockets } from "./transport.ts";

/** By the number of a drop less one: its counter, and the limit that an operator sets if one is the reason. */
const FLOW_DROPS = Object.keys(FlowDrop) as FlowDropName[];
const FLOW_METRICS = FLOW_DROPS.map((name): ServerMetric => `flow:${name}`);
const FLOW_LIMITS_AT = FLOW_DROPS.map((name): LimitName | null =>
  name === "agentFull"
    ? "flows-per-connection"
    : name === "identityFull"
    ? "flows-per-identity"
    : name === "anonymousFull"
    ? "flows-per-anonymous"
    : null
);

type Counters = MetricCells<typeof SERVER_METRICS>;

export class ServerPlane implements EndpointHandler, RolePlane {
  readonly #plane: Plane;
  readonly #counters: Counters;
  readonly #peers = new Map<number, Peer>();
  readonly #parts: ServerParts;
  /** Those of the parts that every packet meets. */
  readonly #endpoint: Endpoint;
  readonly #departures: Departures;
  readonly #registry: Registry;
  readonly #flows: FlowTable;
  readonly #sockets: UdpSocket[];
  readonly #gauges: Gauges;
  readonly #sweep = new Timer((nowMs) => this.#sweepFlows(nowMs));
  readonly #end: GracefulEnd;
  /** The registry's epoch of which the control plane knows who is served. */
  #toldEpoch = 0;

  /** Throws a PosternError when it cannot bind, or the TLS material does not fit. */
  constructor(plane: Plane, plan: ServerPlan, counters: Counters, group: WorkerGroup | null = null) {
    this.#plane = plane;
    this.#counters = counters;
    const parts = createParts(plane, plan, this, {
      peers: this.#peers,
      count: (metric, amount = 1) => this.#add(metric, amount),
      admit: (peer, nowMs) => this.#admit(peer, nowMs),
      onOverLimit: (peer, limit) => this.#noteOverLimit(peer, limit),
      endpoint: {
        socketOf: (path) => this.#sockets.findIndex((socket) => socket === path),
        handle: (socket, offset, length, from) => {
          const path = this.#sockets[socket];
          if (path !== undefined) this.#endpoint.handlePacket(path, offset, length, from);
        },
      },
    }, group);
    this.#parts = parts;
    const { endpoint, streams, signals, flows, admission, remote } = parts;
    this.#endpoint = endpoint;
    this.#departures = parts.departures;
    this.#registry = parts.registry;
    this.#flows = flows;
    const { reactor, post } = plane.platform;
    const isDelivering = () => endpoint.isDelivering || remote?.isDelivering === true;
    this.#end = new GracefulEnd(plane, () => streams.active === 0 && !isDelivering(), () => this.#finish());
    this.#sockets = bindSockets(
      plane,
      plan,
      (from, offset, length, peer) => endpoint.handlePacket(from, offset, length, peer),
      () => endpoint.pathWritable(),
      group === null ? null : { kind: "first" },
    );
    this.#gauges = new Gauges(counters, {
      endpoint,
      flows,
      departures: parts.departures,
      limiter: admission.limiter,
      sockets: this.#sockets,
      remote,
      streams: () => streams.active,
      signals,
    }, reactor.nowMs);
    reactor.onTurnEnd((nowMs) => this.#endTurn(nowMs));
    reactor.setTimer(this.#sweep, reactor.nowMs + limits.FLOW_SWEEP_INTERVAL_MS);
    endpoint.accept(parts.rules.profile);
    post({
      type: "ready",
      addresses: this.#sockets.map((socket) => ({ name: "quic", transport: "udp", ...socket.bound })),
    });
  }

  // 1. A batch arrives. 2. Whose connection? See io/udp_socket.ts and core/quic/endpoint.ts.

  // 4. Who is it?

  onEstablished(connection: Connection, nowMs: number): void {
    const peer = this.#parts.identification.identify(connection);
    if (peer === null) return;
    this.#peers.set(connection.id, peer);
    if (peer.isAdmitted) this.#admit(peer, nowMs);
    else this.#parts.proofs.expect(peer, nowMs);
  }

  #admit(peer: Peer, nowMs: number): void {
    if (this.#parts.watch.begin(peer, nowMs)) this.#parts.registrar.reportAddress(peer);
  }

  onMigrated(connection: Connection): void {
    const peer = this.#peers.get(connection.id);
    if (peer !== undefined && peer.isAdmitted) this.#parts.registrar.reportAddress(peer);
  }

  // 3. Which frame?

  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void {
    const peer = this.#peers.get(connection.id);
    if (peer === undefined) return;
    const limit = peer.limiter.allowDatagram(length, nowMs);
    if (limit !== null) return this.#dropOverLimit(peer, limit);
    const { bytes } = this.#plane.platform.engine.arena;
    const kind = classifyFrame(bytes, offset, length);
    if (!peer.isAdmitted && kind !== FrameKind.registerAgent && kind !== FrameKind.registerConnector) {
      return this.#add("droppedUnauthorised", 1);
    }
    switch (kind) {
      case FrameKind.ipv4:
      case FrameKind.ipv6:
        return this.#relayRaw(peer, offset, length, nowMs);
      case FrameKind.routed:
        return this.#relayRouted(peer, bytes, offset, length, nowMs);
      case FrameKind.registerAgent:
      case FrameKind.registerConnector:
        return this.#parts.registrar.register(peer, offset, length, nowMs);
      case FrameKind.withdraw:
        if (peer.isV2) return this.#parts.registrar.withdraw(peer, offset, length, nowMs);
        return this.#add("droppedMalformed", 1);
      default:
        this.#add("droppedMalformed", 1);
    }
  }

  // 5. Who serves it? 6. Forward or drop.

  #relayRaw(peer: Peer, offset: number, length: number, nowMs: number): void {
    const service = this.#registry.implicitService(peer.id);
    if (service >= 0) this.#relayUp(peer, service, offset, length, nowMs);
    else if (this.#registry.connectorServices(peer.id).length > 0) this.#relayDown(peer, -1, offset, length, nowMs);
    else this.#dropUnregistered(peer, "");
  }

  #relayRouted(peer: Peer, bytes: Uint8Array, offset: number, length: number, nowMs: number): void {
    const idLength = routedIdLength(bytes, offset, length);
    if (idLength === 0) return this.#add("droppedMalformed", 1);
    const header = ROUTED_ID_AT + idLength;
    const idAt = offset + ROUTED_ID_AT;
    const service = this.#registry.serviceAt(peer.id, "agent", bytes, idAt, idLength);
    if (service >= 0) return this.#relayUp(peer, service, offset + header, length - header, nowMs);
    const served = this.#registry.serviceAt(peer.id, "connector", bytes, idAt, idLength);
    if (served >= 0) return this.#relayDown(peer, served, offset + header, length - header, nowMs);
    this.#dropUnregistered(peer, new TextDecoder().decode(bytes.subarray(idAt, idAt + idLength)));
  }

  #relayUp(agent: Peer, service: number, offset: number, length: number, nowMs: number): void {
    const slot = this.#flows.fromAgent(agent.id, service, this.#plane.platform.engine.arena.bytes, offset, length, nowMs);
    if (slot < 0) return this.#dropPacket(agent, slot, service, offset, length, nowMs);
    const connector = this.#peers.get(this.#flows.connectorOf(slot));
    if (connector === undefined) return this.#add("droppedPeerGone", 1);
    this.#forward(agent, connector, slot, "agent", offset, length);
  }

  #relayDown(connector: Peer, service: number, offset: number, length: number, nowMs: number): void {
    const slot = this.#flows.fromConnector(connector.id, service, this.#plane.platform.engine.arena.bytes, offset, length, nowMs);
    if (slot < 0) return this.#dropPacket(connector, slot, service, offset, length, nowMs);
    const agent = this.#peers.get(this.#flows.agentOf(slot));
    if (agent === undefined) return this.#add("droppedPeerGone", 1);
    this.#forward(connector, agent, slot, "connector", offset, length);
  }

  // 7. Queue on the other connection, in the frame that its version has for packets (WIRE 5.5). See control/departures.ts.

  #forward(from: Peer, to: Peer, slot: number, side: "agent" | "connector", offset: number, length: number): void {
    let at = offset, size = length;
    if (to.isV2) {
      const id = this.#registry.serviceIdBytes(this.#flows.serviceOf(slot));
      if (id === null) return this.#add("droppedPeerGone", 1);
      at -= ROUTED_ID_AT + id.length;
      size += encodeRoutedHeader(this.#plane.platform.engine.arena.bytes, at, id);
    }
    const sent = this.#departures.send(to.connection, from.id, at, size);
    if (sent < 0) return this.#dropUnsent(from, to, slot, side, offset, length, sent);
    this.#flows.forwarded(slot, side, length);
    // What waits is counted when it leaves.
    if (sent > 0) return;
    const { cells, index } = this.#counters;
    cells[index.relayedDatagrams] = (cells[index.relayedDatagrams] ?? 0) + 1;
    cells[index.relayedBytes] = (cells[index.relayedBytes] ?? 0) + length;
  }

  #dropUnsent(
    from: Peer,
    to: Peer,
    slot: number,
    side: "agent" | "connector",
    offset: number,
    length: number,
    error: number,
  ): void {
    if (error !== EngineError.bufferTooShort) return;
    this.#add("droppedTooLarge", 1);
    if (this.#parts.tooLarge.answer(from, to, slot, side, offset, length)) this.#add("tooLargeAnswered", 1);
  }

  #dropPacket(from: Peer, reason: number, service: number, offset: number, length: number, nowMs: number): void {
    // The last one: a connector is told to end the session that it still holds for somebody who is gone.
    if (reason === FlowDrop.noConnector || reason === FlowDrop.midstream || reason === FlowDrop.unanswered) {
      this.#parts.rejections.answer(from, service, offset, length, nowMs);
    }
    this.#add(FLOW_METRICS[-reason - 1] ?? "droppedMalformed", 1);
    const limit = FLOW_LIMITS_AT[-reason - 1] ?? null;
    if (limit === null) return;
    from.limiter.note(limit);
    this.#noteOverLimit(from, limit);
  }

  #dropOverLimit(peer: Peer, limit: LimitName): void {
    this.#add("droppedOverLimit", 1);
    this.#noteOverLimit(peer, limit);
  }

  #noteOverLimit(peer: Peer, limit: LimitName): void {
    if (!peer.warnsOf(limit)) return;
    this.#parts.log.warn("limit-exceeded", `A peer sends more than it may: ${limit}`, { peer: peer.label, limit });
    this.#plane.event({ ...originOf(peer.connection), event_type: "rate_limited", details: { peer: peer.label, limit } });
  }

  #dropUnregistered(peer: Peer, service: string): void {
    this.#add("droppedUnauthorised", 1);
    if (!peer.warnsOf(`service ${service}`)) return;
    const id = sanitizeForLog(service);
    this.#parts.log.warn("datagram-dropped", `Unauthorized service datagram: ${peer.label} is not registered for '${id}'`, {
      service: id,
    });
  }

  // Streams take the same steps: frame, identity, route, forward. See stream_service.ts.

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    const peer = this.#peers.get(connection.id);
    if (peer !== undefined) this.#parts.streams.onReadable(peer, connection, stream, nowMs);
  }

  onWritable(connection: Connection, stream: number): void {
    this.#peers.get(connection.id)?.streams.get(stream)?.onWritable(connection);
  }

  // 8. Packets leave at the end of the turn.

  #endTurn(nowMs: number): void {
    this.#endpoint.endTurn(nowMs);
    this.#parts.remote?.endTurn(this.#endpoint.size, this.#endpoint.handshakes);
    this.#gauges.publish(nowMs);
  }

  onClosed(connection: Connection, ending: Ending): void {
    this.#parts.admission.release(connection);
    this.#parts.handshakes.closed(connection);
    const peer = this.#peers.get(connection.id);
    if (peer === undefined) return this.#parts.identification.noteRefused(connection, ending);
    this.#peers.delete(connection.id);
    this.#add("droppedPeerGone", this.#departures.forget(connection));
    this.#parts.watch.end(peer);
    for (const stream of [...peer.streams.values()]) stream.connectionLost(connection);
    this.#parts.signals.removePeer(peer);
    this.#flows.removeAgent(peer.id);
    const { services, role } = this.#registry.unregister(peer.id);
    this.#plane.log("debug", "connection-closed", "A client's connection ended", {
      peer: peer.label,
      role,
      services: services.length,
      by: ending.by,
      code: ending.info?.code ?? 0,
    });
  }

  stop(nowMs: number): void {
    this.#plane.log("info", "stopping", "Finishing open streams", { streams: this.#parts.streams.active });
    this.#endpoint.accept(null);
    this.#parts.remote?.refuse();
    this.#end.begin(nowMs, limits.DRAIN_MS);
  }

  onCommand(command: PlaneCommand, nowMs: number): void {
    switch (command.type) {
      case "disconnect":
        return this.#disconnect(command.id, command.peer);
      case "deny":
        return this.#plane.answer(command.id, this.#parts.watch.deny(command.entry), null);
      case "reload":
        return this.#reload(command.id, command.plan, nowMs);
      case "status":
        return this.#plane.platform.post({
          type: "status",
          id: command.id,
          status: serverStatus(this.#peers, this.#sockets, this.#parts, this.#flows, command, nowMs),
        });
    }
  }

  #disconnect(id: number, number: number): void {
    const peer = this.#peers.get(number);
    peer?.connection.close(CloseCode.limits, "disconnected by the operator");
    this.#plane.answer(id, peer === undefined ? 0 : 1, null);
  }

  /** Goes over to what may change of the plan, all of it or nothing: what can be refused comes first. */
  #reload(id: number, plan: RolePlan, nowMs: number): void {
    const problem = plan.role === "server" ? this.#parts.rules.replace(plan) : "the plan is for another role";
    this.#add(problem === null ? "reloads" : "reloadFailures", 1);
    if (problem !== null || plan.role !== "server") return this.#plane.answer(id, 0, problem);
    if (!this.#plane.isStopping) this.#endpoint.accept(this.#parts.rules.profile);
    this.#parts.admission.limiter.configure(plan.limits, nowMs);
    this.#registry.configure(registryLimits(plan));
    this.#flows.configure(flowLimits(plan));
    this.#parts.signals.configure(signalLimits(plan));
    const revoked = this.#parts.watch.replace(plan.revocation.denied);
    this.#plane.answer(id, revoked + this.#parts.rights.judgeAll(), null);
  }

  #tellServed(): void {
    if (this.#registry.epoch === this.#toldEpoch) return;
    this.#toldEpoch = this.#registry.epoch;
    const services = this.#registry.services().filter(({ connectors }) => connectors.length > 0).map(({ id }) => id);
    this.#plane.platform.post({ type: "served", services });
  }

  #sweepFlows(nowMs: number): void {
    this.#tellServed();
    const isEmpty = this.#flows.size === 0;
    if (!isEmpty) this.#flows.sweep(nowMs, limits.FLOW_SWEEP_SLOTS);
    const pauseMs = isEmpty ? limits.FLOW_SWEEP_IDLE_MS : limits.FLOW_SWEEP_INTERVAL_MS;
    this.#plane.platform.reactor.setTimer(this.#sweep, nowMs + pauseMs);
  }

  /** Gives the sockets back. Only for those who do not end the process. */
  dispose(): void {
    for (const socket of this.#sockets) socket.close();
  }

  #finish(): void {
    this.#endpoint.closeAll(CloseCode.shuttingDown, "server shutting down");
    this.#plane.finish();
  }

  #add(key: ServerMetric, amount: number): void {
    const { cells, index } = this.#counters;
    const at = index[key];
    cells[at] = (cells[at] ?? 0) + amount;
  }
}
