/**
 * One stream that was opened to us, by the server or directly by an agent: read its OPEN (WIRE 7.3), dial the backend of that
 * service and of no other, answer with RESULT, then move bytes. Nothing of the stream's data is read before the backend has accepted.
 *
 *   header ──OPEN──► dialling ──connected──► answering ──RESULT sent──► joined
 */
import { Timer } from "../../base/mod.ts";
import { abortStream, type Connection, HeaderReader, sendWhole } from "../../core/quic/mod.ts";
import {
  AbortCode,
  classifyStream,
  decodeOpen,
  encodeResult,
  OPEN_MAX_BYTES,
  RESULT_MAX_BYTES,
  type ResultCode,
  STREAM_HEADER_TIMEOUT_MS,
} from "../../core/wire/mod.ts";
import { errnoText, SOCKADDR_SLOT_BYTES, type TcpSocket } from "../../io/mod.ts";
import { type BridgeContext, type BridgeEnd, StreamBridge } from "../uplink/mod.ts";
import { BackendDial, type DialContext, type DialFailure, type DialOwner } from "./backend_dial.ts";
import { BACKEND_CONNECT_TIMEOUT_MS } from "./limits.ts";
import { type DialTarget, lackOfTargets, serves, type Service, targetsOf } from "./services.ts";

/** Who opens streams on a connection. */
export interface StreamOrigin {
  readonly from: "server" | "agent";
  /** The agent itself, where the connection is its own. */
  readonly agent: { readonly commonName: string } | null;
  /** Whose streams count together; null where the server has counted them. */
  readonly streamsKey: string | null;
  mayReach(service: Service): boolean;
  /** Whether one more open is within its rate. */
  mayOpen(nowMs: number): boolean;
}

/** What all streams of the connector share. */
export interface BackendContext extends DialContext {
  readonly bridge: BridgeContext;
  readonly allowLegacyServiceIds: boolean;
  readonly serviceOf: (id: string) => Service | undefined;
  readonly onRefused: (stream: BackendStream, code: ResultCode, detail: string) => void;
  readonly onMalformed: (stream: BackendStream, why: string) => void;
  /** The stream begins as signalling does (WIRE 7.1), with the bytes of it that were read. False when nobody takes it over. */
  readonly onSignalling: (stream: BackendStream, first: Uint8Array, nowMs: number) => boolean;
  readonly onJoined: (stream: BackendStream) => void;
  readonly onOver: (stream: BackendStream, end: BridgeEnd | "refused" | "malformed") => void;
}

type State = "header" | "dialling" | "answering" | "refusing" | "joined" | "over";

export class BackendStream implements DialOwner {
  readonly connection: Connection;
  readonly stream: number;
  readonly origin: StreamOrigin;
  service = "";
  agent: { readonly commonName: string } | null;
  readonly openedMs: number;
  readonly #context: BackendContext;
  readonly #bridge: StreamBridge;
  readonly #timer: Timer;
  #header: HeaderReader | null;
  #socket: TcpSocket | null = null;
  #state: State = "header";
  #dial: BackendDial | null = null;
  #answer: { readonly code: ResultCode; readonly detail: string } = { code: "accepted", detail: "" };

