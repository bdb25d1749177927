/**
 * One TCP connection joined to one QUIC stream (WIRE 7). Bytes are read from the socket only when the stream has room for all
 * of them, and from the stream only while the socket takes them, so that nothing is buffered here but one partly written
 * chunk: a slow reader stops the sender through TCP's and QUIC's own windows.
 *
 *   socket FIN    → stream FIN             stream FIN   → shutdown(SHUT_WR)
 *   socket reset  → RESET + STOP_SENDING   stream reset → RST
 */
import { type Deferred, type Reactor, TCP_AGAIN, TCP_BROKEN, TCP_END, type TcpOwner, type TcpSocket } from "../../io/mod.ts";
import { type Connection, type Engine, EngineError } from "../../core/quic/mod.ts";
import { AbortCode } from "../../core/wire/mod.ts";

/** Bytes moved in one direction of one connection before the others have their turn. */
export const BRIDGE_TURN_BYTES = 256 * 1024;
/** The most that is read at once, and so the most that is ever held outside of the kernel and the engine. */
export const BRIDGE_CHUNK_BYTES = 64 * 1024;

/** What all bridges of one role share. */
export interface BridgeContext {
  readonly reactor: Reactor;
  readonly engine: Engine;
  /** Offset of {@linkcode BRIDGE_CHUNK_BYTES} bytes that are used within one call only. */
  readonly chunkAt: number;
  readonly onBytes: (fromSocket: boolean, bytes: number) => void;
}

/** How a bridge ended. */
export type BridgeEnd = "closed" | "aborted-by-peer" | "aborted-by-socket" | "connection-lost" | "aborted-here";

export class StreamBridge implements TcpOwner, Deferred {
  isDeferred = false;
  readonly connection: Connection;
  readonly stream: number;
  bytesFromSocket = 0;
  bytesToSocket = 0;
  readonly #context: BridgeContext;
  readonly #onEnd: (bridge: StreamBridge, end: BridgeEnd) => void;
  #socket: TcpSocket | null = null;
  /** Our FIN is on the stream; the stream's FIN is on the socket. */
  #sentFin = false;
  #gotFin = false;
  /** What the socket did not take yet, and whether the stream's end stands behind it. */
  #held: Uint8Array | null = null;
  #heldFin = false;
  #isUpstreamOnly = false;
  #isOver = false;

