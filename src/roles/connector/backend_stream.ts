/**
 * One stream that the server opened to us: read its OPEN (WIRE 7.3), dial the backend of that service and of no other,
 * answer with RESULT, then move bytes. Nothing of the stream's data is read before the backend has accepted.
 *
 *   header ──OPEN──► dialling ──connected──► answering ──RESULT sent──► joined
 */
import { Timer } from "../../base/mod.ts";
import { abortStream, type Connection, HeaderReader, sendWhole } from "../../core/quic/mod.ts";
import {
  AbortCode,
  type AgentIdentity,
  decodeOpen,
  encodeResult,
  OPEN_MAX_BYTES,
  RESULT_MAX_BYTES,
  type ResultCode,
  STREAM_HEADER_TIMEOUT_MS,
} from "../../core/wire/mod.ts";
import { errnoText, type Reactor, SOCKADDR_SLOT_BYTES, TcpSocket, writeSockaddr } from "../../io/mod.ts";
import type { ServicePlan } from "../control/mod.ts";
import { type BridgeContext, type BridgeEnd, StreamBridge } from "../uplink/mod.ts";
import { BACKEND_CONNECT_TIMEOUT_MS } from "./limits.ts";

/** What all streams of the connector share. */
export interface BackendContext {
  readonly bridge: BridgeContext;
  readonly reactor: Reactor;
  readonly allowLegacyServiceIds: boolean;
  /** Offset of a sockaddr slot for the backend's address. */
  readonly addressSlot: number;
  readonly backendOf: (service: string) => ServicePlan | undefined;
  readonly onRefused: (stream: BackendStream, code: ResultCode, detail: string) => void;
  readonly onMalformed: (stream: BackendStream, why: string) => void;
  readonly onJoined: (stream: BackendStream) => void;
  readonly onOver: (stream: BackendStream, end: BridgeEnd | "refused" | "malformed") => void;
}

type State = "header" | "dialling" | "answering" | "refusing" | "joined" | "over";

export class BackendStream {
  readonly connection: Connection;
  readonly stream: number;
  service = "";
  agent: AgentIdentity | null = null;
  readonly #context: BackendContext;
  readonly #bridge: StreamBridge;
  readonly #timer: Timer;
  #header: HeaderReader | null;
  #socket: TcpSocket | null = null;
  #state: State = "header";
  #addresses: readonly string[] = [];
  #nextAddress = 0;
  #port = 0;
  #answer: { readonly code: ResultCode; readonly detail: string } = { code: "accepted", detail: "" };

