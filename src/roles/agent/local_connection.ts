/**
 * One local connection on its way to a service: it waits for the uplink, asks by a stream or, where the server or the service's
 * connectors know none, in packets, and the local client hears what became of it (`local_client`). On a direct path nothing of the
 * client's goes out before the answer, so that it can still go by the server.
 *
 *   waiting ──uplink──► asking ──accepted──► joined ──► over
 *      └──too long──┐     └──refused──┐
 *                   └──► over ◄───────┘   refused as datagram-only: asked again, in packets
 *                                           directly, and not the backend's word: waits again, for the server
 */
import { Timer } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import { AbortCode } from "../../core/wire/mod.ts";
import { RESULT_TIMEOUT_MS } from "./limits.ts";
import type { LocalClient, LocalEnd, LocalRefusal, LocalWay } from "./local_client.ts";
import { LocalSession, type LocalSessionContext } from "./local_session.ts";
import { LocalStream, type LocalStreamContext, type StreamPlace } from "./local_stream.ts";

/** What all local connections share. */
export interface LocalContext {
  readonly streams: LocalStreamContext;
  readonly sessions: LocalSessionContext;
  /** How long a connection waits for the uplink. */
  readonly uplinkWaitMs: number;
  readonly onAccepted: (connection: LocalConnection) => void;
  readonly onRefused: (connection: LocalConnection, code: LocalRefusal, detail: string) => void;
  /** The direct path is of no use to it. */
  readonly onRetreat: (connection: LocalConnection) => void;
  readonly onOver: (connection: LocalConnection, end: LocalEnd) => void;
}

/** How a connection travels, and what it tells. */
export interface LocalTransport extends LocalWay {
  readonly bytesToService: number;
  readonly bytesFromService: number;
  /** One direction has ended, the other has not. */
  readonly isHalfClosed: boolean;
  /** Ends both directions at once; its owner is not told. */
  abort(code: number): void;
}

export interface LocalTransportOwner {
  /** The service's end stands. False: the client could not be told. */
  onJoined(): boolean;
  onRefused(code: LocalRefusal, detail: string): void;
  onOver(end: LocalEnd): void;
}

/** What another way to the service would be answered too. */
const OF_BACKEND: ReadonlySet<LocalRefusal> = new Set(["backend-refused", "backend-timeout"]);

/** How a stream is asked for. */
export interface StreamWay extends StreamPlace {
  /** To the connector itself. */
  readonly isDirect: boolean;
}

type State = "waiting" | "asked" | "joined" | "over";

export class LocalConnection implements LocalWay, LocalTransportOwner {
  readonly service: string;
  /** The port of the service's inner address, where it goes in packets. */
  readonly port: number;
  readonly client: LocalClient;
  readonly openedMs: number;
  /** The stream that it has, or -1, and of which connection. */
  stream = -1;
  connection: Connection | null = null;
  readonly #context: LocalContext;
  readonly #timer = new Timer(() => this.#onTimer());
  #transport: LocalTransport | null = null;
  #isDirect = false;
  #state: State = "waiting";

  constructor(context: LocalContext, service: string, port: number, client: LocalClient, nowMs: number) {
    this.#context = context;
    this.service = service;
    this.port = port;
    this.client = client;
    this.openedMs = nowMs;
    this.#setTimer(nowMs + context.uplinkWaitMs);
  }

  /** How far it is, for those who look. */
  get state(): State | "half-closed" {
    return this.#state === "joined" && this.#transport?.isHalfClosed === true ? "half-closed" : this.#state;
  }

  get isInPackets(): boolean {
    return this.#transport instanceof LocalSession;
  }

  get bytesToService(): number {
    return this.#transport?.bytesToService ?? 0;
  }

  get bytesFromService(): number {
    return this.#transport?.bytesFromService ?? 0;
  }

  get isWaiting(): boolean {
    return this.#state === "waiting";
  }

