/**
 * What one stream of signalling may take of the server: one that says half a message holds memory until the other half comes.
 * Streams of a peer, bytes held and time are bounded; so are malformed messages, after which nothing is heard on the stream.
 */
import { Timer } from "../../base/mod.ts";
import { abortStream, type Connection } from "../../core/quic/mod.ts";
import { SignalReceiver } from "../../core/signal/mod.ts";
import { AbortCode, STREAM_HEADER_TIMEOUT_MS } from "../../core/wire/mod.ts";
import type { Deferred, Reactor } from "../../io/mod.ts";
import {
  SIGNAL_HELD_BYTES_MAX,
  SIGNAL_HELD_UNREGISTERED_BYTES_MAX,
  SIGNAL_MALFORMED_PER_STREAM_MAX,
  SIGNAL_STREAMS_PER_PEER_MAX,
} from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer, PeerStream } from "./peer.ts";

export interface SignalStreamContext {
  readonly reactor: Reactor;
  readonly receiverOptions: { readonly legacy: boolean };
  readonly isRegistered: (peer: Peer) => boolean;
  /** Reads the stream. Returns whether there may be more, after the others have had their turn. */
  readonly read: (stream: SignalStream, connection: Connection, nowMs: number) => boolean;
  /** The stream is over for us: what goes out must go another way. */
  readonly onGone: (stream: SignalStream) => void;
  readonly onRefused: (peer: Peer, metric: ServerMetric, why: string) => void;
  /** Bytes of half messages, all peers together. */
  heldBytes: number;
}

export class SignalStream implements PeerStream, Deferred {
  isDeferred = false;
  readonly peer: Peer;
  readonly stream: number;
  readonly receiver: SignalReceiver;
  readonly #context: SignalStreamContext;
  readonly #timer = new Timer(() => this.#refuse("signalStreamsLate", AbortCode.malformed, "half a message is late"));
  #held = 0;
  #malformed = 0;

  constructor(context: SignalStreamContext, peer: Peer, stream: number) {
    this.#context = context;
    this.peer = peer;
    this.stream = stream;
    this.receiver = new SignalReceiver(context.receiverOptions);
    peer.streams.set(stream, this);
  }

  /** Whether the peer may have this one too. One that may not is aborted. */
  admit(): boolean {
    // Those that we opened are ours to count.
    if ((this.stream & 1) === 1) return true;
    const max = this.#context.isRegistered(this.peer) ? SIGNAL_STREAMS_PER_PEER_MAX : 1;
    let count = 0;
    for (const other of this.peer.streams.values()) {
      if (other instanceof SignalStream && (other.stream & 1) === 0) count++;
    }
    if (count <= max) return true;
    this.#refuse("signalStreamsMany", AbortCode.aborted, "too many streams");
    return false;
  }

  onReadable(connection: Connection, nowMs: number): void {
    if (this.#context.read(this, connection, nowMs)) this.#context.reactor.defer(this);
  }

  resume(nowMs: number): void {
    const { connection } = this.peer;
    if (this.peer.streams.get(this.stream) === this && !connection.isFreed) this.onReadable(connection, nowMs);
  }

  onWritable(): void {
    this.peer.signals?.flush();
  }

  connectionLost(): void {
    this.leave();
  }

  /** Notes what is held of the message that has not ended, after one read. False when the stream was aborted. */
  noteHeld(hasMessages: boolean, nowMs: number): boolean {
    const { reactor, isRegistered } = this.#context;
    const { held } = this.receiver;
    const wasHeld = this.#held;
    this.#hold(held);
    if (held === 0) reactor.cancelTimer(this.#timer);
    else if (wasHeld === 0 || hasMessages) reactor.setTimer(this.#timer, nowMs + STREAM_HEADER_TIMEOUT_MS);
    const isOver = this.#context.heldBytes > SIGNAL_HELD_BYTES_MAX ||
      held > SIGNAL_HELD_UNREGISTERED_BYTES_MAX && !isRegistered(this.peer);
    if (isOver && held > 0) this.#refuse("signalStreamsHeld", AbortCode.aborted, "too much of a message is held");
    return !isOver || held === 0;
  }

  /** Counts a malformed message. False when it was one too many and the stream was aborted. */
  noteMalformed(): boolean {
    if (++this.#malformed < SIGNAL_MALFORMED_PER_STREAM_MAX) return true;
    this.#refuse("signalStreamsMalformed", AbortCode.malformed, "too many malformed messages");
    return false;
  }

  /** The stream is over. */
  leave(): void {
    this.#context.reactor.cancelTimer(this.#timer);
    this.#hold(0);
    if (this.peer.streams.get(this.stream) === this) this.peer.streams.delete(this.stream);
  }

  #hold(bytes: number): void {
    this.#context.heldBytes += bytes - this.#held;
    this.#held = bytes;
  }

  #refuse(metric: ServerMetric, code: AbortCode, why: string): void {
    this.leave();
    this.#context.onRefused(this.peer, metric, why);
    abortStream(this.peer.connection, this.stream, code);
    this.#context.onGone(this);
  }
}
