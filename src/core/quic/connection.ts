/**
 * One QUIC connection as the roles see it: the engine's connection, where its packets go, and the marks by which the endpoint
 * finds those that need something. It owns no policy.
 */
import { Timer } from "../../base/mod.ts";
import type { CidRotation } from "./cid_rotation.ts";
import type { CloseInfo, EngineConnection } from "./engine.ts";
import { LeavingStreams } from "./leaving_streams.ts";
import { PeerAddress } from "./peer_address.ts";

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

/** Datagrams that wait outside of the engine until it can send more. */
export interface Backlog {
  /** Puts some of them into the engine's queue: called before each packet that is written. */
  refill(connection: Connection): void;
}

/** Why a connection is over, for logs and for the other ends of its streams. */
export interface Ending {
  readonly by: "peer" | "local" | "timeout" | "refused";
  readonly info: CloseInfo | null;
}

/** What the endpoint gives a connection when it makes one. */
export interface ConnectionParts {
  readonly engine: EngineConnection;
  readonly isServerSide: boolean;
  readonly path: PacketPath;
  readonly rotation: CidRotation;
  /** The engine's timer, and the endpoint's own: the handshake's end, then the rotation of IDs. */
  readonly onTimer: (connection: Connection, nowMs: number) => void;
  readonly onDeadline: (connection: Connection, nowMs: number) => void;
  readonly touch: (connection: Connection) => void;
}

export class Connection {
  /** Never reused in the life of the process. */
  readonly id: number;
  readonly engine: EngineConnection;
  readonly isServerSide: boolean;
  /** Where its packets leave. */
  path: PacketPath;
  readonly timer: Timer;
  readonly deadline: Timer;
  /** Our connection IDs, oldest first. */
  readonly rotation: CidRotation;
  /** The number of the ID that its packets carry now. */
  currentId = -1;
  /** Where its packets come from, as far as the path was validated. */
  readonly address = new PeerAddress();
  /** Packets came from elsewhere: the engine may have something to tell about paths. */
  watchesPath = false;
  /** Packets came over another socket than {@linkcode path}. */
  hasOtherPath = false;
  /** Key of the client's first destination ID in the table; null when it chose none. */
  initialKey: string | null = null;
  isEstablished = false;
  /** When the handshake ended, and when a packet or a timer last concerned it; monotonic milliseconds. */
  establishedMs = 0;
  heardMs = 0;
  /** We have closed it, and the peer may not know yet. */
  isClosing = false;
  isOver = false;
  /** The engine's state is gone: nothing may be called on {@linkcode engine} any more. */
  isFreed = false;
  /** In the endpoint's list of connections to look at, respectively to send from. */
  needsAttention = false;
  needsFlush = false;
  /** Datagrams in the engine's queue that were counted there by who put them in; exact again after each time that it sent. */
  queuedDatagrams = 0;
  /** Datagrams that were read from it: since its engine last had none, in whole, and those that the engine dropped before. */
  datagramsInRow = 0;
  datagramsRead = 0;
  datagramsLost = 0;
  /** What waits to get there, if anything does. */
  backlog: Backlog | null = null;
  /** Bytes that it may still send in this round of the endpoint; below zero after a packet that was larger. */
  credit = 0;
  readonly #touch: (connection: Connection) => void;
  readonly #leaving: LeavingStreams;

  constructor(id: number, parts: ConnectionParts) {
    this.id = id;
    this.engine = parts.engine;
    this.isServerSide = parts.isServerSide;
    this.path = parts.path;
    this.rotation = parts.rotation;
    this.timer = new Timer((nowMs) => parts.onTimer(this, nowMs));
    this.deadline = new Timer((nowMs) => parts.onDeadline(this, nowMs));
    this.#touch = parts.touch;
    this.#leaving = new LeavingStreams(parts.engine);
  }

  /** Tells the endpoint that this connection may have something to send. Cheap, and twice is once. */
  touch(): void {
    if (!this.needsFlush && !this.isFreed) this.#touch(this);
  }

  /** A stream is over for us; what was sent on it may still be on its way. */
  leave(stream: number): void {
    if (!this.isFreed) this.#leaving.add(stream);
  }

  /** Whether something that was sent on streams that are over has not arrived yet: to close now would lose it. */
  get isDelivering(): boolean {
    return !this.isOver && !this.isFreed && this.#leaving.isAny;
  }

  /** Starts closing with an application code; the peer sees the reason. What it still says is not heard. */
  close(code: number, reason: string): void {
    this.isClosing = true;
    this.engine.close(true, code, reason);
    this.touch();
  }
}

/** Why a connection that is over is. */
export function endingOf(connection: Connection): Ending {
  const { engine } = connection;
  const fromPeer = engine.peerError();
  if (fromPeer !== null) return { by: "peer", info: fromPeer };
  const local = engine.localError();
  if (local !== null) return { by: connection.isEstablished ? "local" : "refused", info: local };
  if (engine.isTimedOut()) return { by: "timeout", info: null };
  return { by: "peer", info: { isApplication: false, code: 0, reason: "stateless reset: the peer has lost this connection" } };
}

/**
 * Whether a connection that was given up before its handshake had ended cannot even say so: all that may be sent to an address that was
 * not validated is used up (RFC 9000 §8.1). To be asked when everything that can leave has left.
 */
export function isMute(connection: Connection): boolean {
  return connection.isClosing && !connection.isEstablished && !connection.needsFlush && !connection.engine.isDraining();
}
