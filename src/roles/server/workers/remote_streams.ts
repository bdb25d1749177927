/**
 * The streams of one connection that another worker carries, as worker 0 sees them: what came and was not read, and what may go, both
 * bounded by the credit that was given.
 */
import { type Engine, EngineError } from "../../../core/quic/mod.ts";
import { LINK_CONNECTION_BYTES_MAX, LINK_STREAM_BYTES_MAX } from "../limits.ts";
import type { Link } from "./link.ts";
import { RecordKind, STREAM_BEGINS, STREAM_ENDS, wordBytes } from "./records.ts";

/** A credit is given back in parts of the window, not byte by byte. */
const CREDIT_BYTES_MIN = LINK_STREAM_BYTES_MAX / 4;

export class RemoteStreams {
  /** Streams that we opened. */
  opened = 0;
  readonly #engine: Engine;
  readonly #link: Link;
  readonly #connection: number;
  readonly #streams = new Map<number, RemoteStream>();
  #roomBytes = LINK_CONNECTION_BYTES_MAX;

  constructor(engine: Engine, link: Link, connection: number) {
    this.#engine = engine;
    this.#link = link;
    this.#connection = connection;
  }

  // What came from the other worker.

  /** Bytes of a stream, and perhaps its end. Returns whether somebody should read. */
  handleStream(stream: number, bytes: Uint8Array, begins: boolean, ends: boolean): boolean {
    let entry = this.#streams.get(stream);
    if (entry === undefined) {
      if (!begins) {
        this.#credit(stream, bytes.length);
        return false;
      }
      entry = new RemoteStream();
      this.#streams.set(stream, entry);
    }
    if (entry.isReadOver) {
      this.#credit(stream, bytes.length);
      return false;
    }
    if (bytes.length > 0) entry.chunks.push(bytes);
    entry.isEnd ||= ends;
    return true;
  }

  handleReset(stream: number, code: number): boolean {
    const entry = this.#streams.get(stream);
    if (entry === undefined || entry.isReadOver) return false;
    entry.resetCode = code;
    this.#discard(stream, entry);
    return true;
  }

  /** The other worker has passed on so many bytes. */
  handleCredit(stream: number, bytes: number): void {
    this.#roomBytes += bytes;
    const entry = this.#streams.get(stream);
    if (entry !== undefined) entry.roomBytes += bytes;
  }

  handleStopped(stream: number): boolean {
    const entry = this.#streams.get(stream);
    if (entry === undefined || entry.isSendOver) return false;
    entry.isStopped = true;
    entry.wantsBytes = 0;
    return true;
  }

  handleGone(stream: number): void {
    const entry = this.#streams.get(stream);
    if (entry === undefined) return;
    entry.isSendOver = true;
    entry.isGone = true;
    this.#forget(stream, entry);
  }

