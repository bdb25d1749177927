/** The local side of a connection on its way to a service: who opened it, and how it hears what became of it. */
import { type Reactor, type TcpOwner, TcpSocket } from "../../io/mod.ts";
import type { ResultCode } from "../../core/wire/mod.ts";
import type { BridgeEnd } from "../uplink/mod.ts";

/** Why nothing came of a local connection. */
export type LocalRefusal = Exclude<ResultCode, "accepted"> | "no-uplink" | "no-answer";

/** How a local connection ended. */
export type LocalEnd = BridgeEnd | "refused";

/** A local connection as its way to the service sees it. */
export interface LocalClient {
  /** Null when the kernel could not watch it: it is gone. */
  readonly socket: TcpSocket | null;
  /** The service's end stands: bytes follow. False: the client could not be told. */
  onAccepted(): boolean;
  /** Nothing came of it: the client is told, and its socket is ended. */
  onRefused(code: LocalRefusal): void;
  /** Its way is over, after a refusal too; said once and last. */
  onEnd?(end: LocalEnd): void;
}

/** What goes on behind a client's socket: a way to the service. */
export interface LocalWay {
  onReady(): void;
  onSocketError(): void;
}

/** A client of a local TCP port: it says nothing about where it wants to go, and a refusal is a reset. */
export class ForwardClient implements LocalClient, TcpOwner {
  readonly socket: TcpSocket | null;
  #way: LocalWay | null = null;

  /** Takes over the accepted descriptor `fd`. */
  constructor(reactor: Reactor, fd: number) {
    this.socket = TcpSocket.adopt(reactor, fd, this);
  }

  /** From now on `way` hears of the socket. */
  follow(way: LocalWay): void {
    this.#way = way;
  }

  onAccepted(): boolean {
    return true;
  }

  onRefused(): void {
    this.socket?.reset();
  }

  onConnected(): void {
    // It was when it was accepted.
  }

  onReady(): void {
    this.#way?.onReady();
  }

  onError(): void {
    this.#way?.onSocketError();
  }
}