  constructor(context: BackendContext, connection: Connection, stream: number, nowMs: number) {
    this.#context = context;
    this.connection = connection;
    this.stream = stream;
    this.#header = new HeaderReader(context.bridge.engine, context.bridge.chunkAt, OPEN_MAX_BYTES);
    this.#bridge = new StreamBridge(context.bridge, connection, stream, (_bridge, end) => this.#over(end));
    this.#timer = new Timer((now) => this.#onTimer(now));
    context.reactor.setTimer(this.#timer, nowMs + STREAM_HEADER_TIMEOUT_MS);
  }

  get isJoined(): boolean {
    return this.#state === "joined";
  }

  onReadable(nowMs: number): void {
    if (this.#state === "header") this.#readHeader(nowMs);
    else if (this.#state === "dialling" || this.#state === "answering" || this.#state === "joined") this.#bridge.pumpToSocket();
  }

  onWritable(): void {
    if (this.#state === "answering" || this.#state === "refusing") this.#sendAnswer();
    else if (this.#state === "joined") this.#bridge.pumpToStream();
  }

  /** Answers `code` and ends; for the role, which knows its limits. */
  refuse(code: ResultCode, detail: string): void {
    this.#refuse(code, detail);
  }

  connectionLost(): void {
    this.#socket?.reset();
    this.#over("connection-lost");
  }

  abort(code: number): void {
    if (this.#state === "over") return;
    abortStream(this.connection, this.stream, code);
    this.#socket?.reset();
    this.#over("aborted-here");
  }

  #readHeader(nowMs: number): void {
    const header = this.#header;
    if (header === null) return;
    for (;;) {
      const open = decodeOpen(header.bytes, 0, header.length, { from: "server", legacy: this.#context.allowLegacyServiceIds });
      if (open.kind === "malformed") return this.#malformed(open.why);
      if (open.kind === "open") {
        this.service = open.service;
        this.agent = open.agent;
        if (header.isAtEnd) this.#bridge.noteStreamEnd();
        this.#header = null;
        return this.#dial(nowMs);
      }
      const progress = header.fill(this.connection, this.stream, open.bytes);
      if (progress === "need") return;
      if (progress !== "complete") return this.#malformed(progress === "ended" ? "truncated" : "reset");
    }
  }

  #dial(nowMs: number): void {
    const backend = this.#context.backendOf(this.service);
    if (backend === undefined) return this.#refuse("unknown-service", "this connector does not serve it");
    if (backend.addresses.length === 0) return this.#refuse("backend-refused", `the name ${backend.host} has no address`);
    this.#state = "dialling";
    this.#addresses = backend.addresses;
    this.#port = backend.port;
    this.#context.reactor.setTimer(this.#timer, nowMs + BACKEND_CONNECT_TIMEOUT_MS);
    this.#dialNext(0);
  }

  /** Tries the next of the backend's addresses; after the last one the answer is what the last one said. */
  #dialNext(lastErrno: number): void {
    const address = this.#addresses[this.#nextAddress++];
    if (address === undefined) return this.#refuse("backend-refused", errnoText(lastErrno));
    const { reactor, addressSlot } = this.#context;
    writeSockaddr(reactor.libc.arena, addressSlot, { address, port: this.#port });
    const socket = TcpSocket.connect(reactor, addressSlot, {
      onConnected: () => this.#answerNow("accepted", ""),
      onReady: () => this.#bridge.onReady(),
      onError: (errno) => this.#onSocketError(errno),
    });
    if (typeof socket === "number") this.#dialNext(socket);
    else this.#socket = socket;
  }

  #onSocketError(errno: number): void {
    if (this.#state === "dialling") this.#dialNext(errno);
    else this.#bridge.onError();
  }

  #refuse(code: ResultCode, detail: string): void {
    if (this.#state === "over") return;
    this.#socket?.reset();
    this.#context.onRefused(this, code, detail);
    this.#answerNow(code, detail);
  }

  #answerNow(code: ResultCode, detail: string): void {
    this.#context.reactor.cancelTimer(this.#timer);
    this.#state = code === "accepted" ? "answering" : "refusing";
    this.#answer = { code, detail };
    this.#sendAnswer();
  }

  #sendAnswer(): void {
    const { bridge } = this.#context;
    const { code, detail } = this.#answer;
    const length = encodeResult(bridge.engine.arena.bytes, bridge.chunkAt, code, detail.slice(0, RESULT_MAX_BYTES / 2));
    const progress = sendWhole(this.connection, this.stream, bridge.chunkAt, length, code !== "accepted");
    if (progress === "wait") return;
    if (progress !== "sent") {
      this.#socket?.reset();
      return this.#over("aborted-by-peer");
    }
    if (code !== "accepted") {
      // WIRE 7.4: the refusal ends our direction; what the opener still sends is not wanted.
      this.connection.engine.streamShutdown(this.stream, "read", AbortCode.none);
      return this.#over("refused");
    }
    this.#state = "joined";
    this.#context.onJoined(this);
    if (this.#socket !== null) this.#bridge.attach(this.#socket);
  }

  #malformed(why: string): void {
    this.#context.onMalformed(this, why);
    abortStream(this.connection, this.stream, AbortCode.malformed);
    this.#over("malformed");
  }

  #onTimer(_nowMs: number): void {
    if (this.#state === "header") this.#malformed("late");
    else if (this.#state === "dialling") this.#refuse("backend-timeout", `no answer within ${BACKEND_CONNECT_TIMEOUT_MS} ms`);
  }

  #over(end: BridgeEnd | "refused" | "malformed"): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#context.reactor.cancelTimer(this.#timer);
    this.#context.onOver(this, end);
  }
}

/** Bytes of arena that {@linkcode BackendContext.addressSlot} needs. */
export const ADDRESS_SLOT_BYTES = SOCKADDR_SLOT_BYTES;