  /** Streams that asked for room and have it now: each is named once. */
  *takeWritable(): Generator<number> {
    for (const [stream, entry] of this.#streams) {
      if (entry.wantsBytes === 0 || this.#capacityOf(entry) < entry.wantsBytes) continue;
      entry.wantsBytes = 0;
      yield stream;
    }
  }

  // What those who relay do: see `EngineConnection`.

  capacity(stream: number): number {
    const entry = this.#streams.get(stream);
    if (entry === undefined) return EngineError.invalidStreamState;
    if (entry.isStopped) return EngineError.streamStopped;
    return this.#capacityOf(entry);
  }

  wantWrite(stream: number, length: number): number {
    const room = this.capacity(stream);
    if (room < 0) return room;
    if (room >= length) return 1;
    const entry = this.#streams.get(stream);
    if (entry !== undefined) entry.wantsBytes = length;
    return 0;
  }

  recv(stream: number, offset: number, capacity: number): number {
    this.#engine.streamFin = false;
    const entry = this.#streams.get(stream);
    if (entry === undefined || entry.isReadOver || entry.isEndRead) return EngineError.invalidStreamState;
    if (entry.resetCode >= 0) {
      entry.isReadOver = true;
      this.#forget(stream, entry);
      return EngineError.streamReset;
    }
    const { bytes } = this.#engine.arena;
    let taken = 0;
    for (let chunk = entry.chunks[0]; chunk !== undefined && taken < capacity; chunk = entry.chunks[0]) {
      const count = Math.min(chunk.length, capacity - taken);
      bytes.set(chunk.subarray(0, count), offset + taken);
      taken += count;
      if (count < chunk.length) entry.chunks[0] = chunk.subarray(count);
      else entry.chunks.shift();
    }
    entry.readBytes += taken;
    const isDrained = entry.chunks.length === 0;
    if (isDrained && entry.isEnd) {
      this.#engine.streamFin = true;
      entry.isEndRead = true;
      this.#forget(stream, entry);
    } else if (taken === 0 && isDrained) return EngineError.done;
    if (entry.readBytes >= CREDIT_BYTES_MIN || entry.isEndRead) this.#giveCredit(stream, entry);
    return taken;
  }

  /** `openedMax`: streams that we may ever open. */
  send(stream: number, offset: number, length: number, fin: boolean, openedMax: number): number {
    let entry = this.#streams.get(stream);
    let kind: number = RecordKind.stream;
    if (entry === undefined) {
      if (this.opened >= openedMax) return EngineError.streamLimit;
      entry = new RemoteStream();
      this.#streams.set(stream, entry);
      this.opened++;
      kind |= STREAM_BEGINS;
    }
    if (entry.isStopped) return EngineError.streamStopped;
    if (entry.isSendOver) return EngineError.invalidStreamState;
    const count = Math.min(length, this.#capacityOf(entry));
    if (count === 0 && length > 0) return EngineError.done;
    const isEnd = fin && count === length;
    if (isEnd) {
      kind |= STREAM_ENDS;
      entry.isSendOver = true;
    }
    entry.roomBytes -= count;
    this.#roomBytes -= count;
    this.#link.send(kind, this.#connection, stream, this.#engine.arena.bytes, offset, count);
    return count;
  }

  shutdown(stream: number, direction: "read" | "write", code: number): number {
    const entry = this.#streams.get(stream);
    if (entry === undefined) return EngineError.invalidStreamState;
    if (direction === "read") {
      if (entry.isReadOver || entry.isEndRead) return EngineError.done;
      entry.isReadOver = true;
      this.#discard(stream, entry);
      this.#link.send(RecordKind.shutdownRead, this.#connection, stream, wordBytes(code));
    } else {
      if (entry.isSendOver) return EngineError.done;
      entry.isSendOver = true;
      this.#link.send(RecordKind.shutdownWrite, this.#connection, stream, wordBytes(code));
    }
    return 0;
  }

  isFinished(stream: number): boolean {
    return this.#streams.get(stream)?.isEndRead ?? true;
  }

  clear(): void {
    this.#streams.clear();
  }

  #capacityOf(entry: RemoteStream): number {
    if (entry.isSendOver || this.#link.isCongested) return 0;
    return Math.max(0, Math.min(entry.roomBytes, this.#roomBytes));
  }

  #giveCredit(stream: number, entry: RemoteStream): void {
    this.#credit(stream, entry.readBytes);
    entry.readBytes = 0;
  }

  #credit(stream: number, bytes: number): void {
    if (bytes > 0) this.#link.send(RecordKind.credit, this.#connection, stream, wordBytes(bytes));
  }

  /** Nobody will read what is there. */
  #discard(stream: number, entry: RemoteStream): void {
    for (const chunk of entry.chunks) entry.readBytes += chunk.length;
    entry.chunks.length = 0;
    this.#giveCredit(stream, entry);
  }

  #forget(stream: number, entry: RemoteStream): void {
    if (entry.isGone && (entry.isReadOver || entry.isEndRead)) this.#streams.delete(stream);
  }
}

class RemoteStream {
  readonly chunks: Uint8Array[] = [];
  /** The end stands behind the chunks; it was read. */
  isEnd = false;
  isEndRead = false;
  resetCode = -1;
  /** Read, and not given back as credit. */
  readBytes = 0;
  /** The other worker still takes so many. */
  roomBytes = LINK_STREAM_BYTES_MAX;
  wantsBytes = 0;
  isStopped = false;
  isSendOver = false;
  isReadOver = false;
  isGone = false;
}
