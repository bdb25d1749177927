/**
 * All streams of the connector, of all its connections: what a new one is for, and what is counted and told when it is joined,
 * refused or over. One stream's own way is in `backend_stream.ts`; signalling goes to whoever takes it.
 */
import type { LogFields } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { TokenBucket } from "../../core/ratelimit/mod.ts";
import { AbortCode, ALPN_V2, type ResultCode } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { BRIDGE_CHUNK_BYTES, type BridgeEnd } from "../uplink/mod.ts";
import { type BackendContext, BackendStream, type StreamOrigin } from "./backend_stream.ts";
import { P2P_STREAMS_PER_AGENT_MAX, STREAM_WARNING_RATE, STREAMS_MAX } from "./limits.ts";
import type { ConnectorMetric } from "./metrics.ts";
import type { Service } from "./services.ts";

/** A stream that carries something else than a backend's bytes. */
export interface SignallingStream {
  onReadable(nowMs: number): void;
  onWritable(): void;
}

export interface BackendStreamsOptions {
  readonly plane: Plane;
  readonly allowLegacyServiceIds: boolean;
  /** Offset of a sockaddr slot that is used within one call only. */
  readonly addressSlot: number;
  readonly serviceOf: (id: string) => Service | undefined;
  readonly count: (metric: ConnectorMetric, amount: number) => void;
  /** The number of streams has changed. */
  readonly onSize: (size: number) => void;
  /** A stream that carries signalling, with the bytes of it that were read already; null when there is nobody for it. */
  readonly openSignalling: (connection: Connection, stream: number, first: Uint8Array) => SignallingStream | null;
}

const REFUSAL_COUNTER: Partial<Record<ResultCode, ConnectorMetric>> = {
  "denied": "refusedDenied",
  "unknown-service": "refusedUnknown",
  "datagram-only": "refusedDatagramOnly",
  "backend-refused": "refusedBackend",
  "backend-timeout": "refusedTimeout",
  "busy": "refusedBusy",
};

export class BackendStreams {
  /** Those that lead to backends. */
  size = 0;
  readonly context: BackendContext;
  readonly #options: BackendStreamsOptions;
  readonly #warnings: TokenBucket;
  readonly #streams = new Map<Connection, Map<number, BackendStream | SignallingStream>>();

  constructor(options: BackendStreamsOptions) {
    this.#options = options;
    const { plane, count } = options;
    const { layout, engine, reactor } = plane.platform;
    this.#warnings = new TokenBucket(STREAM_WARNING_RATE, reactor.nowMs);
    this.context = {
      bridge: {
        reactor,
        engine,
        chunkAt: layout.reserve(BRIDGE_CHUNK_BYTES),
        onBytes: (fromSocket, bytes) => count(fromSocket ? "bytesFromBackend" : "bytesToBackend", bytes),
      },
      reactor,
      allowLegacyServiceIds: options.allowLegacyServiceIds,
      addressSlot: options.addressSlot,
      serviceOf: options.serviceOf,
      onRefused: (stream, code, detail) => this.#onRefused(stream, code, detail),
      onMalformed: (_stream, why) => {
        count("malformed", 1);
        this.#warn("stream-refused", "A stream began with a malformed header", { why });
      },
      onSignalling: (stream, first, nowMs) => this.#handOver(stream, first, nowMs),
      onJoined: () => count("tcpSessions", 1),
      onOver: (stream, end) => this.#onOver(stream, end),
    };
  }

