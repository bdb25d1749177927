/**
 * The connector's data plane: one uplink, on which it registers its services and takes the streams that the server opens, each
 * joined to a backend that the configuration names.
 */
import { type MetricCells, Timer } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { AbortCode, classifyFrame, FrameKind, type ResultCode } from "../../core/wire/mod.ts";
import type { ConnectorPlan, Plane, PlaneCommand, RolePlane, ServicePlan } from "../control/mod.ts";
import { BRIDGE_CHUNK_BYTES, type BridgeEnd, DRAIN_MS, Uplink, type UplinkRole, type UplinkTrouble } from "../uplink/mod.ts";
import { ADDRESS_SLOT_BYTES, type BackendContext, BackendStream } from "./backend_stream.ts";
import { STREAMS_MAX } from "./limits.ts";
import { CONNECTOR_METRICS } from "./metrics.ts";
import { Registrar } from "./registration.ts";

type Counters = MetricCells<typeof CONNECTOR_METRICS>;

const REFUSAL_COUNTER: Partial<Record<ResultCode, keyof typeof CONNECTOR_METRICS>> = {
  "unknown-service": "refusedUnknown",
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
  readonly #backends: Map<string, ServicePlan>;
  readonly #drain = new Timer(() => this.#finish());

  constructor(plane: Plane, plan: ConnectorPlan, counters: Counters) {
    this.#plane = plane;
    this.#counters = counters;
    this.#backends = new Map(plan.services.map((service) => [service.service, service]));
    const { layout, engine, reactor } = plane.platform;
    this.#uplink = new Uplink(plane, plan.uplink, this);
    this.#registrar = new Registrar(plane, [...this.#backends.keys()], (nowMs) => {
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
      backendOf: (service) => this.#backends.get(service),
      onRefused: (stream, code, detail) => this.#onRefused(stream, code, detail),
      onMalformed: (_stream, why) => {
        this.#add("malformed", 1);
        plane.log("warn", "stream-refused", "A stream began with a malformed header", { why });
      },
      onJoined: () => this.#add("tcpSessions", 1),
      onOver: (stream, end) => this.#onStreamOver(stream, end),
    };
    plane.platform.post({ type: "ready", addresses: [] });
    this.#uplink.start(reactor.nowMs);
  }

  stop(nowMs: number): void {
    this.#plane.log("info", "stopping", "Finishing open streams", { streams: this.#streams.size });
    if (this.#streams.size === 0) this.#finish();
    else this.#plane.platform.reactor.setTimer(this.#drain, nowMs + DRAIN_MS);
  }

  onCommand(command: PlaneCommand, nowMs: number): void {
    if (command.type === "resolved") this.#onResolved(command.host, command.addresses);
    if (command.type === "status") {
      this.#plane.platform.post({
        type: "status",
        id: command.id,
        status: {
          peers: [],
          services: this.#registrar.states().map(({ id, state }) => ({ id, state, agents: 0, connectors: 0 })),
          uplink: { state: this.#uplink.state, since: nowMs },
          streams: this.#streams.size,
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

  onDown(): void {
    this.#set("uplinkUp", 0);
    this.#set("registered", 0);
    this.#add("reconnections", 1);
    this.#registrar.end();
    for (const stream of [...this.#streams.values()]) stream.connectionLost();
  }

  onDatagram(_connection: Connection, offset: number, length: number, nowMs: number): void {
    const kind = classifyFrame(this.#plane.platform.engine.arena.bytes, offset, length);
    if (kind === FrameKind.ack || kind === FrameKind.nack) this.#registrar.onReply(offset, length, nowMs);
    else if (kind !== FrameKind.qad4 && kind !== FrameKind.qad6) this.#add("datagramsDropped", 1);
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
    if (this.#plane.isStopping && this.#streams.size === 0) this.#finish();
  }

  #onResolved(host: string, addresses: readonly string[]): void {
    if (addresses.length === 0) return;
    this.#uplink.setAddressesOf(host, addresses);
    for (const [id, backend] of this.#backends) {
      if (backend.host === host) this.#backends.set(id, { ...backend, addresses });
    }
  }

  #finish(): void {
    for (const stream of [...this.#streams.values()]) stream.abort(AbortCode.shuttingDown);
    this.#uplink.stop("connector shutting down");
    this.#plane.finish();
  }

  #add(key: keyof typeof CONNECTOR_METRICS, amount: number): void {
    const { cells, index } = this.#counters;
    const at = index[key];
    cells[at] = (cells[at] ?? 0) + amount;
  }

  #set(key: keyof typeof CONNECTOR_METRICS, value: number): void {
    this.#counters.cells[this.#counters.index[key]] = value;
  }
}
