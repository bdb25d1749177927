/**
 * The server's data plane on one page: the functions stand in the order in which a packet meets them.
 *
 *   receive ─► endpoint (whose connection?) ─► onDatagram / onReadable ─► who is it, may it? ─► where to? ─► forward
 *
 * Everything is synchronous and runs in the worker's loop. Deny is the default of every step.
 */
import { type MetricCells, Timer } from "../../base/mod.ts";
import { type AuthorizeOptions, identityFrom } from "../../core/auth/mod.ts";
import {
  type Connection,
  type Ending,
  Endpoint,
  type EndpointHandler,
  EngineError,
  type EngineProfile,
} from "../../core/quic/mod.ts";
import { FlowDrop, FlowTable, Registry } from "../../core/registry/mod.ts";
import {
  AbortCode,
  ALPN_V1,
  ALPN_V2,
  classifyFrame,
  CloseCode,
  FrameKind,
  ROUTED_ID_AT,
  routedIdLength,
  V1_REFUSAL_REASON,
  V1_REFUSAL_TRANSPORT_CODE,
} from "../../core/wire/mod.ts";
import { UdpSocket } from "../../io/mod.ts";
import { GracefulEnd, type Plane, type PlaneCommand, type RolePlane, type ServerPlan } from "../control/mod.ts";
import * as limits from "./limits.ts";
import { SERVER_METRICS, type ServerMetric } from "./metrics.ts";
import { Peer } from "./peer.ts";
import { Registrar } from "./registrar.ts";
import { routeStream } from "./stream_route.ts";
import { RelayedStream, type StreamRelayContext } from "./stream_relay.ts";
import { serverStatus } from "./status.ts";

type Counters = MetricCells<typeof SERVER_METRICS>;

/** The counter of each reason for which the flow table drops a packet; others count as malformed. */
const DROP_COUNTER = new Map<number, ServerMetric>([
  [FlowDrop.unknownFlow, "droppedUnknownFlow"],
  [FlowDrop.noConnector, "droppedNoConnector"],
  [FlowDrop.otherConnector, "droppedUnknownFlow"],
  [FlowDrop.ambiguous, "droppedUnknownFlow"],
  [FlowDrop.tableFull, "droppedFlowLimit"],
  [FlowDrop.agentFull, "droppedFlowLimit"],
  [FlowDrop.noAddress, "droppedFlowLimit"],
]);

export class ServerPlane implements EndpointHandler, RolePlane {
  readonly #plane: Plane;
  readonly #counters: Counters;
  readonly #sockets: UdpSocket[];
  readonly #endpoint: Endpoint;
  readonly #profile: EngineProfile;
  readonly #requireClientCert: boolean;
  readonly #serviceIds: { readonly legacy: boolean };
  readonly #authorization: AuthorizeOptions;
  readonly #peers = new Map<number, Peer>();
  readonly #registry: Registry;
  readonly #flows: FlowTable;
  readonly #streams: StreamRelayContext;
  readonly #registrar: Registrar;
  readonly #sweep = new Timer((nowMs) => this.#sweepFlows(nowMs));
  readonly #end: GracefulEnd;
  #openStreams = 0;

