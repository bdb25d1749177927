/**
 * All local TCP connections that are on their way to services or joined to them: each gets a stream as soon as the uplink is up, and
 * what became of it is counted and said.
 */
import { sanitizeForLog } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { AbortCode } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { BRIDGE_CHUNK_BYTES, type Uplink } from "../uplink/mod.ts";
import { CONNECTIONS_MAX } from "./limits.ts";
import type { LocalClient, LocalEnd, LocalRefusal, LocalWay } from "./local_client.ts";
import { type LocalContext, LocalStream } from "./local_stream.ts";
import type { AgentMetric } from "./metrics.ts";

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

export interface LocalStreamsOptions {
  readonly plane: Plane;
  readonly uplink: Uplink;
  readonly uplinkWaitMs: number;
  readonly count: (metric: AgentMetric, amount: number) => void;
  /** How many there are has changed. */
  readonly onSize: (size: number) => void;
}

export class LocalStreams {
  readonly #options: LocalStreamsOptions;
  readonly #context: LocalContext;
  readonly #all = new Set<LocalStream>();
  readonly #byStream = new Map<number, LocalStream>();
  /** What the last open of each service was answered: a result's name. */
  readonly #answers = new Map<string, string>();
  #nextStream = 0;

  constructor(options: LocalStreamsOptions) {
    this.#options = options;
    const { plane, count } = options;
    const { layout, engine, reactor } = plane.platform;
    this.#context = {
      bridge: {
        reactor,
        engine,
        chunkAt: layout.reserve(BRIDGE_CHUNK_BYTES),
        onBytes: (fromSocket, bytes) => count(fromSocket ? "bytesSent" : "bytesReceived", bytes),
      },
      reactor,
      uplinkWaitMs: options.uplinkWaitMs,
      onAccepted: ({ service }) => void this.#answers.set(service, "accepted"),
      onRefused: (stream, code, detail) => this.#onRefused(stream, code, detail),
      onOver: (stream, end) => this.#onOver(stream, end),
    };
  }

  get size(): number {
    return this.#all.size;
  }

  get isFull(): boolean {
    return this.#all.size >= CONNECTIONS_MAX;
  }

  all(): Iterable<LocalStream> {
    return this.#all;
  }

  /** What the last open of the service was answered; "" when there was none. */
  answerOf(service: string): string {
    return this.#answers.get(service) ?? "";
  }

  /** Takes a client to the service. The client hears what became of it, perhaps before this returns. */
  begin(service: string, _port: number, client: LocalClient, nowMs: number): LocalWay {
    const stream = new LocalStream(this.#context, service, client, nowMs);
    this.#all.add(stream);
    this.#options.onSize(this.#all.size);
    const { connection } = this.#options.uplink;
    if (connection !== null) this.#open(stream, connection, nowMs);
    return stream;
  }

  onUp(connection: Connection, nowMs: number): void {
    this.#nextStream = this.#options.uplink.firstStream;
    for (const stream of [...this.#all]) this.#open(stream, connection, nowMs);
  }

  onDown(): void {
    for (const stream of [...this.#byStream.values()]) stream.connectionLost();
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

  #open(local: LocalStream, connection: Connection, nowMs: number): void {
    if (!local.isWaiting) return;
    const stream = this.#nextStream;
    if (connection.engine.streamsLeft() > 0) this.#nextStream += STREAM_STEP;
    this.#byStream.set(stream, local);
    local.open(connection, stream, nowMs);
  }

  #onRefused(local: LocalStream, code: LocalRefusal, detail: string): void {
    this.#options.count(REFUSAL_COUNTER[code], 1);
    this.#answers.set(local.service, code);
    const why = sanitizeForLog(detail, 200);
    const { plane } = this.#options;
    plane.log("warn", "stream-refused", `No connection to ${local.service}: ${code}${why === "" ? "" : ` (${why})`}`, {
      service: local.service,
      code,
    });
  }

  #onOver(local: LocalStream, end: LocalEnd): void {
    this.#all.delete(local);
    if (this.#byStream.get(local.stream) === local) this.#byStream.delete(local.stream);
    this.#options.onSize(this.#all.size);
    this.#options.plane.log("debug", "stream-closed", "A local connection ended", { service: local.service, end });
  }
}
