/**
 * Signalling messages on their way to one peer: they leave in order on one stream, whole or not at all, and wait here while the
 * peer's window is closed. What does not fit in the bound is dropped: a session that is not told in time is over anyway.
 */
import { type Engine, EngineError } from "../../core/quic/mod.ts";
import { SIGNAL_QUEUE_BYTES_MAX } from "./limits.ts";
import type { Peer } from "./peer.ts";

export class SignalOutbox {
  readonly #peer: Peer;
  readonly #engine: Engine;
  /** Offset of room for one message, used within one call only. */
  readonly #scratchAt: number;
  /** Called with the number of a stream that we opened for it. */
  readonly #onOpened: (stream: number) => void;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  /** Bytes of the first message that have left. */
  #sent = 0;
  #stream = -1;

  constructor(peer: Peer, engine: Engine, scratchAt: number, onOpened: (stream: number) => void) {
    this.#peer = peer;
    this.#engine = engine;
    this.#scratchAt = scratchAt;
    this.#onOpened = onOpened;
  }

  /** The peer speaks on this stream: what comes next goes there, but for a message that has begun to leave elsewhere. */
  heardOn(stream: number): void {
    if (this.#sent === 0) this.#stream = stream;
  }

  /** The peer takes nothing on this stream any more. */
  lost(stream: number): void {
    if (this.#stream !== stream) return;
    this.#stream = -1;
    // Half a message is lost; the other half would only confuse.
    if (this.#sent > 0) this.#drop();
  }

  /** Queues one encoded message. False when there is no room. */
  send(message: Uint8Array): boolean {
    if (this.#queuedBytes + message.length > SIGNAL_QUEUE_BYTES_MAX) return false;
    this.#queue.push(message);
    this.#queuedBytes += message.length;
    this.flush();
    return true;
  }

  /** Sends what the peer has room for. */
  flush(): void {
    const { connection } = this.#peer;
    for (let message = this.#queue[0]; message !== undefined; message = this.#queue[0]) {
      if (this.#stream < 0) {
        this.#stream = this.#peer.takeStream();
        if (this.#stream < 0) return this.#dropAll();
        this.#onOpened(this.#stream);
      }
      const rest = message.subarray(this.#sent);
      this.#engine.arena.bytes.set(rest, this.#scratchAt);
      const sent = connection.engine.streamSend(this.#stream, this.#scratchAt, rest.length, false);
      if (sent < 0 && sent !== EngineError.done) {
        this.lost(this.#stream);
        if (this.#queue[0] === message) this.#drop();
        continue;
      }
      connection.touch();
      if (sent > 0) this.#sent += sent;
      if (this.#sent < message.length) {
        connection.engine.streamWantWrite(this.#stream, 1);
        return;
      }
      this.#drop();
    }
  }

  #drop(): void {
    this.#queuedBytes -= this.#queue.shift()?.length ?? 0;
    this.#sent = 0;
  }

  #dropAll(): void {
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#sent = 0;
  }
}
