/**
 * The small messages that stand before a stream's bytes: read exactly, so that what follows stays in the engine and under its
 * flow control, and written whole or not at all.
 */
import { type Engine, EngineError } from "./engine.ts";
import type { Connection } from "./connection.ts";

/** `need`: wait for more. `ended`: the stream's end came first. `reset`: the peer aborted, or the stream is gone. */
export type HeaderProgress = "complete" | "need" | "ended" | "reset";

/** Collects the first bytes of one stream. */
export class HeaderReader {
  readonly bytes: Uint8Array;
  length = 0;
  /** The stream's end stands right behind what was read. */
  isAtEnd = false;
  readonly #engine: Engine;
  readonly #scratchAt: number;

  /** `scratchAt` is the offset of `bytesMax` bytes of the arena that are used within one call only. */
  constructor(engine: Engine, scratchAt: number, bytesMax: number) {
    this.#engine = engine;
    this.#scratchAt = scratchAt;
    this.bytes = new Uint8Array(bytesMax);
  }

  /** Reads until `want` bytes are there, and not one more. */
  fill(connection: Connection, stream: number, want: number): HeaderProgress {
    while (this.length < want) {
      if (this.isAtEnd) return "ended";
      const count = connection.engine.streamRecv(stream, this.#scratchAt, Math.min(want, this.bytes.length) - this.length);
      if (count === EngineError.done) return "need";
      if (count < 0) return "reset";
      this.isAtEnd = this.#engine.streamFin;
      connection.touch();
      this.bytes.set(this.#engine.arena.bytes.subarray(this.#scratchAt, this.#scratchAt + count), this.length);
      this.length += count;
    }
    return "complete";
  }
}

/** `wait`: no room now, the stream is named by `streamWritableNext` when there is. */
export type SendProgress = "sent" | "wait" | "limit" | "failed";

/**
 * Sends the `length` bytes at `offset` (and the end, if `fin`) on a stream, all or nothing; opens the stream if it is new.
 * `limit`: the peer allows no further stream now.
 */
export function sendWhole(connection: Connection, stream: number, offset: number, length: number, fin: boolean): SendProgress {
  const { engine } = connection;
  let room = engine.streamCapacity(stream);
  if (room === EngineError.invalidStreamState) {
    const opened = engine.streamSend(stream, offset, 0, false);
    if (opened < 0) return opened === EngineError.streamLimit ? "limit" : "failed";
    room = engine.streamCapacity(stream);
  }
  if (room < 0) return "failed";
  if (room < length) {
    return engine.streamWantWrite(stream, length) < 0 ? "failed" : "wait";
  }
  const sent = engine.streamSend(stream, offset, length, fin);
  connection.touch();
  return sent === length ? "sent" : "failed";
}

/** Aborts both directions of a stream with an application code. */
export function abortStream(connection: Connection, stream: number, code: number): void {
  connection.engine.streamShutdown(stream, "read", code);
  connection.engine.streamShutdown(stream, "write", code);
  connection.touch();
}
