/**
 * The first byte of a stream that a client opened on a ztna-v2 connection says what it is for (WIRE 7.1). This reads that byte,
 * waits for it no longer than a header may take, and hands the stream over.
 */
import { Timer } from "../../base/mod.ts";
import { abortStream, type Connection, type Engine, HeaderReader } from "../../core/quic/mod.ts";
import { AbortCode, classifyStream, OPEN_MAX_BYTES, STREAM_HEADER_TIMEOUT_MS, type StreamPurpose } from "../../core/wire/mod.ts";
import type { Reactor } from "../../io/mod.ts";
import type { Peer, PeerStream } from "./peer.ts";

export interface StreamHeadContext {
  readonly engine: Engine;
  readonly reactor: Reactor;
  /** Offset of {@linkcode OPEN_MAX_BYTES} bytes that are used within one call only. */
  readonly scratchAt: number;
  /** Takes the stream over, with what was read of it. False when nobody does: it is aborted then. */
  readonly begin: (purpose: StreamPurpose, head: StreamHead, nowMs: number) => boolean;
  readonly onMalformed: (peer: Peer, why: string) => void;
}

export class StreamHead implements PeerStream {
  readonly peer: Peer;
  readonly stream: number;
  readonly openedMs: number;
  /** Holds the first byte when the stream is handed over. */
  readonly header: HeaderReader;
  readonly #context: StreamHeadContext;
  readonly #timer: Timer;

  constructor(context: StreamHeadContext, peer: Peer, stream: number, nowMs: number) {
    this.#context = context;
    this.peer = peer;
    this.stream = stream;
    this.openedMs = nowMs;
    this.header = new HeaderReader(context.engine, context.scratchAt, OPEN_MAX_BYTES);
    this.#timer = new Timer(() => this.#malformed("late"));
    context.reactor.setTimer(this.#timer, nowMs + STREAM_HEADER_TIMEOUT_MS);
  }

  onReadable(connection: Connection, nowMs: number): void {
    const progress = this.header.fill(connection, this.stream, 1);
    if (progress === "need") return;
    if (progress !== "complete") return this.#malformed(progress === "ended" ? "truncated" : "reset");
    this.#leave();
    if (this.#context.begin(classifyStream(this.header.bytes[0] ?? 0xff), this, nowMs)) return;
    this.#malformed("first-byte");
  }

  onWritable(): void {}

  connectionLost(): void {
    this.#leave();
  }

  #malformed(why: string): void {
    this.#leave();
    this.#context.onMalformed(this.peer, why);
    abortStream(this.peer.connection, this.stream, AbortCode.malformed);
  }

  #leave(): void {
    this.#context.reactor.cancelTimer(this.#timer);
    if (this.peer.streams.get(this.stream) === this) this.peer.streams.delete(this.stream);
  }
}
