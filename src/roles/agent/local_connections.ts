/**
 * All local TCP connections that are on their way to services or joined to them: each asks as soon as the uplink is up, by a stream
 * where that is known to the other side and else in packets, and what became of it is counted and said.
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
  readonly #byStream = new Map<number, LocalStream>();
  /** What the last open of each service was answered: a result's name. */
  readonly #answers = new Map<string, string>();
  /** Services whose connectors take packets only, and until when that is believed. */
  readonly #datagramOnly = new Map<string, number>();
  #nextStream = 0;

  constructor(options: LocalConnectionsOptions) {
    this.#options = options;
    const { plane, packets, count } = options;
    const { layout, engine, reactor } = plane.platform;
    const onBytes = (fromSocket: boolean, bytes: number) => count(fromSocket ? "bytesSent" : "bytesReceived", bytes);
    this.#context = {
      streams: { reactor, engine, chunkAt: layout.reserve(BRIDGE_CHUNK_BYTES), onBytes },
      sessions: { reactor, packets, stack: packets.stack, chunkAt: layout.reserve(SESSION_CHUNK_BYTES), onBytes },
      uplinkWaitMs: options.uplinkWaitMs,
      onAccepted: ({ service }) => this.#remember(this.#answers, service, "accepted"),
      onRefused: (connection, code, detail) => this.#onRefused(connection, code, detail),
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
    const { connection } = this.#options.uplink;
    if (connection !== null) this.#open(stream, connection, nowMs);
    return stream;
  }

  onUp(connection: Connection, nowMs: number): void {
    this.#nextStream = this.#options.uplink.firstStream;
    this.#datagramOnly.clear();
    for (const local of [...this.#all]) this.#open(local, connection, nowMs);
  }

  /** Streams end with their connection; what goes in packets goes on over the next one. */
  onDown(): void {
    this.#byStream.clear();
    for (const local of [...this.#all]) if (!local.isWaiting && !local.isInPackets) local.connectionLost();
  }

  /** The server has answered a registration: who goes in packets may not get what is denied. */
  onRegistration(): void {
    for (const local of [...this.#all]) {
      const report = local.isInPackets ? this.#options.packets.registrationOf(local.service) : null;
      if (report?.state === "denied") local.denied(report.why);
    }
  }

  onReadable(stream: number): void {
    this.#byStream.get(stream)?.onReadable();
  }

  onWritable(stream: number): void {
    this.#byStream.get(stream)?.onWritable();
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
    const stream = this.#nextStream;
    if (connection.engine.streamsLeft() > 0) this.#nextStream += STREAM_STEP;
    // What the client says is kept until it is known that it can go this way.
    const isEager = this.#answers.get(local.service) === "accepted";
    const opened = local.openStream(connection, stream, isEager, nowMs);
    if (local.stream === stream && local.state !== "over") this.#byStream.set(stream, opened);
  }

  #onRefused(local: LocalConnection, code: LocalRefusal, detail: string): void {
    const { nowMs } = this.#options.plane.platform.reactor;
    if (code === "datagram-only") this.#remember(this.#datagramOnly, local.service, nowMs + DATAGRAM_ONLY_MS);
    // It asks again, in packets.
    if (local.state === "asked") {
      this.#byStream.delete(local.stream);
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
    this.#byStream.delete(local.stream);
    this.#options.onSize(this.#all.size);
    this.#options.plane.log("debug", "stream-closed", "A local connection ended", { service: local.service, end });
  }
}
