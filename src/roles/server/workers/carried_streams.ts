/**
 * The streams of one connection on the worker that carries it: what the peer sends goes up by the ring as far as there is credit, what
 * comes down waits here while the peer's window is closed, no more than the credit that was given.
 */
import { type Connection, type Engine, EngineError } from "../../../core/quic/mod.ts";
import { readRest } from "../../../core/quic/mod.ts";
import { AbortCode } from "../../../core/wire/mod.ts";
import { LINK_CONNECTION_BYTES_MAX, LINK_STREAM_BYTES_MAX, STREAM_CHUNK_BYTES } from "../limits.ts";
import type { Link } from "./link.ts";
import { RecordKind, STREAM_BEGINS, STREAM_ENDS, wordBytes } from "./records.ts";

const CREDIT_BYTES_MIN = LINK_STREAM_BYTES_MAX / 4;

interface Carried {
  readonly stream: number;
  /** What may still go up. */
  roomBytes: number;
  readonly queue: Uint8Array[];
  endsBehindQueue: boolean;
  /** Passed on to the peer, and not given back as credit. */
  sentBytes: number;
  isReadOver: boolean;
  isSendOver: boolean;
  /** Waits for credit or for room in the ring. */
  waits: boolean;
}

export class CarriedStreams {
  readonly #engine: Engine;
  readonly #link: Link;
  readonly #connection: Connection;
  readonly #chunkAt: number;
  readonly #streams = new Map<number, Carried>();
  readonly #waiting = new Set<Carried>();
  #roomBytes = LINK_CONNECTION_BYTES_MAX;
  /** Streams that we opened to the peer. */
  opened = 0;

  /** `chunkAt` is the offset of {@linkcode STREAM_CHUNK_BYTES} bytes that are used within one call only. */
  constructor(engine: Engine, link: Link, connection: Connection, chunkAt: number) {
    this.#engine = engine;
    this.#link = link;
    this.#connection = connection;
    this.#chunkAt = chunkAt;
  }

  // From the peer.

  onReadable(stream: number): void {
    let entry = this.#streams.get(stream);
    let begins = false;
    if (entry === undefined) {
      // Streams that we opened and that are over may still have something to say: nobody listens.
      if ((stream & 1) === 1) {
        this.#connection.engine.streamShutdown(stream, "read", AbortCode.none);
        return this.#connection.touch();
      }
      entry = this.#begin(stream);
      begins = true;
    }
    this.#pass(entry, begins);
  }

  onWritable(stream: number): void {
    const entry = this.#streams.get(stream);
    if (entry === undefined || entry.isSendOver) return;
    // A stream that the peer stopped is named too, and then perhaps nothing waits here that would find out.
    const room = this.#connection.engine.streamCapacity(stream);
    if (room < 0) this.#refused(entry, room);
    else this.#sendQueue(entry);
  }

