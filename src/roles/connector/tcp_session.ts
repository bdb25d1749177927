/**
 * One TCP session of an agent joined to a connection to its backend (`session_bridge`). The agent's SYN is answered when the backend
 * has accepted, and with RST when it refuses or is silent.
 */
import type { CloseWhy, SessionHandler, TcpSession } from "../../core/netstack/mod.ts";
import type { PacketMemory } from "../../core/wire/mod.ts";
import type { TcpSocket } from "../../io/mod.ts";
import { SessionBridge, type SessionBridgeContext } from "../uplink/mod.ts";
import { BackendDial, type DialContext, type DialFailure, type DialOwner } from "./backend_dial.ts";
import type { DialTarget, Service } from "./services.ts";

/** What all sessions share. */
export interface SessionContext extends DialContext, SessionBridgeContext {
  readonly onDialled: (session: BackendSession) => void;
  readonly onDialFailed: (session: BackendSession, failure: DialFailure) => void;
  readonly onClosed: (session: BackendSession, why: CloseWhy) => void;
}

export class BackendSession implements SessionHandler, DialOwner {
  readonly session: TcpSession;
  readonly service: Service;
  readonly #context: SessionContext;
  readonly #dial: BackendDial;
  readonly #bridge: SessionBridge;
  #isOver = false;

  constructor(context: SessionContext, session: TcpSession, service: Service, targets: readonly DialTarget[]) {
    this.#context = context;
    this.session = session;
    this.service = service;
    this.#bridge = new SessionBridge(context, session);
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

  get bytesToBackend(): number {
    return this.#bridge.bytesToSocket;
  }

  get bytesFromBackend(): number {
    return this.#bridge.bytesFromSocket;
  }

  /** Dials. The session may be over when this returns. */
  start(nowMs: number): void {
    this.#dial.start(nowMs);
  }

  onDialled(socket: TcpSocket, nowMs: number): void {
    this.#bridge.attach(socket);
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
    if (!this.#isOver) this.#bridge.onReady(nowMs);
  }

  onError(_errno: number, nowMs: number): void {
    this.#bridge.onError(nowMs);
  }

  onOpen(): void {
    this.#bridge.pumpFromSocket();
  }

  onData(_session: TcpSession, memory: PacketMemory, offset: number, length: number): number {
    return this.#bridge.take(memory, offset, length);
  }

  onFin(): void {
    this.#bridge.takeEnd();
  }

  onWritable(): void {
    this.#bridge.pumpFromSocket();
  }

  onClosed(_session: TcpSession, why: CloseWhy): void {
    this.#isOver = true;
    this.#dial.cancel();
    this.#bridge.end(why);
    this.#context.onClosed(this, why);
  }
}