  constructor(plane: Plane, plan: ServerPlan, counters: Counters) {
    this.#plane = plane;
    this.#counters = counters;
    const { layout, engine, reactor, entropy } = plane.platform;
    this.#profile = createProfile(plane, plan);
    this.#requireClientCert = plan.requireClientCert;
    this.#serviceIds = { legacy: plan.allowLegacyServiceIds };
    this.#authorization = { allowLegacyCerts: plan.allowLegacyCerts, anonymous: new Set(plan.allowAnonymous) };
    this.#registry = new Registry({ allowLegacyServiceIds: plan.allowLegacyServiceIds });
    const random = new Uint32Array(1);
    this.#flows = new FlowTable(this.#registry, () => {
      entropy(new Uint8Array(random.buffer));
      return random[0] ?? 0;
    });
    this.#registrar = new Registrar(plane, {
      registry: this.#registry,
      authorization: this.#authorization,
      serviceIds: this.#serviceIds,
      count: (metric) => this.#add(metric, 1),
    });
    this.#endpoint = new Endpoint({
      engine,
      timers: reactor,
      entropy,
      handler: this,
      limits: limits.SERVER_ENDPOINT,
      datagramAt: layout.reserve(limits.SERVER_ENDPOINT.datagramBytesMax),
    });
    this.#end = new GracefulEnd(reactor, () => this.#openStreams === 0 && !this.#endpoint.isDelivering, () => this.#finish());
    this.#streams = this.#streamContext(layout.reserve(limits.STREAM_CHUNK_BYTES));
    this.#sockets = plan.binds.map((bind) =>
      new UdpSocket(
        reactor,
        layout,
        bind,
        limits.SERVER_SOCKET,
        (socket, offset, length, from) => this.#endpoint.handlePacket(socket, offset, length, from),
        () => this.#endpoint.pathWritable(),
      )
    );
    for (const socket of this.#sockets) plane.noteBuffers(socket, limits.SERVER_SOCKET.kernelBufferBytes);
    reactor.onTurnEnd((nowMs) => this.#endTurn(nowMs));
    reactor.setTimer(this.#sweep, reactor.nowMs + limits.FLOW_SWEEP_INTERVAL_MS);
    this.#endpoint.accept(this.#profile);
    plane.platform.post({
      type: "ready",
      addresses: this.#sockets.map((socket) => ({ name: "quic", transport: "udp", ...socket.bound })),
    });
  }

  // 4. Who is it?

  onEstablished(connection: Connection): void {
    const certificate = connection.engine.peerCertificate();
    const identity = certificate === null ? null : identityFrom(certificate);
    if (identity !== null && identity.kind === "problem") return this.#refusePeer(connection, V1_REFUSAL_REASON.unusable);
    if (identity === null && this.#requireClientCert) return this.#refusePeer(connection, V1_REFUSAL_REASON.missing);
    const peer = new Peer(connection, certificate, identity, connection.engine.applicationProtocol());
    this.#peers.set(connection.id, peer);
    this.#add("established", 1);
    const { group, cipher } = connection.engine.tlsDescription();
    this.#plane.log("debug", "connection-opened", "A client connected", {
      peer: peer.label,
      protocol: peer.protocol,
      group,
      cipher,
    });
    this.#registrar.reportAddress(peer);
  }

  #refusePeer(connection: Connection, reason: string): void {
    this.#plane.log("warn", "connection-refused", `Refused a client: ${reason}`, { connection: connection.id });
    connection.engine.close(false, V1_REFUSAL_TRANSPORT_CODE, reason);
    connection.touch();
  }

  // 3. Which frame?

  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void {
    const peer = this.#peers.get(connection.id);
    if (peer === undefined) return;
    const { bytes } = this.#plane.platform.engine.arena;
    switch (classifyFrame(bytes, offset, length)) {
      case FrameKind.ipv4:
      case FrameKind.ipv6:
        return this.#relayRaw(peer, offset, length, nowMs);
      case FrameKind.routed:
        return this.#relayRouted(peer, bytes, offset, length, nowMs);
      case FrameKind.registerAgent:
      case FrameKind.registerConnector:
        return this.#registrar.register(peer, offset, length, nowMs);
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
    if (slot < 0) return this.#countDrop(slot);
    const connector = this.#peers.get(this.#flows.connectorOf(slot));
    if (connector === undefined) return this.#add("droppedNoConnector", 1);
    this.#forward(connector, offset, length);
  }

  #relayDown(connector: Peer, service: number, offset: number, length: number, nowMs: number): void {
    const slot = this.#flows.fromConnector(connector.id, service, this.#plane.platform.engine.arena.bytes, offset, length, nowMs);
    if (slot < 0) return this.#countDrop(slot);
    const agent = this.#peers.get(this.#flows.agentOf(slot));
    if (agent === undefined) return this.#add("droppedUnknownFlow", 1);
    this.#forward(agent, offset, length);
  }

  // 7. Queue on the other connection.

  #forward(to: Peer, offset: number, length: number): void {
    const sent = to.connection.engine.datagramSend(offset, length);
    if (sent === EngineError.bufferTooShort) return this.#add("droppedTooLarge", 1);
    if (sent < 0) return this.#add("droppedQueue", 1);
    to.connection.touch();
    const { cells, index } = this.#counters;
    cells[index.relayedDatagrams] = (cells[index.relayedDatagrams] ?? 0) + 1;
    cells[index.relayedBytes] = (cells[index.relayedBytes] ?? 0) + length;
  }

  #countDrop(reason: number): void {
    this.#add(DROP_COUNTER.get(reason) ?? "droppedMalformed", 1);
  }

  #dropUnregistered(peer: Peer, service: string): void {
    this.#add("droppedUnauthorised", 1);
    if (peer.warned.size >= 8 || peer.warned.has(service)) return;
    peer.warned.add(service);
    this.#plane.log("warn", "datagram-dropped", `Unauthorized service datagram: ${peer.label} is not registered for '${service}'`, {
      service,
    });
  }

  // Streams take the same steps: frame, identity, route, forward. See stream_relay.ts.

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    const peer = this.#peers.get(connection.id);
    if (peer === undefined) return;
    let relayed = peer.streams.get(stream);
    if (relayed === undefined) {
      // Streams that we opened and that are over may still have something to say: nobody listens.
      if ((stream & 1) === 1 || peer.protocol !== ALPN_V2) {
        connection.engine.streamShutdown(stream, "read", AbortCode.none);
        connection.touch();
        return;
      }
      relayed = new RelayedStream(this.#streams, peer, stream, nowMs);
      peer.streams.set(stream, relayed);
      this.#openStreams++;
    }
    relayed.onReadable(connection, nowMs);
  }

  onWritable(connection: Connection, stream: number): void {
    this.#peers.get(connection.id)?.streams.get(stream)?.onWritable(connection);
  }

  // 8. Packets leave at the end of the turn.

  #endTurn(nowMs: number): void {
    this.#endpoint.endTurn(nowMs);
    const { cells, index } = this.#counters;
    const { counters } = this.#endpoint;
    cells[index.activeConnections] = this.#endpoint.size;
    cells[index.activeStreams] = this.#openStreams;
    cells[index.flows] = this.#flows.size;
    cells[index.accepted] = counters.accepted;
    cells[index.ignoredMalformed] = counters.malformed;
    cells[index.ignoredUnknown] = counters.unknownConnection;
    cells[index.ignoredShort] = counters.shortInitial;
    cells[index.ignoredConnectionLimit] = counters.overConnectionLimit;
    cells[index.ignoredHandshakeLimit] = counters.overHandshakeLimit;
    cells[index.undecryptable] = counters.undecryptable;
    let sendErrors = 0, gsoOff = 0;
    for (const socket of this.#sockets) {
      sendErrors += socket.sendErrors;
      if (socket.gsoOff) gsoOff = 1;
    }
    cells[index.sendErrors] = sendErrors;
    cells[index.gsoOff] = gsoOff;
  }

  onClosed(connection: Connection, ending: Ending): void {
    const peer = this.#peers.get(connection.id);
    if (peer === undefined) {
      this.#add("refusedConnections", 1);
      const refusal = connection.engine.verifyError();
      const why = refusal?.reason ?? ending.info?.reason ?? "no answer";
      this.#plane.log(refusal === null ? "debug" : "warn", "connection-refused", `A handshake failed: ${why}`, {
        by: ending.by,
        code: ending.info?.code ?? 0,
        subject: refusal?.offered?.subject ?? "",
      });
      return;
    }
    this.#peers.delete(connection.id);
    for (const stream of [...peer.streams.values()]) stream.connectionLost(connection);
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
    this.#plane.log("info", "stopping", "Finishing open streams", { streams: this.#openStreams });
    this.#endpoint.accept(null);
    this.#end.begin(nowMs, limits.DRAIN_MS);
  }

  onCommand(command: PlaneCommand): void {
    if (command.type === "disconnect") {
      this.#peers.get(command.peer)?.connection.close(CloseCode.limits, "disconnected by the operator");
    }
    if (command.type === "status") {
      this.#plane.platform.post({
        type: "status",
        id: command.id,
        status: serverStatus(this.#peers, this.#registry, this.#openStreams),
      });
    }
  }

  #streamContext(chunkAt: number): StreamRelayContext {
    const { engine, reactor } = this.#plane.platform;
    return {
      engine,
      reactor,
      chunkAt,
      allowLegacyServiceIds: this.#serviceIds.legacy,
      route: (agent, service) =>
        this.#plane.isStopping
          ? { kind: "refused", code: "busy", reason: "the server is stopping" }
          : routeStream(agent, service, this.#registry, this.#peers, this.#authorization),
      onJoined: (stream) => {
        this.#add("openedStreams", 1);
        if (stream.connector !== null) this.#registry.streamOpened(stream.connector.id);
      },
      onRefused: (stream, code, reason) => {
        this.#add(REFUSAL_COUNTER[code] ?? "busy", 1);
        this.#plane.log(code === "denied" ? "warn" : "info", "stream-refused", `Refused an open: ${code}`, {
          peer: stream.agent.label,
          service: stream.service,
          code,
          why: reason,
        });
      },
      onMalformed: (stream, why) => {
        this.#add("malformedStreams", 1);
        this.#plane.log("warn", "stream-refused", "A stream began with a malformed header", { peer: stream.agent.label, why });
      },
      onBytes: (isUp, bytes) => this.#add(isUp ? "bytesUp" : "bytesDown", bytes),
      onOver: (stream) => this.#onStreamOver(stream),
    };
  }

  #onStreamOver(stream: RelayedStream): void {
    this.#openStreams--;
    if (stream.connector !== null && stream.wasJoined) this.#registry.streamClosed(stream.connector.id);
  }

  #sweepFlows(nowMs: number): void {
    this.#flows.sweep(nowMs, limits.FLOW_SWEEP_SLOTS);
    this.#plane.platform.reactor.setTimer(this.#sweep, nowMs + limits.FLOW_SWEEP_INTERVAL_MS);
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

const REFUSAL_COUNTER: Readonly<Record<string, ServerMetric>> = {
  "denied": "denied",
  "unknown-service": "unknownService",
  "no-connector": "noConnector",
  "datagram-only": "datagramOnly",
  "backend-refused": "backendRefused",
  "backend-timeout": "backendTimeout",
  "busy": "busy",
};

function createProfile(plane: Plane, plan: ServerPlan): EngineProfile {
  const { certificatePem, keyPem, trustPem } = plan.tls;
  const trust = { trustPem: trustPem ?? new Uint8Array(0), crlPem: null };
  const kind = plan.requireClientCert ? "require" : "if-given";
  return plane.platform.engine.createProfile({
    side: "server",
    identity: certificatePem !== null && keyPem !== null ? { certificateChainPem: certificatePem, privateKeyPem: keyPem } : null,
    verify: plan.verifyPeer ? { kind, ...trust } : { kind: "off" },
    protocols: [ALPN_V2, ALPN_V1],
    transport: limits.SERVER_TRANSPORT,
  });
}
