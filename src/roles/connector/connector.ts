/**
 * The connector's data plane: one uplink, on which it registers its services and takes what the server brings: streams, each
 * joined to a backend that the configuration names, and packets, which end here (`datagram_end`).
 */
import type { MetricCells } from "../../base/mod.ts";
import { publishCounters } from "../../core/netstack/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { AbortCode, classifyFrame, FrameKind, type ResultCode } from "../../core/wire/mod.ts";
import { type ConnectorPlan, GracefulEnd, type Plane, type PlaneCommand, type RolePlane } from "../control/mod.ts";
import { BRIDGE_CHUNK_BYTES, type BridgeEnd, DRAIN_MS, Uplink, type UplinkRole, type UplinkTrouble } from "../uplink/mod.ts";
import { ADDRESS_SLOT_BYTES, type BackendContext, BackendStream } from "./backend_stream.ts";
import { BackendWatch } from "./backend_watch.ts";
import { DatagramEnd } from "./datagram_end.ts";
import { STREAMS_MAX, TCP_IDLE_DEFAULT_MS } from "./limits.ts";
import { CONNECTOR_METRICS, type ConnectorMetric } from "./metrics.ts";
import { Registrar } from "./registration.ts";
import { ServiceTable } from "./services.ts";
import { backendStatus, sessionStatus } from "./status.ts";

type Counters = MetricCells<typeof CONNECTOR_METRICS>;

const REFUSAL_COUNTER: Partial<Record<ResultCode, ConnectorMetric>> = {
  "unknown-service": "refusedUnknown",
  "datagram-only": "refusedDatagramOnly",
  "backend-refused": "refusedBackend",
  "backend-timeout": "refusedTimeout",
  "busy": "refusedBusy",
};

export class ConnectorPlane implements RolePlane, UplinkRole {
  readonly #plane: Plane;
  readonly #counters: Counters;
  readonly #uplink: Uplink;
  readonly #registrar: Registrar;
  readonly #context: BackendContext;
  readonly #streams = new Map<number, BackendStream>();
  readonly #services: ServiceTable;
  readonly #datagrams: DatagramEnd;
  readonly #watch: BackendWatch;
  readonly #end: GracefulEnd;

