/**
 * One TCP session of the network stack joined to a socket. Nothing is buffered here: what the socket does not take stays with the
 * stack, whose window to the session's peer closes by it; and from the socket no more is read than the stack has room for.
 *
 *   peer's FIN → shutdown(SHUT_WR)     socket's FIN → FIN
 *   peer's RST → RST                   socket's RST → RST
 */
import { Timer } from "../../base/mod.ts";
import type { CloseWhy, NetStack, TcpSession } from "../../core/netstack/mod.ts";
import type { PacketMemory } from "../../core/wire/mod.ts";
import { type Deferred, type Reactor, TCP_AGAIN, TCP_BROKEN, TCP_END, type TcpSocket } from "../../io/mod.ts";

/** The most that is read from a socket at once. */
export const SESSION_CHUNK_BYTES = 64 * 1024;
/** Bytes that one session reads from its socket before the others have their turn. */
export const SESSION_TURN_BYTES = 256 * 1024;
/** So often it is looked whether the peer has everything of a socket whose other end listens no more. */
const DEAF_LOOK_MS = 50;

/** What all sessions of one role share. */
export interface SessionBridgeContext {
  readonly reactor: Reactor;
  readonly stack: NetStack;
  /** Offset of {@linkcode SESSION_CHUNK_BYTES} bytes that are used within one call only. */
  readonly chunkAt: number;
  readonly onBytes: (fromSocket: boolean, bytes: number) => void;
}

export class SessionBridge implements Deferred {
  isDeferred = false;
  readonly session: TcpSession;
  bytesToSocket = 0;
  bytesFromSocket = 0;
  readonly #context: SessionBridgeContext;
  #socket: TcpSocket | null = null;
  /** The socket did not take all that the stack offered. */
  #isBlocked = false;
  /** The socket's FIN was read and passed on. */
  #hasEnded = false;
  /** The socket takes nothing any more, but what it said before is still on its way to the peer. */
  #isDeaf = false;
  readonly #deafLook = new Timer((nowMs) => this.#lookWhileDeaf(nowMs));
  #isOver = false;

  constructor(context: SessionBridgeContext, session: TcpSession) {
    this.#context = context;
    this.session = session;
  }

  /** Bytes move from now on, as soon as the session is open and somebody says so by {@linkcode pumpFromSocket}. */
  attach(socket: TcpSocket): void {
    this.#socket = socket;
  }

  /** The socket can be read or written again. */
  onReady(nowMs: number): void {
    if (this.#isOver) return;
    this.#offerAgain(nowMs);
    this.pumpFromSocket();
  }

  /** The socket is gone. */
  onError(nowMs: number): void {
    // What it said before its end is still the peer's.
    if (this.#hasEnded) {
      this.#isDeaf = true;
      this.#context.reactor.setTimer(this.#deafLook, nowMs + DEAF_LOOK_MS);
    } else this.#context.stack.abort(this.session, nowMs);
    this.#offerAgain(nowMs);
  }

  resume(_nowMs: number): void {
    this.pumpFromSocket();
  }

  /** The peer's next bytes; returns how many were taken, as `SessionHandler.onData`. */
  take(memory: PacketMemory, offset: number, length: number): number {
    const { reactor, chunkAt } = this.#context;
    if (this.#isDeaf) return this.#discard(length);
    const socket = this.#socket;
    if (socket === null) return 0;
    const { arena } = reactor.libc;
    let taken = 0;
    while (taken < length && socket.isWritable) {
      let from = offset + taken, count = length - taken;
      if (memory.bytes.buffer !== arena.bytes.buffer) {
        count = Math.min(count, SESSION_CHUNK_BYTES);
        arena.bytes.set(memory.bytes.subarray(from, from + count), chunkAt);
        from = chunkAt;
      }
      const written = socket.write(from, count);
      if (written === TCP_AGAIN) break;
      if (written === TCP_BROKEN) {
        socket.reset();
        this.onError(reactor.nowMs);
        // There will be no word from the socket any more by which the rest could be offered again.
        if (this.#isDeaf) return this.#discard(length);
        break;
      }
      taken += written;
    }
    this.#isBlocked = taken < length;
    this.bytesToSocket += taken;
    this.#context.onBytes(false, taken);
    return taken;
  }

  /** The peer will say no more, and everything that it said was taken. */
  takeEnd(): void {
    // An orderly end would say that the other end of the socket has heard everything: one that reset has not read what the kernel took.
    if (this.#isDeaf) this.#context.stack.abort(this.session, this.#context.reactor.nowMs);
    else this.#socket?.shutdownWrite();
  }

  /** The session is over: the socket ends as it did. */
  end(why: CloseWhy): void {
    this.#isOver = true;
    this.#context.reactor.cancelTimer(this.#deafLook);
    // "finished": both ends were heard and passed on, and the kernel delivers what it still holds.
    if (why === "finished") this.#socket?.close();
    else this.#socket?.reset();
  }

  /** Moves what the socket has to the stack. */
  pumpFromSocket(): void {
    const socket = this.#socket;
    if (socket === null || this.#isOver || this.#hasEnded) return;
    const { stack, reactor, chunkAt } = this.#context;
    const { arena } = reactor.libc;
    const { session } = this;
    let budget = SESSION_TURN_BYTES;
    while (socket.isReadable) {
      const room = stack.sendCapacity(session);
      if (room === 0) return;
      const count = socket.read(chunkAt, Math.min(room, SESSION_CHUNK_BYTES));
      if (count === TCP_AGAIN) return;
      if (count === TCP_BROKEN) return stack.abort(session, reactor.nowMs);
      if (count === TCP_END) {
        this.#hasEnded = true;
        return stack.shutdownWrite(session, reactor.nowMs);
      }
      const taken = stack.write(session, arena, chunkAt, count, reactor.nowMs);
      // The stack takes what it said; anything else would be a hole in the data.
      if (taken < count) return stack.abort(session, reactor.nowMs);
      this.bytesFromSocket += count;
      this.#context.onBytes(true, count);
      budget -= count;
      if (budget <= 0) return reactor.defer(this);
    }
  }

  #discard(length: number): number {
    // Our FIN was acknowledged, so all of the socket's data was: now the peer may hear that nobody listens.
    if (this.session.state === "finWait2") this.#context.stack.abort(this.session, this.#context.reactor.nowMs);
    return length;
  }

  /** The peer hears that nobody listens when it has all that the socket said: when it has acknowledged our FIN. */
  #lookWhileDeaf(nowMs: number): void {
    if (this.#isOver) return;
    if (this.session.state === "finWait2") this.#context.stack.abort(this.session, nowMs);
    else this.#context.reactor.setTimer(this.#deafLook, nowMs + DEAF_LOOK_MS);
  }

  /** The socket takes again, or no longer matters: the stack offers what it kept. */
  #offerAgain(nowMs: number): void {
    if (!this.#isBlocked || this.#isOver) return;
    this.#isBlocked = false;
    this.#context.stack.windowOpened(this.session, nowMs);
  }
}
