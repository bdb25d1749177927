/**
 * One TCP session of an agent joined to a connection to its backend. The agent's SYN is answered when the backend has
 * accepted. Nothing is buffered here: what the backend does not take stays with the network stack, whose window to the agent
 * closes by it; and from the backend no more is read than the stack has room for.
 *
 *   agent's FIN → shutdown(SHUT_WR)     backend's FIN → FIN
 *   agent's RST → RST                   backend's RST, refusal, time-out → RST
 */
import { Timer } from "../../base/mod.ts";
import type { CloseWhy, NetStack, SessionHandler, TcpSession } from "../../core/netstack/mod.ts";
import type { PacketMemory } from "../../core/wire/mod.ts";
import { type Deferred, TCP_AGAIN, TCP_BROKEN, TCP_END, type TcpSocket } from "../../io/mod.ts";
import { BackendDial, type DialContext, type DialFailure, type DialOwner } from "./backend_dial.ts";
import { SESSION_CHUNK_BYTES, SESSION_TURN_BYTES } from "./limits.ts";
import type { DialTarget, Service } from "./services.ts";

/** So often it is looked whether the agent has everything of a backend that listens no more. */
const DEAF_LOOK_MS = 50;

/** What all sessions share. */
export interface SessionContext extends DialContext {
  readonly stack: NetStack;
  /** Offset of {@linkcode SESSION_CHUNK_BYTES} bytes that are used within one call only. */
  readonly chunkAt: number;
  readonly onBytes: (bytes: number) => void;
  readonly onDialled: (session: BackendSession) => void;
  readonly onDialFailed: (session: BackendSession, failure: DialFailure) => void;
  readonly onClosed: (session: BackendSession, why: CloseWhy) => void;
}

export class BackendSession implements SessionHandler, DialOwner, Deferred {
  isDeferred = false;
  readonly session: TcpSession;
  readonly service: Service;
  bytesToBackend = 0;
  bytesFromBackend = 0;
  readonly #context: SessionContext;
  readonly #dial: BackendDial;
  #socket: TcpSocket | null = null;
  /** The socket did not take all that the stack offered. */
  #isBlocked = false;
  /** The backend's FIN was read and passed on. */
  #hasEnded = false;
  /** The backend takes nothing any more, but what it said before is still on its way to the agent. */
  #isDeaf = false;
  /** Something that the agent said came to nobody. */
  #hasDiscarded = false;
  readonly #deafLook = new Timer((nowMs) => this.#lookWhileDeaf(nowMs));
  #isOver = false;

  constructor(context: SessionContext, session: TcpSession, service: Service, targets: readonly DialTarget[]) {
    this.#context = context;
    this.session = session;
    this.service = service;
    this.#dial = new BackendDial(context, targets, this);
  }

  /** The backend's address that was dialled last. */
  get target(): DialTarget | undefined {
    return this.#dial.target;
  }

  /** Whether it is over: nothing can be dialled, or the agent has given up. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Dials. The session may be over when this returns. */
  start(nowMs: number): void {
    this.#dial.start(nowMs);
  }

  onDialled(socket: TcpSocket, nowMs: number): void {
    this.#socket = socket;
    this.#context.onDialled(this);
    this.#context.stack.accept(this.session, nowMs);
  }

  onDialFailed(failure: DialFailure, nowMs: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#context.onDialFailed(this, failure);
    this.#context.stack.abort(this.session, nowMs);
  }

  onReady(nowMs: number): void {
    if (this.#isOver) return;
    this.#offerAgain(nowMs);
    this.#pumpFromBackend();
  }

  onError(_errno: number, nowMs: number): void {
    // What the backend said before its end is still the agent's.
    if (this.#hasEnded) {
      this.#isDeaf = true;
      this.#context.reactor.setTimer(this.#deafLook, nowMs + DEAF_LOOK_MS);
    } else this.#context.stack.abort(this.session, nowMs);
    this.#offerAgain(nowMs);
  }

  resume(_nowMs: number): void {
    this.#pumpFromBackend();
  }

  onOpen(_session: TcpSession): void {
    this.#pumpFromBackend();
  }

  onData(_session: TcpSession, memory: PacketMemory, offset: number, length: number): number {
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
        this.onError(0, reactor.nowMs);
        // There will be no word from the socket any more by which the rest could be offered again.
        if (this.#isDeaf) return this.#discard(length);
        break;
      }
      taken += written;
    }
    this.#isBlocked = taken < length;
    this.bytesToBackend += taken;
    this.#context.onBytes(taken);
    return taken;
  }

  onFin(session: TcpSession): void {
    // An orderly end would say that the backend has heard everything.
    if (this.#hasDiscarded) this.#context.stack.abort(session, this.#context.reactor.nowMs);
    else this.#socket?.shutdownWrite();
  }

  onWritable(_session: TcpSession): void {
    this.#pumpFromBackend();
  }

  onClosed(_session: TcpSession, why: CloseWhy): void {
    this.#isOver = true;
    this.#dial.cancel();
    this.#context.reactor.cancelTimer(this.#deafLook);
    // "finished": both ends were heard and passed on, and the kernel delivers what it still holds.
    if (why === "finished") this.#socket?.close();
    else this.#socket?.reset();
    this.#context.onClosed(this, why);
  }

  #discard(length: number): number {
    this.#hasDiscarded = true;
    // Our FIN was acknowledged, so all of the backend's data was: now the agent may hear that nobody listens.
    if (this.session.state === "finWait2") this.#context.stack.abort(this.session, this.#context.reactor.nowMs);
    return length;
  }

  /** The agent hears that nobody listens when it has all that the backend said: when it has acknowledged our FIN. */
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

  #pumpFromBackend(): void {
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
      this.bytesFromBackend += count;
      this.#context.onBytes(count);
      budget -= count;
      if (budget <= 0) return reactor.defer(this);
    }
  }
}