  constructor(plane: Plane, plan: ConnectorPlan, counters: Counters) {
    this.#plane = plane;
    this.#counters = counters;
    this.#services = new ServiceTable(plan);
    const { layout, engine, reactor } = plane.platform;
    this.#uplink = new Uplink(plane, plan.uplink, this);
    this.#end = new GracefulEnd(reactor, () => this.#isIdle(), () => this.#finish());
    this.#registrar = new Registrar(plane, this.#services.all.map(({ id }) => id), (nowMs) => {
      this.#uplink.answered(nowMs);
      this.#set("registered", this.#registrar.registeredCount);
    });
    this.#context = {
      bridge: {
        reactor,
        engine,
        chunkAt: layout.reserve(BRIDGE_CHUNK_BYTES),
        onBytes: (fromSocket, bytes) => this.#add(fromSocket ? "bytesFromBackend" : "bytesToBackend", bytes),
      },
      reactor,
      allowLegacyServiceIds: plan.uplink.allowLegacyServiceIds,
      addressSlot: layout.reserve(ADDRESS_SLOT_BYTES),
      serviceOf: (id) => this.#services.byId(id),
      onRefused: (stream, code, detail) => this.#onRefused(stream, code, detail),
      onMalformed: (_stream, why) => {
        this.#add("malformed", 1);
        plane.log("warn", "stream-refused", "A stream began with a malformed header", { why });
      },
      onJoined: () => this.#add("tcpSessions", 1),
      onOver: (stream, end) => this.#onStreamOver(stream, end),
    };
    // Behind the uplink: the packets that its turn brought are answered in the same turn.
    this.#datagrams = new DatagramEnd({
      plane,
      services: this.#services,
      addressSlot: this.#context.addressSlot,
      idleMs: plan.tcpIdleMs ?? TCP_IDLE_DEFAULT_MS,
      count: (metric, amount) => this.#add(metric, amount),
      flush: (nowMs) => this.#uplink.endpoint.endTurn(nowMs),
    });
    reactor.onTurnEnd(() => this.#publish());
    this.#watch = new BackendWatch(plane, this.#context, this.#services);
    plane.platform.post({ type: "ready", addresses: [] });
    this.#watch.start(reactor.nowMs);
    this.#uplink.start(reactor.nowMs);
  }

  stop(nowMs: number): void {
    const sessions = this.#datagrams.sessionCount;
    this.#plane.log("info", "stopping", "Finishing open streams and sessions", { streams: this.#streams.size, sessions });
    this.#watch.stop();
    this.#end.begin(nowMs, DRAIN_MS);
  }

  onCommand(command: PlaneCommand, nowMs: number): void {
    if (command.type === "resolved") this.#onResolved(command.host, command.addresses);
    if (command.type === "reload") this.#uplink.onReload(command.id, command.plan);
    if (command.type === "status") {
      this.#plane.platform.post({
        type: "status",
        id: command.id,
        status: {
          peers: [],
          services: this.#registrar.states().map(({ id, state }) => ({ id, state, agents: 0, connectors: 0 })),
          uplink: this.#uplink.report(nowMs),
          streams: this.#streams.size,
          sessions: sessionStatus(this.#datagrams, nowMs),
          backends: backendStatus(this.#services),
        },
      });
    }
  }

  onProving(connection: Connection, nowMs: number): void {
    this.#registrar.begin(connection, nowMs);
  }

  onUp(): void {
    this.#set("uplinkUp", 1);
  }

  onDown(_connection: Connection, nowMs: number): void {
    this.#set("uplinkUp", 0);
    this.#set("registered", 0);
    this.#add("reconnections", 1);
    this.#registrar.end();
    for (const stream of [...this.#streams.values()]) stream.connectionLost();
    this.#datagrams.onDown(nowMs);
  }

  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void {
    const kind = classifyFrame(this.#plane.platform.engine.arena.bytes, offset, length);
    if (kind === FrameKind.ack || kind === FrameKind.nack) this.#registrar.onReply(offset, length, nowMs);
    else if (kind === FrameKind.ipv4 || kind === FrameKind.ipv6 || kind === FrameKind.routed) {
      this.#datagrams.onDatagram(connection, offset, length, nowMs);
    } else if (kind !== FrameKind.qad4 && kind !== FrameKind.qad6) this.#add("droppedKind", 1);
  }

  onReadable(connection: Connection, stream: number, nowMs: number): void {
    let entry = this.#streams.get(stream);
    if (entry === undefined) {
      // Bit 0: opened by the server. A stream of our own would be a leftover: we open none.
      if ((stream & 1) === 0) return;
      entry = new BackendStream(this.#context, connection, stream, nowMs);
      this.#streams.set(stream, entry);
      this.#set("activeStreams", this.#streams.size);
      if (this.#streams.size > STREAMS_MAX) return entry.refuse("busy", "the connector has as many streams as it takes");
      if (this.#plane.isStopping) return entry.refuse("busy", "the connector is stopping");
    }
    entry.onReadable(nowMs);
  }

  onWritable(_connection: Connection, stream: number): void {
    this.#streams.get(stream)?.onWritable();
  }

  onFinalTrouble(trouble: UplinkTrouble): void {
    const { message, hint, code } = trouble;
    this.#plane.platform.post({ type: "failed", message, hint, code, exitCode: 1 });
    this.#plane.finish();
  }

  #onRefused(stream: BackendStream, code: ResultCode, detail: string): void {
    this.#add(REFUSAL_COUNTER[code] ?? "refusedBusy", 1);
    if (code === "backend-refused" || code === "backend-timeout") {
      this.#add("tcpErrors", 1);
      this.#plane.log("warn", "backend-failed", `The backend of ${stream.service} did not accept: ${detail}`, {
        service: stream.service,
        code,
      });
    } else this.#plane.log("warn", "stream-refused", `Refused an open: ${detail}`, { service: stream.service, code });
  }

  #onStreamOver(stream: BackendStream, end: BridgeEnd | "refused" | "malformed"): void {
    this.#streams.delete(stream.stream);
    this.#set("activeStreams", this.#streams.size);
    if (end === "aborted-by-socket") this.#add("tcpErrors", 1);
    this.#plane.log("debug", "stream-closed", "A stream ended", {
      service: stream.service,
      end,
      agent: stream.agent?.commonName ?? "",
    });
  }

  #onResolved(host: string, addresses: readonly string[]): void {
    if (addresses.length === 0) return;
    this.#uplink.setAddressesOf(host, addresses);
    this.#services.resolved(host, addresses);
  }

  /** Nothing runs any more, and what was said has arrived. */
  #isIdle(): boolean {
    return this.#streams.size === 0 && this.#datagrams.sessionCount === 0 && !this.#uplink.isDelivering;
  }

  #finish(): void {
    const { nowMs } = this.#plane.platform.reactor;
    for (const stream of [...this.#streams.values()]) stream.abort(AbortCode.shuttingDown);
    this.#datagrams.abortAll(nowMs);
    this.#uplink.stop("connector shutting down");
    this.#plane.finish();
  }

  #publish(): void {
    const { stack } = this.#datagrams;
    const { cells, index } = this.#counters;
    publishCounters(stack.counters, this.#counters);
    cells[index.forwardedPackets] = stack.counters.packetsReceived + stack.counters.packetsSent;
    cells[index.packetSessions] = stack.sessionCount;
    cells[index.packetFlows] = stack.flowCount;
    cells[index.bufferedBytes] = stack.bufferedBytes;
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