  /** It goes to the connector itself and has given it nothing of the client's yet. */
  get canRetreat(): boolean {
    return this.#isDirect && this.#state === "asked";
  }

  /** There is a way: asks on a new stream of ours. If it is eager, what the client says goes out behind the question. */
  openStream(way: StreamWay, nowMs: number): LocalStream {
    this.stream = way.stream;
    this.connection = way.connection;
    this.#isDirect = way.isDirect;
    this.#state = "asked";
    this.#setTimer(nowMs + RESULT_TIMEOUT_MS);
    const transport = new LocalStream(this.#context.streams, this.client, this, way);
    this.#transport = transport;
    transport.open(this.service);
    return transport;
  }

  /** Leaves a direct path and waits for another way. Only where {@linkcode canRetreat}. */
  retreat(nowMs: number): void {
    if (this.connection?.isOver === false) this.#transport?.abort(AbortCode.none);
    this.#transport = null;
    this.stream = -1;
    this.connection = null;
    this.#isDirect = false;
    this.#state = "waiting";
    this.#setTimer(nowMs + this.#context.uplinkWaitMs);
  }

  /** Asks in packets. */
  openSession(nowMs: number): void {
    this.stream = -1;
    this.connection = null;
    this.#state = "asked";
    this.#setTimer(nowMs + RESULT_TIMEOUT_MS);
    const transport = new LocalSession(this.#context.sessions, this.client, this);
    this.#transport = transport;
    transport.open(this.service, this.port, nowMs);
  }

  /** The server does not let us register the service: packets cannot go. */
  denied(why: string): void {
    if (this.#state === "asked" && this.isInPackets) this.#refuse("denied", why);
  }

  onReady(): void {
    this.#transport?.onReady();
  }

  onSocketError(): void {
    if (this.#state === "over") return;
    if (this.#transport !== null) this.#transport.onSocketError();
    else this.onOver("aborted-by-socket");
  }

  /** The QUIC connection of its stream is gone. */
  connectionLost(): void {
    if (this.#state === "over") return;
    this.client.socket?.reset();
    this.onOver("connection-lost");
  }

  abort(code: number): void {
    if (this.#state === "over") return;
    this.#transport?.abort(code);
    this.client.socket?.reset();
    this.onOver("aborted-here");
  }

  onJoined(): boolean {
    this.#cancelTimer();
    this.#state = "joined";
    this.#context.onAccepted(this);
    return this.client.onAccepted();
  }

  onRefused(code: LocalRefusal, detail: string): void {
    if (this.#state !== "asked") return;
    if (this.canRetreat && !OF_BACKEND.has(code)) return this.#context.onRetreat(this);
    const mayAskAgain = code === "datagram-only" && this.#transport instanceof LocalStream && !this.#transport.isEager;
    if (!mayAskAgain) return this.#refuse(code, detail);
    this.#transport?.abort(AbortCode.none);
    this.#context.onRefused(this, code, detail);
    this.openSession(this.#context.sessions.reactor.nowMs);
  }

  onOver(end: LocalEnd): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#cancelTimer();
    this.#context.onOver(this, end);
    this.client.onEnd?.(end);
  }

  #refuse(code: LocalRefusal, detail: string): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#cancelTimer();
    this.#context.onRefused(this, code, detail);
    this.#transport?.abort(AbortCode.none);
    this.client.onRefused(code);
    this.#context.onOver(this, "refused");
    this.client.onEnd?.("refused");
  }

  #onTimer(): void {
    if (this.#state === "waiting") this.#refuse("no-uplink", "the server is not reachable");
    else if (this.canRetreat) this.#context.onRetreat(this);
    else this.#refuse("no-answer", `no answer within ${RESULT_TIMEOUT_MS} ms`);
  }

  #setTimer(deadlineMs: number): void {
    this.#context.sessions.reactor.setTimer(this.#timer, deadlineMs);
  }

  #cancelTimer(): void {
    this.#context.sessions.reactor.cancelTimer(this.#timer);
  }
}
