/**
 * All streams of one connection of the memory engine: which exist, how many may be opened, what the windows allow, and the queues
 * by which streams are named to the caller and to the packet writer.
 */
import { EngineError } from "../../src/core/quic/mod.ts";
import type { Frame } from "./memory_packet_fixture.ts";
import { ReceiveSide, SendSide } from "./memory_streams_fixture.ts";

export interface StreamLimits {
  readonly connectionWindowBytes: number;
  readonly streamWindowBytes: number;
  readonly streamsMax: number;
}

interface Stream {
  readonly id: number;
  readonly isOurs: boolean;
  readonly send: SendSide;
  readonly receive: ReceiveSide;
  /** How much room the caller waits for. */
  lowWater: number;
}

export class StreamTable {
  readonly #isServer: boolean;
  readonly #ours: StreamLimits;
  #theirs: StreamLimits = { connectionWindowBytes: 0, streamWindowBytes: 0, streamsMax: 0 };
  readonly #streams = new Map<number, Stream>();
  readonly #gone = new Set<number>();
  readonly #readable = new Set<number>();
  readonly #writable = new Set<number>();
  readonly #flushable = new Set<number>();
  readonly #control = new Map<string, Frame>();
  /** Stopped streams that were named to the caller: if it does not ask about them, they go by themselves. */
  readonly #told = new Set<number>();
  #sendMax = 0;
  #sent = 0;
  #receiveMax: number;
  #received = 0;
  #consumed = 0;
  #streamsMax: number;
  #streamsMaxNext: number;
  #opened = 0;
  #openedByPeer = 0;
  /** Room in the congestion window that is not spoken for; set by the connection before its caller may ask. */
  congestionRoom = 0;
  fin = false;
  errorCode = 0;

  constructor(isServer: boolean, ours: StreamLimits) {
    this.#isServer = isServer;
    this.#ours = ours;
    this.#receiveMax = ours.connectionWindowBytes;
    this.#streamsMax = this.#streamsMaxNext = ours.streamsMax;
  }

