/**
 * One QUIC connection as the roles see it: the engine's connection, where its packets go, and the marks by which the endpoint
 * finds those that need something. It owns no policy.
 */
import { Timer } from "../../base/mod.ts";
import type { CloseInfo, EngineConnection } from "./engine.ts";

/** A UDP socket as the endpoint sees it; `io/udp_socket` and the simulation's network are ones. */
export interface PacketPath {
  /** Offset of the sockaddr slot that it is bound to. */
  readonly localAddress: number;
  /** Offset with room for one packet, or -1 while nothing can be taken. */
  room(bytes: number): number;
  /** Queues the packet written at the last {@linkcode room} to the sockaddr in the slot `to`. */
  commit(length: number, to: number): void;
  flush(): void;
}

/** Why a connection is over, for logs and for the other ends of its streams. */
export interface Ending {
  readonly by: "peer" | "local" | "timeout" | "refused";
  readonly info: CloseInfo | null;
}

export class Connection {
  /** Never reused in the life of the process. */
  readonly id: number;
  readonly engine: EngineConnection;
  readonly isServerSide: boolean;
  path: PacketPath;
  readonly timer: Timer;
  /** Our connection IDs, oldest first. */
  readonly localIds: Uint8Array[] = [];
  /** Key of the client's first destination ID in the table; null once it is gone. */
  initialKey: string | null = null;
  isEstablished = false;
  isOver = false;
  /** The engine's state is gone: nothing may be called on {@linkcode engine} any more. */
  isFreed = false;
  /** In the endpoint's list of connections to look at, respectively to send from. */
  needsAttention = false;
  needsFlush = false;
  readonly #touch: (connection: Connection) => void;

  constructor(
    id: number,
    engine: EngineConnection,
    isServerSide: boolean,
    path: PacketPath,
    onTimer: (connection: Connection, nowMs: number) => void,
    touch: (connection: Connection) => void,
  ) {
    this.id = id;
    this.engine = engine;
    this.isServerSide = isServerSide;
    this.path = path;
    this.timer = new Timer((nowMs) => onTimer(this, nowMs));
    this.#touch = touch;
  }

  /** Tells the endpoint that this connection may have something to send. Cheap, and twice is once. */
  touch(): void {
    if (!this.needsFlush && !this.isFreed) this.#touch(this);
  }

  /** Starts closing with an application code; the peer sees the reason. */
  close(code: number, reason: string): void {
    this.engine.close(true, code, reason);
    this.touch();
  }
}
