/**
 * All local TCP connections that are on their way to services or joined to them: each asks the connector itself where there is a
 * direct path, else the server as soon as the uplink is up, by a stream where that is known to the other side and else in packets,
 * and what became of it is counted and said.
 */
import { sanitizeForLog } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { AbortCode, ALPN_V2 } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { BRIDGE_CHUNK_BYTES, SESSION_CHUNK_BYTES, type Uplink } from "../uplink/mod.ts";
import { ANSWERS_MAX, CONNECTIONS_MAX, DATAGRAM_ONLY_MS } from "./limits.ts";
import type { LocalClient, LocalEnd, LocalRefusal, LocalWay } from "./local_client.ts";
import { LocalConnection, type LocalContext } from "./local_connection.ts";
import type { LocalStream } from "./local_stream.ts";
import type { AgentMetric } from "./metrics.ts";
import type { PacketEnd } from "./packet_end.ts";

const REFUSAL_COUNTER: Readonly<Record<LocalRefusal, AgentMetric>> = {
  "denied": "denied",
  "unknown-service": "unknownService",
  "no-connector": "noConnector",
  "datagram-only": "datagramOnly",
  "backend-refused": "backendRefused",
  "backend-timeout": "backendTimeout",
  "busy": "busy",
  "no-uplink": "noUplink",
  "no-answer": "noAnswer",
};

/** Client-initiated bidirectional streams are 0, 4, 8, … (RFC 9000 §2.1). */
const STREAM_STEP = 4;

/** Where there may be direct paths. */
export interface DirectWays {
  /** A direct path that carries to the service now; null: the server's is the way. */
  take(service: string, nowMs: number): Connection | null;
  /** The service has accepted a connection: it is one. */
  accepted(service: string, nowMs: number): void;
}

/** The streams of one connection. */
interface OpenStreams {
  readonly byStream: Map<number, LocalStream>;
  next: number;
}

export interface LocalConnectionsOptions {
  readonly plane: Plane;
  readonly uplink: Uplink;
  readonly packets: PacketEnd;
  readonly uplinkWaitMs: number;
  readonly count: (metric: AgentMetric, amount: number) => void;
  /** How many there are has changed. */
  readonly onSize: (size: number) => void;
}

export class LocalConnections {
  readonly #options: LocalConnectionsOptions;
  readonly #context: LocalContext;
  readonly #all = new Set<LocalConnection>();
  readonly #streams = new Map<Connection, OpenStreams>();
  /** Null: there are no direct paths. */
  direct: DirectWays | null = null;
  /** What the last open of each service was answered: a result's name. */
  readonly #answers = new Map<string, string>();
  /** Services whose connectors take packets only, and until when that is believed. */
  readonly #datagramOnly = new Map<string, number>();

