/**
 * Moves bytes from one stream to another: only what the reader has room for and what the agent's limits allow, so that nothing is
 * buffered here. One pump serves all streams; it runs within one call and keeps nothing but what the last run came to.
 */
import { type Connection, type Engine, EngineError } from "../../core/quic/mod.ts";
import type { PeerLimiter } from "../../core/ratelimit/mod.ts";
import { STREAM_CHUNK_BYTES, STREAM_TURN_BYTES } from "./limits.ts";

/**
 * What a run ended with: `ended`, the end was passed on; `idle`, an event will say when there is more; `more`, the others have their
 * turn; `paced`, the limits allow nothing more now; `deaf`, the reader wants nothing more; `broken`, the stream was aborted.
 */
export type Pumped = "ended" | "idle" | "more" | "paced" | "deaf" | "broken";

export class StreamPump {
  /** Bytes of the last run. */
  moved = 0;
  readonly #engine: Engine;
  readonly #chunkAt: number;

  /** `chunkAt` is the offset of {@linkcode STREAM_CHUNK_BYTES} bytes that are used within one call only. */
  constructor(engine: Engine, chunkAt: number) {
    this.#engine = engine;
    this.#chunkAt = chunkAt;
  }

  /** With `isPaced` nothing is moved, but an end and a reset are seen all the same. */
  run(
    from: Connection,
    fromStream: number,
    to: Connection,
    toStream: number,
    limiter: PeerLimiter,
    isPaced: boolean,
    nowMs: number,
  ): Pumped {
    this.moved = 0;
    for (;;) {
      const room = to.engine.streamCapacity(toStream);
      if (room < 0) return "deaf";
      if (room === 0) to.engine.streamWantWrite(toStream, 1);
      const allowed = isPaced ? 0 : limiter.bytesAllowed(nowMs);
      // Without room nothing is read, but a reset or a bare end must be seen all the same.
      const count = from.engine.streamRecv(fromStream, this.#chunkAt, Math.min(room, allowed, STREAM_CHUNK_BYTES));
      if (count === EngineError.done) return "idle";
      if (count < 0) return "broken";
      const isEnd = this.#engine.streamFin;
      from.touch();
      if (count > 0) {
        if (to.engine.streamSend(toStream, this.#chunkAt, count, isEnd) !== count) return "broken";
        to.touch();
        limiter.spendBytes(count);
        this.moved += count;
        if (isEnd) return "ended";
      } else if (isEnd) return this.passEnd(to, toStream);
      if (room === 0) return "idle";
      if (allowed === 0) return "paced";
      if (this.moved >= STREAM_TURN_BYTES) return "more";
    }
  }

  /** Ends a stream that has nothing more to say. */
  passEnd(to: Connection, toStream: number): Pumped {
    if (to.engine.streamSend(toStream, this.#chunkAt, 0, true) < 0) return "broken";
    to.touch();
    return "ended";
  }
}