  /** There may be room again for what waits. */
  resume(): void {
    for (const entry of [...this.#waiting]) {
      if (this.#link.isCongested || this.#roomBytes <= 0) return;
      if (entry.roomBytes > 0) this.#pass(entry, false);
    }
  }

  /** The connection is over: what its peer had said to the end goes up whole, bounded by what flow control let in. */
  passRests(): void {
    for (const { stream, isReadOver } of this.#streams.values()) {
      if (isReadOver) continue;
      const rest = readRest(this.#engine, this.#connection.engine, stream, this.#chunkAt, STREAM_CHUNK_BYTES);
      if (rest === null) continue;
      for (let at = 0; at < rest.length; at += STREAM_CHUNK_BYTES) {
        this.#link.send(RecordKind.stream, this.#connection.id, stream, rest, at, Math.min(STREAM_CHUNK_BYTES, rest.length - at));
      }
      this.#link.send(RecordKind.stream | STREAM_ENDS, this.#connection.id, stream);
    }
    this.#streams.clear();
    this.#waiting.clear();
  }

  // From the worker that decides.

  handleStream(stream: number, bytes: Uint8Array, begins: boolean, ends: boolean): void {
    let entry = this.#streams.get(stream);
    if (entry === undefined && begins) {
      entry = this.#begin(stream);
      this.opened++;
    }
    if (entry === undefined || entry.isSendOver) return this.#credit(stream, bytes.length);
    if (bytes.length > 0 || begins) entry.queue.push(bytes);
    entry.endsBehindQueue = ends;
    this.#sendQueue(entry);
  }

  handleCredit(stream: number, bytes: number): void {
    this.#roomBytes += bytes;
    const entry = this.#streams.get(stream);
    if (entry !== undefined) entry.roomBytes += bytes;
    this.resume();
  }

  handleShutdown(stream: number, direction: "read" | "write", code: number): void {
    const entry = this.#streams.get(stream);
    if (entry === undefined) return;
    this.#connection.engine.streamShutdown(stream, direction, code);
    this.#connection.touch();
    if (direction === "read") this.#readOver(entry);
    else this.#sendOver(entry);
  }

  #begin(stream: number): Carried {
    const entry: Carried = {
      stream,
      roomBytes: LINK_STREAM_BYTES_MAX,
      queue: [],
      endsBehindQueue: false,
      sentBytes: 0,
      isReadOver: false,
      isSendOver: false,
      waits: false,
    };
    this.#streams.set(stream, entry);
    return entry;
  }

  #pass(entry: Carried, isFirst: boolean): void {
    const { engine, id } = this.#connection;
    const { stream } = entry;
    let begins = isFirst ? STREAM_BEGINS : 0;
    this.#waiting.delete(entry);
    while (!entry.isReadOver) {
      const room = this.#link.isCongested ? 0 : Math.max(0, Math.min(entry.roomBytes, this.#roomBytes, STREAM_CHUNK_BYTES));
      // Without room nothing is read, but a reset or a bare end must be seen all the same.
      const count = engine.streamRecv(stream, this.#chunkAt, room);
      if (count === EngineError.done && begins === 0) return;
      if (count < 0 && count !== EngineError.done) {
        if (begins !== 0) this.#link.send(RecordKind.stream | begins, id, stream);
        this.#link.send(RecordKind.reset, id, stream, wordBytes(this.#engine.streamErrorCode));
        return this.#readOver(entry);
      }
      const isEnd = count >= 0 && this.#engine.streamFin;
      const length = Math.max(count, 0);
      this.#connection.touch();
      if (length > 0 || isEnd || begins !== 0) {
        const { bytes } = this.#engine.arena;
        this.#link.send(RecordKind.stream | begins | (isEnd ? STREAM_ENDS : 0), id, stream, bytes, this.#chunkAt, length);
      }
      begins = 0;
      entry.roomBytes -= length;
      this.#roomBytes -= length;
      if (isEnd) return this.#readOver(entry);
      if (count === EngineError.done) return;
      if (room === 0) return void this.#waiting.add(entry);
    }
  }

  #sendQueue(entry: Carried): void {
    const { engine } = this.#connection;
    const { stream, queue } = entry;
    const { bytes } = this.#engine.arena;
    while (!entry.isSendOver) {
      const chunk = queue[0];
      if (chunk === undefined && !entry.endsBehindQueue) break;
      const length = Math.min(chunk?.length ?? 0, STREAM_CHUNK_BYTES);
      if (chunk !== undefined) bytes.set(chunk.subarray(0, length), this.#chunkAt);
      const isLast = entry.endsBehindQueue && queue.length <= 1 && length === (chunk?.length ?? 0);
      const sent = engine.streamSend(stream, this.#chunkAt, length, isLast);
      this.#connection.touch();
      if (sent < 0 && sent !== EngineError.done) return this.#refused(entry, sent);
      // A stream that was stopped and is forgotten takes nothing, and says no more than that.
      if (sent < 0 && engine.streamCapacity(stream) < 0) return this.#refused(entry, EngineError.streamStopped);
      const taken = Math.max(sent, 0);
      entry.sentBytes += taken;
      if (chunk !== undefined) {
        if (taken === chunk.length) queue.shift();
        else queue[0] = chunk.subarray(taken);
      }
      if (taken < length) {
        engine.streamWantWrite(stream, 1);
        break;
      }
      if (isLast) this.#sendOver(entry);
    }
    if (entry.sentBytes >= CREDIT_BYTES_MIN || (queue.length === 0 && entry.sentBytes > 0)) {
      this.#credit(stream, entry.sentBytes);
      entry.sentBytes = 0;
    }
  }

  /** The peer stopped it, or takes no further stream: what waits is nobody's. */
  #refused(entry: Carried, error: number): void {
    const { stream } = entry;
    this.#link.send(RecordKind.stopped, this.#connection.id, stream);
    if (error === EngineError.streamLimit) {
      this.#link.send(RecordKind.reset, this.#connection.id, stream, wordBytes(AbortCode.none));
      entry.isReadOver = true;
    }
    this.#sendOver(entry);
  }

  #readOver(entry: Carried): void {
    entry.isReadOver = true;
    this.#waiting.delete(entry);
    this.#settle(entry);
  }

  #sendOver(entry: Carried): void {
    entry.isSendOver = true;
    for (const chunk of entry.queue) entry.sentBytes += chunk.length;
    entry.queue.length = 0;
    this.#credit(entry.stream, entry.sentBytes);
    entry.sentBytes = 0;
    this.#settle(entry);
  }

  #settle({ stream, isReadOver, isSendOver }: Carried): void {
    if (!isReadOver || !isSendOver || !this.#streams.delete(stream)) return;
    this.#connection.leave(stream);
    this.#link.send(RecordKind.gone, this.#connection.id, stream);
  }

  #credit(stream: number, bytes: number): void {
    if (bytes > 0) this.#link.send(RecordKind.credit, this.#connection.id, stream, wordBytes(bytes));
  }
}
