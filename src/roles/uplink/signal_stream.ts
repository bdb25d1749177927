/**
 * One conversation of a client with its server about direct paths (WIRE 6.1): what comes on a stream becomes messages, what is to be
 * said waits until the stream takes it.
 */
import type { ServiceIdOptions } from "../../base/mod.ts";
import { type Connection, type Engine, EngineError } from "../../core/quic/mod.ts";
import { SignalReceiver } from "../../core/signal/mod.ts";
import { encodeSignal, type Malformed, SIGNAL_ENCODED_MAX_BYTES, type SignalMessage } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { SIGNAL_QUEUE_BYTES_MAX, SIGNAL_TURN_BYTES } from "./limits.ts";

/** What all signalling streams of a client share. */
export interface SignalMemory {
  readonly engine: Engine;
  /** Offset of bytes that are used within one call only. */
  readonly scratchAt: number;
  readonly encoded: Uint8Array;
  readonly receiverOptions: ServiceIdOptions;
}

export function signalMemory({ platform }: Plane, allowLegacyServiceIds: boolean): SignalMemory {
  return {
    engine: platform.engine,
    scratchAt: platform.layout.reserve(Math.max(SIGNAL_TURN_BYTES, SIGNAL_ENCODED_MAX_BYTES)),
    encoded: new Uint8Array(SIGNAL_ENCODED_MAX_BYTES),
    receiverOptions: { legacy: allowLegacyServiceIds },
  };
}

export class SignalStream {
  readonly connection: Connection;
  readonly stream: number;
  readonly onReadable: (nowMs: number) => void;
  readonly #memory: SignalMemory;
  readonly #receiver: SignalReceiver;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;

  /** `first`: what was read of the stream already. */
  constructor(
    memory: SignalMemory,
    connection: Connection,
    stream: number,
    first: Uint8Array,
    onReadable: (stream: SignalStream, nowMs: number) => void,
  ) {
    this.#memory = memory;
    this.connection = connection;
    this.stream = stream;
    this.#receiver = new SignalReceiver(memory.receiverOptions);
    if (first.length > 0) this.#receiver.handle(first);
    this.onReadable = (nowMs) => onReadable(this, nowMs);
  }

  /** Reads what is there. Returns false when nothing more will come. */
  read(take: (message: SignalMessage | Malformed) => void): boolean {
    const { engine, scratchAt } = this.#memory;
    for (;;) {
      const count = this.connection.engine.streamRecv(this.stream, scratchAt, SIGNAL_TURN_BYTES);
      if (count === EngineError.done) return true;
      this.connection.touch();
      if (count < 0) return false;
      const isEnd = engine.streamFin;
      const bytes = engine.arena.bytes.slice(scratchAt, scratchAt + count);
      for (const message of this.#receiver.handle(bytes)) take(message);
      if (isEnd) return false;
    }
  }

  /** False when there is no room. */
  send(message: SignalMessage): boolean {
    const length = encodeSignal(this.#memory.encoded, 0, message);
    if (this.#queuedBytes + length > SIGNAL_QUEUE_BYTES_MAX) return false;
    this.#queue.push(this.#memory.encoded.slice(0, length));
    this.#queuedBytes += length;
    this.onWritable();
    return true;
  }

  onWritable(): void {
    const { engine } = this.connection;
    const { scratchAt } = this.#memory;
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      this.#memory.engine.arena.bytes.set(first, scratchAt);
      const sent = engine.streamSend(this.stream, scratchAt, first.length, false);
      this.connection.touch();
      if (sent < 0 && sent !== EngineError.done) {
        this.#queue = [];
        this.#queuedBytes = 0;
        return;
      }
      const taken = Math.max(0, sent);
      this.#queuedBytes -= taken;
      if (taken < first.length) {
        this.#queue[0] = first.subarray(taken);
        engine.streamWantWrite(this.stream, 1);
        return;
      }
      this.#queue.shift();
    }
  }
}
