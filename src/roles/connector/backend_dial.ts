/**
 * Dials a service's backend: its addresses one after the other, all within one time, until one accepts. Whoever wants the
 * connection is then told of the socket's events through the same object.
 */
import { Timer } from "../../base/mod.ts";
import { type Reactor, TcpSocket, writeSockaddr } from "../../io/mod.ts";
import type { TcpOwner } from "../../io/mod.ts";
import { BACKEND_CONNECT_TIMEOUT_MS, BACKEND_TRY_MIN_MS } from "./limits.ts";
import type { DialTarget } from "./services.ts";

export interface DialContext {
  readonly reactor: Reactor;
  /** Offset of a sockaddr slot, used within one call only. */
  readonly addressSlot: number;
}

/** Why no address accepted: the last one's errno, or null when that one did not answer in time. */
export type DialFailure = number | null;

/** Who wants the connection. `onReady` and `onError` are those of the connected socket. */
export interface DialOwner extends Pick<TcpOwner, "onReady" | "onError"> {
  onDialled(socket: TcpSocket, nowMs: number): void;
  onDialFailed(failure: DialFailure, nowMs: number): void;
}

export class BackendDial implements TcpOwner {
  readonly #context: DialContext;
  readonly #owner: DialOwner;
  readonly #targets: readonly DialTarget[];
  readonly #timer = new Timer((nowMs) => this.#tryNext(null, nowMs));
  #next = 0;
  #endsMs = 0;
  #socket: TcpSocket | null = null;
  #isConnected = false;

  constructor(context: DialContext, targets: readonly DialTarget[], owner: DialOwner) {
    this.#context = context;
    this.#targets = targets;
    this.#owner = owner;
  }

  /** The target that is or was dialled last. */
  get target(): DialTarget | undefined {
    return this.#targets[this.#next - 1];
  }

  /** Begins. The owner may be told of the failure before this returns. */
  start(nowMs: number): void {
    this.#endsMs = nowMs + BACKEND_CONNECT_TIMEOUT_MS;
    this.#tryNext(111, nowMs);
  }

  /** Stops dialling; nobody is told. A connected socket is no longer its business. */
  cancel(): void {
    this.#context.reactor.cancelTimer(this.#timer);
    if (!this.#isConnected) this.#socket?.reset();
    this.#next = this.#targets.length;
  }

  onConnected(nowMs: number): void {
    const socket = this.#socket;
    if (socket === null) return;
    this.#isConnected = true;
    this.#context.reactor.cancelTimer(this.#timer);
    this.#owner.onDialled(socket, nowMs);
  }

  onReady(nowMs: number): void {
    this.#owner.onReady(nowMs);
  }

  onError(errno: number, nowMs: number): void {
    if (this.#isConnected) this.#owner.onError(errno, nowMs);
    else this.#tryNext(errno, nowMs);
  }

  #tryNext(failure: DialFailure, nowMs: number): void {
    const { reactor, addressSlot } = this.#context;
    this.#socket?.reset();
    this.#socket = null;
    for (let last = failure;;) {
      const left = this.#targets.length - this.#next;
      const target = this.#targets[this.#next];
      if (target === undefined || nowMs >= this.#endsMs) {
        reactor.cancelTimer(this.#timer);
        return this.#owner.onDialFailed(last, nowMs);
      }
      this.#next++;
      writeSockaddr(reactor.libc.arena, addressSlot, target);
      const socket = TcpSocket.connect(reactor, addressSlot, this);
      if (typeof socket === "number") {
        last = socket;
        continue;
      }
      this.#socket = socket;
      // Each of several gets its share of the time, so that one that does not answer leaves some to the next.
      const shareMs = Math.max(BACKEND_TRY_MIN_MS, (this.#endsMs - nowMs) / left);
      return reactor.setTimer(this.#timer, Math.min(this.#endsMs, nowMs + shareMs));
    }
  }
}