  constructor(context: BackendContext, origin: StreamOrigin, connection: Connection, stream: number, nowMs: number) {
    this.#context = context;
    this.origin = origin;
    this.agent = origin.agent;
    this.connection = connection;
    this.stream = stream;
    this.openedMs = nowMs;
    this.#header = new HeaderReader(context.bridge.engine, context.bridge.chunkAt, OPEN_MAX_BYTES);
    this.#bridge = new StreamBridge(context.bridge, connection, stream, (_bridge, end) => this.#over(end));
    this.#timer = new Timer((now) => this.#onTimer(now));
    context.reactor.setTimer(this.#timer, nowMs + STREAM_HEADER_TIMEOUT_MS);
  }

  get isJoined(): boolean {
    return this.#state === "joined";
  }

  /** How far it is, for those who look. */
  get state(): State | "half-closed" {
    return this.#state === "joined" && this.#bridge.isHalfClosed ? "half-closed" : this.#state;
  }

  get bytesToBackend(): number {
    return this.#bridge.bytesToSocket;
  }

  get bytesFromBackend(): number {
    return this.#bridge.bytesFromSocket;
  }

  /** The backend's address that was dialled last. */
  get target(): DialTarget | undefined {
    return this.#dial?.target;
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
    this.#over("connection-lost");
  }

  abort(code: number): void {
    if (this.#state === "over") return;
    abortStream(this.connection, this.stream, code);
    this.#over("aborted-here");
  }

  #readHeader(nowMs: number): void {
    const header = this.#header;
    if (header === null) return;
    const { from } = this.origin;
    for (;;) {
      if (header.length > 0 && classifyStream(header.bytes[0] ?? 0xff) === "signalling") return this.#handOver(header, nowMs);
      const open = decodeOpen(header.bytes, 0, header.length, { from, legacy: this.#context.allowLegacyServiceIds });
      if (open.kind === "malformed") return this.#malformed(open.why);
      if (open.kind === "open") {
        this.service = open.service;
        this.agent ??= open.agent;
        if (header.isAtEnd) this.#bridge.noteStreamEnd();
        this.#header = null;
        return this.#begin(nowMs);
      }
      const progress = header.fill(this.connection, this.stream, open.bytes);
      if (progress === "need") return;
      if (progress !== "complete") return this.#malformed(progress === "ended" ? "truncated" : "reset");
    }
  }

  #handOver(header: HeaderReader, nowMs: number): void {
    if (!this.#context.onSignalling(this, header.bytes.slice(0, header.length), nowMs)) return this.#malformed("first-byte");
    this.#state = "over";
    this.#context.reactor.cancelTimer(this.#timer);
  }

  onDialled(socket: TcpSocket): void {
    this.#socket = socket;
    this.#answerNow("accepted", "");
  }

  onDialFailed(failure: DialFailure): void {
    if (failure === null) this.#refuse("backend-timeout", `no answer within ${BACKEND_CONNECT_TIMEOUT_MS} ms`);
    else this.#refuse("backend-refused", errnoText(failure));
  }

  onReady(): void {
    this.#bridge.onReady();
  }

  onError(): void {
    this.#bridge.onError();
  }

  #begin(nowMs: number): void {
    const service = this.#context.serviceOf(this.service);
    if (service === undefined || !this.origin.mayReach(service)) {
      // Who may not reach a service does not learn whether there is one.
      if (this.origin.from === "agent") return this.#refuse("denied", "the certificate does not name this service");
      return this.#refuse("unknown-service", "this connector does not serve it");
    }
    if (!serves(service, "tcp")) return this.#refuse("datagram-only", "the service is not spoken over TCP");
    const targets = targetsOf(service);
    if (targets.length === 0) return this.#refuse("backend-refused", lackOfTargets(service));
    this.#context.reactor.cancelTimer(this.#timer);
    this.#state = "dialling";
    this.#dial = new BackendDial(this.#context, targets, this);
    this.#dial.start(nowMs);
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
    if (progress !== "sent") return this.#over("aborted-by-peer");
    if (code !== "accepted") {
      // WIRE 7.4: the refusal ends our direction; what the opener still sends is not wanted.
      this.connection.engine.streamShutdown(this.stream, "read", AbortCode.none);
      this.connection.leave(this.stream);
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
  }

  #over(end: BridgeEnd | "refused" | "malformed"): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#dial?.cancel();
    // Before the bridge has it, the backend's connection is ours to end.
    this.#socket?.reset();
    this.#context.reactor.cancelTimer(this.#timer);
    this.#context.onOver(this, end);
  }
}

/** Bytes of arena that {@linkcode BackendContext.addressSlot} needs. */
export const ADDRESS_SLOT_BYTES = SOCKADDR_SLOT_BYTES;
