/** The only client of an agent that was started for one connection: the socket behind standard input and output. */
import { type Reactor, type TcpOwner, TcpSocket } from "../../io/mod.ts";
import type { LocalClient, LocalEnd, LocalRefusal, LocalWay } from "./local_client.ts";

export class OnlyClient implements LocalClient, TcpOwner {
  readonly socket: TcpSocket | null;
  readonly #onOver: (why: LocalEnd | LocalRefusal) => void;
  #way: LocalWay | null = null;
  #refusal: LocalRefusal | null = null;

  /** Takes over the descriptor `fd`. `onOver` is called once. */
  constructor(reactor: Reactor, fd: number, onOver: (why: LocalEnd | LocalRefusal) => void) {
    this.#onOver = onOver;
    this.socket = TcpSocket.adopt(reactor, fd, this);
  }

  /** From now on `way` hears of the socket. */
  follow(way: LocalWay): void {
    this.#way = way;
  }

  onAccepted(): boolean {
    return true;
  }

  onRefused(code: LocalRefusal): void {
    this.#refusal = code;
    this.socket?.close();
  }

  onEnd(end: LocalEnd): void {
    this.#onOver(this.#refusal ?? end);
  }

  onConnected(): void {
    // It always was.
  }

  onReady(): void {
    this.#way?.onReady();
  }

  onError(): void {
    this.#way?.onSocketError();
  }
}