  /** The peer's limits are known. */
  begin(theirs: StreamLimits): void {
    this.#theirs = theirs;
    this.#sendMax = theirs.connectionWindowBytes;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Bytes received and not read. */
  get bufferedBytes(): number {
    let sum = 0;
    for (const { receive } of this.#streams.values()) sum += receive.bufferedBytes;
    return sum;
  }

  get unsentBytes(): number {
    let sum = 0;
    for (const id of this.#flushable) sum += this.#streams.get(id)?.send.unsentBytes ?? 0;
    return sum;
  }

  get streamsLeft(): number {
    return Math.max(0, this.#theirs.streamsMax - this.#opened);
  }

  // What the caller asks.

  readableNext(): number {
    return takeFirst(this.#readable);
  }

  writableNext(): number {
    if (this.#room === 0) return -1;
    for (const id of this.#writable) {
      const stream = this.#streams.get(id);
      const capacity = stream?.send.capacity ?? 0;
      if (stream !== undefined && capacity >= 0 && Math.min(this.#room, capacity) < stream.lowWater) continue;
      this.#writable.delete(id);
      if (stream === undefined) continue;
      if (capacity < 0) this.#told.add(id);
      return id;
    }
    return -1;
  }

  capacity(id: number): number {
    const stream = this.#streams.get(id);
    if (stream === undefined) return EngineError.invalidStreamState;
    const capacity = stream.send.capacity;
    if (capacity >= 0) return Math.min(this.#room, capacity);
    this.errorCode = stream.send.stoppedWith ?? 0;
    this.#collect(stream);
    return capacity;
  }

  wantWrite(id: number, length: number): number {
    const capacity = this.capacity(id);
    if (capacity < 0 || capacity >= length) return capacity < 0 ? capacity : 1;
    const stream = this.#streams.get(id) as Stream;
    stream.lowWater = Math.max(1, length);
    if (stream.send.capacity >= length && isWritable(stream)) this.#writable.add(id);
    return 0;
  }

  receive(id: number, out: Uint8Array): number {
    const stream = this.#streams.get(id);
    this.fin = false;
    if (stream === undefined) return EngineError.invalidStreamState;
    const { receive } = stream;
    if (!receive.isReadable) return EngineError.done;
    if (receive.resetWith !== null) {
      this.errorCode = receive.resetWith;
      receive.endTold();
      this.#readable.delete(id);
      this.#collect(stream);
      return EngineError.streamReset;
    }
    const count = receive.read(out);
    this.fin = receive.isFin;
    this.#consume(count);
    if (receive.needsCredit) this.#control.set(`credit ${id}`, { kind: "max-stream-data", stream: id, max: 0 });
    this.#readable.delete(id);
    if (receive.isReadable) this.#readable.add(id);
    this.#collect(stream);
    return count;
  }

  send(id: number, bytes: Uint8Array, fin: boolean): number {
    const stream = this.#streams.get(id) ?? this.#open(id);
    if (typeof stream === "number") return stream;
    const capacity = stream.send.capacity;
    if (capacity < 0) {
      this.errorCode = stream.send.stoppedWith ?? 0;
      this.#collect(stream);
      return capacity;
    }
    if (stream.send.finAt !== null) return EngineError.invalidStreamState;
    const count = Math.min(bytes.length, capacity, this.#room);
    if (count === 0 && bytes.length > 0) {
      if (isWritable(stream)) this.#writable.add(id);
      return EngineError.done;
    }
    stream.send.take(bytes.slice(0, count), fin && count === bytes.length);
    this.#sent += count;
    this.congestionRoom = Math.max(0, this.congestionRoom - count);
    if (stream.send.isFlushable) this.#flushable.add(id);
    if (!isWritable(stream)) this.#writable.delete(id);
    else if (count < bytes.length) this.#writable.add(id);
    return count;
  }

  shutdown(id: number, direction: "read" | "write", code: number): number {
    const stream = this.#streams.get(id);
    if (stream === undefined) return EngineError.done;
    const { send, receive } = stream;
    if (direction === "read") {
      if (receive.isDraining) return EngineError.done;
      this.#consume(receive.drain());
      if (!receive.isFin) this.#control.set(`stop ${id}`, { kind: "stop", stream: id, code });
      this.#readable.delete(id);
    } else {
      if (send.isShutdown) return EngineError.done;
      this.#drop(stream, code);
      send.isShutdown = true;
      this.#writable.delete(id);
    }
    this.#collect(stream);
    return 0;
  }

  finished(id: number): boolean {
    return this.#streams.get(id)?.receive.isFin ?? true;
  }

  // What packets bring. A number below zero is an error of the peer.

  onFrame(frame: Frame): number {
    switch (frame.kind) {
      case "max-data":
        this.#sendMax = Math.max(this.#sendMax, frame.max);
        return 0;
      case "max-streams":
        this.#theirs = { ...this.#theirs, streamsMax: Math.max(this.#theirs.streamsMax, frame.max) };
        return 0;
      case "stream":
      case "reset":
      case "stop":
      case "max-stream-data": {
        const stream = this.#streams.get(frame.stream) ?? this.#accept(frame.stream);
        if (stream === null) return 0;
        return typeof stream === "number" ? stream : this.#onStreamFrame(stream, frame);
      }
      default:
        return 0;
    }
  }

  #onStreamFrame(stream: Stream, frame: Frame & { readonly kind: "stream" | "reset" | "stop" | "max-stream-data" }): number {
    const { send, receive, id } = stream;
    if (frame.kind === "max-stream-data") {
      send.max = Math.max(send.max, frame.max);
      if (isWritable(stream)) this.#writable.add(id);
      return 0;
    }
    if (frame.kind === "stop") {
      if (send.stoppedWith !== null) return 0;
      // Who could write anyway learns it when it does, as with quiche; only those who wait are named.
      if (!isWritable(stream)) this.#writable.add(id);
      this.#drop(stream, frame.code);
      send.stoppedWith = frame.code;
      return 0;
    }
    const wasReadable = receive.isReadable;
    let grown: number;
    if (frame.kind === "reset") {
      const result = receive.reset(frame.code, frame.finalSize);
      if (typeof result === "number") return result;
      this.#consume(result.consumed);
      grown = result.grown;
    } else {
      grown = receive.write(frame.offset, frame.bytes, frame.fin);
      if (grown < 0) return grown;
      if (receive.isDraining) this.#consume(grown);
    }
    this.#received += grown;
    if (this.#received > this.#receiveMax) return EngineError.flowControl;
    if (!wasReadable && receive.isReadable) this.#readable.add(id);
    this.#collect(stream);
    return 0;
  }

  // What packets take.

  /** Control frames that are due, with the values of this moment. */
  takeControl(): Frame[] {
    const frames: Frame[] = [];
    for (const id of this.#told) {
      const stream = this.#streams.get(id);
      if (stream !== undefined) this.#collect(stream);
    }
    this.#told.clear();
    if (this.#receiveMax - this.#consumed < this.#ours.connectionWindowBytes / 2) {
      this.#receiveMax = this.#consumed + this.#ours.connectionWindowBytes;
      frames.push({ kind: "max-data", max: this.#receiveMax });
    }
    if (this.#streamsMaxNext !== this.#streamsMax && this.#streamsMax - this.#openedByPeer <= this.#ours.streamsMax / 2) {
      this.#streamsMax = this.#streamsMaxNext;
      frames.push({ kind: "max-streams", max: this.#streamsMax });
    }
    for (const frame of this.#control.values()) {
      if (frame.kind !== "max-stream-data") frames.push(frame);
      else {
        const receive = this.#streams.get(frame.stream)?.receive;
        if (receive === undefined || receive.finAt !== null || receive.isDraining) continue;
        receive.max = receive.offset + receive.window;
        frames.push({ ...frame, max: receive.max });
      }
    }
    this.#control.clear();
    return frames;
  }

  get hasControl(): boolean {
    return this.#control.size > 0 || this.#receiveMax - this.#consumed < this.#ours.connectionWindowBytes / 2 ||
      (this.#streamsMaxNext !== this.#streamsMax && this.#streamsMax - this.#openedByPeer <= this.#ours.streamsMax / 2);
  }

  get hasData(): boolean {
    return this.#flushable.size > 0;
  }

  /** The next STREAM frame with at most `lengthMax` bytes of data, streams in turn. */
  takeData(lengthMax: number): Frame | null {
    for (;;) {
      const id = takeFirst(this.#flushable);
      if (id < 0) return null;
      const stream = this.#streams.get(id);
      const part = stream?.send.next(lengthMax) ?? null;
      if (stream === undefined || part === null) continue;
      if (stream.send.isFlushable) this.#flushable.add(id);
      return { kind: "stream", stream: id, ...part };
    }
  }

  onAcked(frame: Frame): void {
    if (frame.kind !== "stream" && frame.kind !== "reset") return;
    const stream = this.#streams.get(frame.stream);
    if (stream === undefined) return;
    if (frame.kind === "stream") stream.send.ack(frame.offset, frame.offset + frame.bytes.length, frame.fin);
    this.#collect(stream);
  }

  onLost(frame: Frame): void {
    switch (frame.kind) {
      case "stream": {
        const send = this.#streams.get(frame.stream)?.send;
        send?.lose(frame.offset, frame.offset + frame.bytes.length, frame.fin);
        if (send?.isFlushable === true) this.#flushable.add(frame.stream);
        return;
      }
      case "reset":
        return void this.#control.set(`reset ${frame.stream}`, frame);
      case "stop":
        if (this.#streams.get(frame.stream)?.receive.isFin === false) this.#control.set(`stop ${frame.stream}`, frame);
        return;
      case "max-stream-data":
        return void this.#control.set(`credit ${frame.stream}`, frame);
      case "max-data":
        return void this.#control.set("max-data", { kind: "max-data", max: this.#receiveMax });
      case "max-streams":
        return void this.#control.set("max-streams", { kind: "max-streams", max: this.#streamsMax });
    }
  }

  get #room(): number {
    return Math.max(0, Math.min(this.congestionRoom, this.#sendMax - this.#sent));
  }

  #consume(bytes: number): void {
    this.#consumed += bytes;
  }

  #drop(stream: Stream, code: number): void {
    if (stream.send.isShutdown || stream.send.stoppedWith !== null) return;
    const { finalSize, unsent } = stream.send.drop();
    this.#sent -= unsent;
    this.#flushable.delete(stream.id);
    this.#control.set(`reset ${stream.id}`, { kind: "reset", stream: stream.id, code, finalSize });
  }

  #open(id: number): Stream | number {
    if (this.#gone.has(id)) return EngineError.done;
    if ((id & 1) !== (this.#isServer ? 1 : 0)) return EngineError.invalidStreamState;
    const opened = Math.max(this.#opened, (id >> 2) + 1);
    if (opened > this.#theirs.streamsMax) return EngineError.streamLimit;
    this.#opened = opened;
    return this.#create(id, true);
  }

  /** A stream that the peer names. Null when it is over already. */
  #accept(id: number): Stream | number | null {
    if (this.#gone.has(id)) return null;
    if ((id & 1) === (this.#isServer ? 1 : 0)) return EngineError.invalidStreamState;
    const opened = Math.max(this.#openedByPeer, (id >> 2) + 1);
    if (opened > this.#streamsMax) return EngineError.streamLimit;
    this.#openedByPeer = opened;
    return this.#create(id, false);
  }

  #create(id: number, isOurs: boolean): Stream {
    const stream: Stream = {
      id,
      isOurs,
      send: new SendSide(this.#theirs.streamWindowBytes),
      receive: new ReceiveSide(this.#ours.streamWindowBytes),
      lowWater: 1,
    };
    this.#streams.set(id, stream);
    if (isWritable(stream)) this.#writable.add(id);
    return stream;
  }

  /** Forgets a stream of which nobody needs anything any more; the peer may then open another one. */
  #collect(stream: Stream): void {
    const { send, receive, id } = stream;
    const isStopDue = send.stoppedWith !== null && this.#writable.has(id);
    if (!receive.isFin || receive.isReadable || !send.isComplete || isStopDue) return;
    if (!this.#streams.delete(id)) return;
    this.#gone.add(id);
    this.#readable.delete(id);
    this.#writable.delete(id);
    this.#flushable.delete(id);
    this.#control.delete(`stop ${id}`);
    if (!stream.isOurs) this.#streamsMaxNext++;
  }
}

function isWritable({ send, lowWater }: Stream): boolean {
  return !send.isShutdown && send.finAt === null && send.stoppedWith === null && send.offset + lowWater < send.max;
}

function takeFirst(set: Set<number>): number {
  for (const id of set) {
    set.delete(id);
    return id;
  }
  return -1;
}
