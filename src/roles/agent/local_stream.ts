/**
 * One local connection on its way to a service: open a stream (WIRE 7.3), send what the client says without waiting, and read
 * the RESULT before the first byte that comes back. The local client hears what became of it (`local_client`).
 *
 *   waiting ──uplink──► opening ──OPEN sent──► asked ──accepted──► joined
 */
import { Timer } from "../../base/mod.ts";
import { abortStream, type Connection, HeaderReader, sendWhole } from "../../core/quic/mod.ts";
import { AbortCode, ALPN_V2, decodeResult, encodeOpen, RESULT_MAX_BYTES } from "../../core/wire/mod.ts";
import type { Reactor } from "../../io/mod.ts";
import { type BridgeContext, StreamBridge } from "../uplink/mod.ts";
import { RESULT_TIMEOUT_MS } from "./limits.ts";
import type { LocalClient, LocalEnd, LocalRefusal, LocalWay } from "./local_client.ts";

/** What all local streams share. */
export interface LocalContext {
  readonly bridge: BridgeContext;
  readonly reactor: Reactor;
  /** How long a connection waits for the uplink. */
  readonly uplinkWaitMs: number;
  readonly onAccepted: (stream: LocalStream) => void;
  readonly onRefused: (stream: LocalStream, code: LocalRefusal, detail: string) => void;
  readonly onOver: (stream: LocalStream, end: LocalEnd) => void;
}

type State = "waiting" | "opening" | "asked" | "joined" | "over";

export class LocalStream implements LocalWay {
  readonly service: string;
  readonly client: LocalClient;
  stream = -1;
  readonly openedMs: number;
  readonly #context: LocalContext;
  readonly #timer: Timer;
  #header: HeaderReader | null = null;
  #bridge: StreamBridge | null = null;
  #connection: Connection | null = null;
  #state: State = "waiting";

  constructor(context: LocalContext, service: string, client: LocalClient, nowMs: number) {
    this.#context = context;
    this.service = service;
    this.client = client;
    this.openedMs = nowMs;
    this.#timer = new Timer(() => this.#onTimer());
    context.reactor.setTimer(this.#timer, nowMs + context.uplinkWaitMs);
  }

  /** How far it is, for those who look. */
  get state(): State | "half-closed" {
    return this.#state === "joined" && this.#bridge?.isHalfClosed === true ? "half-closed" : this.#state;
  }

  get bytesToService(): number {
    return this.#bridge?.bytesFromSocket ?? 0;
  }

  get bytesFromService(): number {
    return this.#bridge?.bytesToSocket ?? 0;
  }

  get isWaiting(): boolean {
    return this.#state === "waiting";
  }

  /** The uplink is up: asks for the service on `stream`, a new stream of ours. */
  open(connection: Connection, stream: number, nowMs: number): void {
    if (this.#state !== "waiting") return;
    if (connection.engine.applicationProtocol() !== ALPN_V2) {
      return this.#refuse("datagram-only", "the server speaks ztna-v1 only, and this agent sends no packets");
    }
    this.#connection = connection;
    this.stream = stream;
    this.#state = "opening";
    this.#header = new HeaderReader(this.#context.bridge.engine, this.#context.bridge.chunkAt, RESULT_MAX_BYTES);
    this.#bridge = new StreamBridge(this.#context.bridge, connection, stream, (_bridge, end) => this.#over(end));
    this.#context.reactor.setTimer(this.#timer, nowMs + RESULT_TIMEOUT_MS);
    this.#sendOpen();
  }

  onReady(): void {
    this.#bridge?.onReady();
  }

  onSocketError(): void {
    if (this.#bridge !== null) this.#bridge.onError();
    else this.#over("aborted-by-socket");
  }

  onReadable(): void {
    if (this.#state === "asked") this.#readResult();
    else if (this.#state === "joined") this.#bridge?.pumpToSocket();
  }

  onWritable(): void {
    if (this.#state === "opening") this.#sendOpen();
    else this.#bridge?.pumpToStream();
  }

  connectionLost(): void {
    if (this.#state === "over") return;
    this.client.socket?.reset();
    this.#over("connection-lost");
  }

  abort(code: number): void {
    if (this.#state === "over") return;
    if (this.#connection !== null) abortStream(this.#connection, this.stream, code);
    this.client.socket?.reset();
    this.#over("aborted-here");
  }

  #sendOpen(): void {
    const connection = this.#connection;
    if (connection === null || this.#bridge === null) return;
    const { engine, chunkAt } = this.#context.bridge;
    const length = encodeOpen(engine.arena.bytes, chunkAt, { service: this.service, agent: null });
    const progress = sendWhole(connection, this.stream, chunkAt, length, false);
    if (progress === "wait") return;
    if (progress === "limit") return this.#refuse("busy", "the server allows no further stream");
    if (progress === "failed") return this.#refuse("no-answer", "the stream could not be opened");
    this.#state = "asked";
    // What the client has sent goes out behind OPEN; the server holds it back until the backend has accepted.
    if (this.client.socket !== null) this.#bridge.attachUpstream(this.client.socket);
  }

  #readResult(): void {
    const header = this.#header, connection = this.#connection;
    if (header === null || connection === null) return;
    for (;;) {
      const result = decodeResult(header.bytes, 0, header.length);
      if (result.kind === "malformed") return this.#refuse("no-answer", `a malformed answer (${result.why})`);
      if (result.kind === "result") {
        if (result.code !== "accepted") return this.#refuse(result.code, result.reason);
        return this.#join(header.isAtEnd);
      }
      const progress = header.fill(connection, this.stream, result.bytes);
      if (progress === "need") return;
      if (progress !== "complete") return this.#refuse("no-answer", "the stream ended without an answer");
    }
  }

  #join(isAtEnd: boolean): void {
    this.#context.reactor.cancelTimer(this.#timer);
    this.#state = "joined";
    this.#context.onAccepted(this);
    this.#header = null;
    if (isAtEnd) this.#bridge?.noteStreamEnd();
    if (!this.client.onAccepted()) return this.abort(AbortCode.aborted);
    if (this.client.socket !== null) this.#bridge?.attach(this.client.socket);
  }

  #refuse(code: LocalRefusal, detail: string): void {
    if (this.#state === "over") return;
    this.#context.onRefused(this, code, detail);
    if (this.#connection !== null && this.stream >= 0) abortStream(this.#connection, this.stream, AbortCode.none);
    this.client.onRefused(code);
    this.#over("refused");
  }

  #onTimer(): void {
    if (this.#state === "waiting") this.#refuse("no-uplink", "the server is not reachable");
    else this.#refuse("no-answer", `no answer within ${RESULT_TIMEOUT_MS} ms`);
  }

  #over(end: LocalEnd): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#context.reactor.cancelTimer(this.#timer);
    this.#context.onOver(this, end);
    this.client.onEnd?.(end);
  }
}