  constructor(options: LocalConnectionsOptions) {
    this.#options = options;
    const { plane, packets, count } = options;
    const { layout, engine, reactor } = plane.platform;
    const onBytes = (fromSocket: boolean, bytes: number) => count(fromSocket ? "bytesSent" : "bytesReceived", bytes);
    this.#context = {
      streams: { reactor, engine, chunkAt: layout.reserve(BRIDGE_CHUNK_BYTES), onBytes },
      sessions: { reactor, packets, stack: packets.stack, chunkAt: layout.reserve(SESSION_CHUNK_BYTES), onBytes },
      uplinkWaitMs: options.uplinkWaitMs,
      onAccepted: ({ service }) => {
        this.#remember(this.#answers, service, "accepted");
        this.direct?.accepted(service, reactor.nowMs);
      },
      onRefused: (connection, code, detail) => this.#onRefused(connection, code, detail),
      onRetreat: (connection) => this.#retreat(connection, reactor.nowMs),
      onOver: (connection, end) => this.#onOver(connection, end),
    };
  }

  get size(): number {
    return this.#all.size;
  }

  get isFull(): boolean {
    return this.#all.size >= CONNECTIONS_MAX;
  }

  all(): Iterable<LocalConnection> {
    return this.#all;
  }

  /** What the last open of the service was answered; "" when there was none. */
  answerOf(service: string): string {
    return this.#answers.get(service) ?? "";
  }

  /** Takes a client to the service. The client hears what became of it, perhaps before this returns. */
  begin(service: string, port: number, client: LocalClient, nowMs: number): LocalWay {
    const stream = new LocalConnection(this.#context, service, port, client, nowMs);
    this.#all.add(stream);
    this.#options.onSize(this.#all.size);
    const direct = this.direct?.take(service, nowMs) ?? null;
    if (direct !== null) this.#openStream(stream, direct, true, nowMs);
    else this.#askServer(stream, nowMs);
    return stream;
  }

  /** The server is reached. */
  onUp(connection: Connection, nowMs: number): void {
    this.#streams.set(connection, { byStream: new Map(), next: this.#options.uplink.firstStream });
    this.#datagramOnly.clear();
    for (const local of [...this.#all]) this.#open(local, connection, nowMs);
  }

  /** A connection to a connector stands. */
  onDirect(connection: Connection): void {
    this.#streams.set(connection, { byStream: new Map(), next: 0 });
  }

  /** Streams end with their connection, but for those that can go by the server; what goes in packets goes on over the next one. */
  onDown(connection: Connection, nowMs: number): void {
    this.#streams.delete(connection);
    for (const local of [...this.#all]) {
      if (local.connection !== connection) continue;
      if (local.canRetreat) this.#retreat(local, nowMs);
      else local.connectionLost();
    }
  }

  /** The direct path may not carry: what has given it nothing yet goes by the server. */
  retreat(connection: Connection, nowMs: number): void {
    for (const local of [...this.#all]) if (local.connection === connection && local.canRetreat) this.#retreat(local, nowMs);
  }

  /** Streams that the connection has now. */
  sizeOn(connection: Connection): number {
    return this.#streams.get(connection)?.byStream.size ?? 0;
  }

  /** The server has answered a registration: who goes in packets may not get what is denied. */
  onRegistration(): void {
    for (const local of [...this.#all]) {
      const report = local.isInPackets ? this.#options.packets.registrationOf(local.service) : null;
      if (report?.state === "denied") local.denied(report.why);
    }
  }

  onReadable(connection: Connection, stream: number): void {
    this.#streams.get(connection)?.byStream.get(stream)?.onReadable();
  }

  onWritable(connection: Connection, stream: number): void {
    this.#streams.get(connection)?.byStream.get(stream)?.onWritable();
  }

  /** A new stream of the connection for something else; null when it allows none. */
  takeStream(connection: Connection): number | null {
    const streams = this.#streams.get(connection);
    if (streams === undefined || connection.engine.streamsLeft() <= 0) return null;
    const stream = streams.next;
    streams.next += STREAM_STEP;
    return stream;
  }

  /** Ends those that have nobody to talk to yet. */
  abortWaiting(): void {
    for (const stream of [...this.#all]) if (stream.isWaiting) stream.abort(AbortCode.shuttingDown);
  }

  abortAll(): void {
    for (const stream of [...this.#all]) stream.abort(AbortCode.shuttingDown);
  }

  #open(local: LocalConnection, connection: Connection, nowMs: number): void {
    if (!local.isWaiting) return;
    const takesStreams = connection.engine.applicationProtocol() === ALPN_V2 &&
      (this.#datagramOnly.get(local.service) ?? 0) <= nowMs;
    if (!takesStreams) return local.openSession(nowMs);
    this.#openStream(local, connection, false, nowMs);
  }

  #askServer(local: LocalConnection, nowMs: number): void {
    const { connection } = this.#options.uplink;
    if (connection !== null) this.#open(local, connection, nowMs);
  }

  #openStream(local: LocalConnection, connection: Connection, isDirect: boolean, nowMs: number): void {
    const streams = this.#streams.get(connection);
    if (!local.isWaiting || streams === undefined) return;
    const stream = streams.next;
    if (connection.engine.streamsLeft() > 0) streams.next += STREAM_STEP;
    this.#options.count(isDirect ? "streamsDirect" : "streamsRelayed", 1);
    // What the client says is kept until it is known that it can go this way.
    const isEager = !isDirect && this.#answers.get(local.service) === "accepted";
    const opened = local.openStream({ connection, stream, isEager, isDirect }, nowMs);
    const isStillThere = local.connection === connection && local.stream === stream;
    if (isStillThere && local.state !== "over") streams.byStream.set(stream, opened);
  }

  #retreat(local: LocalConnection, nowMs: number): void {
    this.#forget(local);
    local.retreat(nowMs);
    this.#options.count("streamsRetreated", 1);
    this.#askServer(local, nowMs);
  }

  #forget({ connection, stream }: LocalConnection): void {
    if (connection !== null) this.#streams.get(connection)?.byStream.delete(stream);
  }

  #onRefused(local: LocalConnection, code: LocalRefusal, detail: string): void {
    const { nowMs } = this.#options.plane.platform.reactor;
    if (code === "datagram-only") this.#remember(this.#datagramOnly, local.service, nowMs + DATAGRAM_ONLY_MS);
    // It asks again, in packets.
    if (local.state === "asked") {
      this.#forget(local);
      return;
    }
    this.#options.count(REFUSAL_COUNTER[code], 1);
    this.#remember(this.#answers, local.service, code);
    const why = sanitizeForLog(detail, 200);
    const { plane } = this.#options;
    plane.log("warn", "stream-refused", `No connection to ${local.service}: ${code}${why === "" ? "" : ` (${why})`}`, {
      service: local.service,
      code,
    });
  }

  /** Local programs may name what they like, so little is remembered. */
  #remember<T>(map: Map<string, T>, service: string, value: T): void {
    const [oldest] = map.keys();
    if (map.size >= ANSWERS_MAX && !map.has(service) && oldest !== undefined) map.delete(oldest);
    map.set(service, value);
  }

  #onOver(local: LocalConnection, end: LocalEnd): void {
    this.#all.delete(local);
    this.#forget(local);
    this.#options.onSize(this.#all.size);
    this.#options.plane.log("debug", "stream-closed", "A local connection ended", { service: local.service, end });
  }
}