  constructor(
    context: BridgeContext,
    connection: Connection,
    stream: number,
    onEnd: (bridge: StreamBridge, end: BridgeEnd) => void,
  ) {
    this.#context = context;
    this.connection = connection;
    this.stream = stream;
    this.#onEnd = onEnd;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** One direction has ended, the other has not. */
  get isHalfClosed(): boolean {
    return this.#sentFin !== this.#gotFin;
  }

  /** The stream's end was seen before the first byte of data: it goes to the socket as soon as there is one. */
  noteStreamEnd(): void {
    this.#heldFin = true;
  }

  /** Joins the socket; bytes move from now on. */
  attach(socket: TcpSocket): void {
    this.#socket = socket;
    this.#isUpstreamOnly = false;
    this.resume();
  }

  /** Joins the socket in one direction: its bytes go to the stream, the stream is not read before {@linkcode attach}. */
  attachUpstream(socket: TcpSocket): void {
    this.#socket = socket;
    this.#isUpstreamOnly = true;
    this.pumpToStream();
  }

  onConnected(): void {
    this.resume();
  }

  onReady(): void {
    this.resume();
  }

  onError(): void {
    this.#abort(AbortCode.aborted, "aborted-by-socket");
  }

  /** Moves what can be moved, in both directions. */
  resume(): void {
    this.pumpToStream();
    this.pumpToSocket();
  }

  /** Socket to stream. Also called when the stream has room again. */
  pumpToStream(): void {
    const socket = this.#socket;
    if (socket === null || this.#isOver || this.#sentFin) return;
    const { engine } = this.connection;
    const { chunkAt } = this.#context;
    let budget = BRIDGE_TURN_BYTES;
    while (socket.isReadable) {
      const room = engine.streamCapacity(this.stream);
      // Before the answer is read, "nothing more is wanted" belongs to a refusal: the answer says why (WIRE 7.6).
      if (room < 0) return this.#isUpstreamOnly ? undefined : this.#abort(AbortCode.aborted, "aborted-by-peer");
      if (room === 0) {
        engine.streamWantWrite(this.stream, 1);
        return;
      }
      const count = socket.read(chunkAt, Math.min(room, BRIDGE_CHUNK_BYTES));
      if (count === TCP_AGAIN) return;
      if (count === TCP_BROKEN) return this.#abort(AbortCode.aborted, "aborted-by-socket");
      const sent = engine.streamSend(this.stream, chunkAt, count, count === TCP_END);
      this.connection.touch();
      if (sent !== count) return this.#abort(AbortCode.aborted, "aborted-by-peer");
      if (count === TCP_END) {
        this.#sentFin = true;
        return this.#endIfDone();
      }
      this.bytesFromSocket += count;
      this.#context.onBytes(true, count);
      budget -= count;
      if (budget <= 0) return this.#context.reactor.defer(this);
    }
  }

  /** Stream to socket. Also called when the stream has something to read. */
  pumpToSocket(): void {
    const socket = this.#socket;
    if (this.#isOver || this.#gotFin || this.#isUpstreamOnly) return;
    if (socket !== null && !this.#writeHeld(socket)) return;
    if (this.#heldFin) return;
    let budget = BRIDGE_TURN_BYTES;
    while (!this.#isOver && !this.#gotFin) {
      // A socket that takes nothing leaves the bytes in the stream, but a reset must be seen all the same.
      const isOpen = socket !== null && socket.isWritable && this.#held === null;
      const count = this.connection.engine.streamRecv(this.stream, this.#context.chunkAt, isOpen ? BRIDGE_CHUNK_BYTES : 0);
      if (count === EngineError.done) return;
      if (count < 0) return this.#abort(AbortCode.aborted, "aborted-by-peer");
      const isEnd = this.#context.engine.streamFin;
      this.connection.touch();
      if (!isOpen) {
        this.#heldFin ||= isEnd;
        return;
      }
      if (!this.#deliver(socket, count, isEnd)) return;
      budget -= count;
      if (budget <= 0) return this.#context.reactor.defer(this);
    }
  }

  /** The QUIC connection is gone: the socket's peer sees a reset. */
  connectionLost(): void {
    this.#finish("connection-lost", true);
  }

  /** Ends both directions at once, the stream with `code`, the socket with RST. */
  abort(code: number): void {
    this.#abort(code, "aborted-here");
  }

  /** Writes a chunk just read. Returns whether more may follow in this turn. */
  #deliver(socket: TcpSocket, count: number, isEnd: boolean): boolean {
    const { chunkAt, engine } = this.#context;
    const written = count > 0 ? socket.write(chunkAt, count) : 0;
    if (written === TCP_BROKEN) {
      this.#abort(AbortCode.aborted, "aborted-by-socket");
      return false;
    }
    const taken = Math.max(written, 0);
    this.#countDelivered(taken);
    if (taken < count) {
      this.#held = engine.arena.bytes.slice(chunkAt + taken, chunkAt + count);
      this.#heldFin = isEnd;
      return false;
    }
    if (isEnd) this.#deliverEnd(socket);
    return !isEnd;
  }

  /** Writes what is held, and the end behind it. Returns whether more of the stream may follow. */
  #writeHeld(socket: TcpSocket): boolean {
    const held = this.#held;
    if (held === null) {
      if (this.#heldFin) this.#deliverEnd(socket);
      return !this.#heldFin;
    }
    const { chunkAt, engine } = this.#context;
    engine.arena.bytes.set(held, chunkAt);
    const written = socket.write(chunkAt, held.length);
    if (written === TCP_BROKEN) {
      this.#abort(AbortCode.aborted, "aborted-by-socket");
      return false;
    }
    const taken = Math.max(written, 0);
    this.#countDelivered(taken);
    this.#held = taken < held.length ? held.subarray(taken) : null;
    if (this.#held === null && this.#heldFin) this.#deliverEnd(socket);
    return this.#held === null;
  }

  #countDelivered(count: number): void {
    this.bytesToSocket += count;
    if (count > 0) this.#context.onBytes(false, count);
  }

  #deliverEnd(socket: TcpSocket): void {
    this.#gotFin = true;
    socket.shutdownWrite();
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (this.#sentFin && this.#gotFin) this.#finish("closed", false);
  }

  #abort(code: number, end: BridgeEnd): void {
    if (this.#isOver) return;
    const { engine } = this.connection;
    engine.streamShutdown(this.stream, "read", code);
    engine.streamShutdown(this.stream, "write", code);
    this.connection.touch();
    this.#finish(end, true);
  }

  #finish(end: BridgeEnd, isReset: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#held = null;
    this.connection.leave(this.stream);
    if (isReset) this.#socket?.reset();
    else this.#socket?.close();
    this.#onEnd(this, end);
  }
}