  sizeOf(connection: Connection): number {
    let count = 0;
    for (const stream of this.#streams.get(connection)?.values() ?? []) if (stream instanceof BackendStream) count++;
    return count;
  }

  countOf(service: Service): number {
    let count = 0;
    for (const stream of this.all()) if (stream.service === service.id) count++;
    return count;
  }

  onReadable(origin: StreamOrigin, connection: Connection, stream: number, nowMs: number): void {
    let entry = this.#streams.get(connection)?.get(stream);
    if (entry === undefined) {
      // Bit 0: opened by the server's side of the connection. One of our own would be a leftover, unless ztna-v1 speaks on it.
      const isOurs = (stream & 1) === (connection.isServerSide ? 1 : 0);
      const isV2 = connection.engine.applicationProtocol() === ALPN_V2;
      const isSignalling = origin.from === "server" && !isV2;
      if (isOurs && !isSignalling) return;
      if (isSignalling) return this.#openSignalling(connection, stream, new Uint8Array(0))?.onReadable(nowMs);
      const opened = new BackendStream(this.context, origin, connection, stream, nowMs);
      this.#enter(connection, stream, opened);
      this.#resize(1);
      const lack = this.#lackOf(origin, nowMs);
      if (lack !== null) return opened.refuse("busy", lack);
      if (this.#options.plane.isStopping) return opened.refuse("busy", "the connector is stopping");
      entry = opened;
    }
    entry.onReadable(nowMs);
  }

  onWritable(connection: Connection, stream: number): void {
    this.#streams.get(connection)?.get(stream)?.onWritable();
  }

  /** The stream of this number if it carries signalling, opened for it if it is new. */
  signallingOn(connection: Connection, stream: number): SignallingStream | null {
    const known = this.#streams.get(connection)?.get(stream);
    if (known === undefined) return this.#openSignalling(connection, stream, new Uint8Array(0));
    return known instanceof BackendStream ? null : known;
  }

  /** A stream that carries signalling is over. */
  leave(connection: Connection, stream: number): void {
    this.#streams.get(connection)?.delete(stream);
  }

  /** The connection is gone. */
  onDown(connection: Connection): void {
    const streams = [...this.#streams.get(connection)?.values() ?? []];
    for (const stream of streams) if (stream instanceof BackendStream) stream.connectionLost();
    this.#streams.delete(connection);
  }

  /** Ends what is left of a service that is offered no more. */
  endService(service: Service): void {
    for (const stream of [...this.all()]) if (stream.service === service.id) stream.abort(AbortCode.shuttingDown);
  }

  abortAll(): void {
    for (const stream of [...this.all()]) stream.abort(AbortCode.shuttingDown);
  }

  /** Those that lead to backends. */
  *all(): Iterable<BackendStream> {
    for (const streams of this.#streams.values()) {
      for (const stream of streams.values()) if (stream instanceof BackendStream) yield stream;
    }
  }

  /** Why the stream that was just entered is one too many, or null. */
  #lackOf(origin: StreamOrigin, nowMs: number): string | null {
    if (this.size > STREAMS_MAX) return "the connector has as many streams as it takes";
    if (!origin.mayOpen(nowMs)) return "the agent opens too many in a second";
    const { streamsKey } = origin;
    if (streamsKey === null) return null;
    let count = 0;
    for (const stream of this.all()) if (stream.origin.streamsKey === streamsKey) count++;
    return count > P2P_STREAMS_PER_AGENT_MAX ? "the agent has as many streams as one may have" : null;
  }

  /** Agents cause these lines: there are few in a second. */
  #warn(event: "stream-refused" | "backend-failed", message: string, fields: LogFields): void {
    const { plane } = this.#options;
    if (this.#warnings.take(1, plane.platform.reactor.nowMs)) plane.log("warn", event, message, fields);
  }

  #enter(connection: Connection, stream: number, entry: BackendStream | SignallingStream): void {
    const streams = this.#streams.get(connection);
    if (streams === undefined) this.#streams.set(connection, new Map([[stream, entry]]));
    else streams.set(stream, entry);
  }

  #openSignalling(connection: Connection, stream: number, first: Uint8Array): SignallingStream | null {
    const opened = this.#options.openSignalling(connection, stream, first);
    if (opened !== null) this.#enter(connection, stream, opened);
    return opened;
  }

  #handOver({ connection, stream, origin }: BackendStream, first: Uint8Array, nowMs: number): boolean {
    if (origin.from !== "server") return false;
    const opened = this.#openSignalling(connection, stream, first);
    if (opened === null) return false;
    this.#resize(-1);
    opened.onReadable(nowMs);
    return true;
  }

  #onRefused(stream: BackendStream, code: ResultCode, detail: string): void {
    const { count } = this.#options;
    count(REFUSAL_COUNTER[code] ?? "refusedBusy", 1);
    if (code === "backend-refused" || code === "backend-timeout") {
      count("tcpErrors", 1);
      this.#warn("backend-failed", `The backend of ${stream.service} did not accept: ${detail}`, {
        service: stream.service,
        code,
      });
    } else this.#warn("stream-refused", `Refused an open: ${detail}`, { service: stream.service, code });
  }

  #onOver(stream: BackendStream, end: BridgeEnd | "refused" | "malformed"): void {
    this.#streams.get(stream.connection)?.delete(stream.stream);
    this.#resize(-1);
    if (end === "aborted-by-socket") this.#options.count("tcpErrors", 1);
    this.#options.plane.log("debug", "stream-closed", "A stream ended", {
      service: stream.service,
      end,
      agent: stream.agent?.commonName ?? "",
    });
  }

  #resize(by: number): void {
    this.size += by;
    this.#options.onSize(this.size);
  }
}
