/**
 * One TCP connection on its way through the server: an agent's stream joined to a connector's (WIRE 7). Bytes leave one engine
 * only when the other has room for all of them, so nothing is buffered here; a slow reader fills its own window and the
 * sender stops.
 *
 *   header ──OPEN──► opening ──OPEN sent on──► asked ──accepted──► answering ──RESULT sent──► joined
 *      └─── refused at any step: refusing ──RESULT sent──► over
 */
import { Timer } from "../../base/mod.ts";
import { abortStream, type Connection, type Engine, HeaderReader, readRest, sendWhole } from "../../core/quic/mod.ts";
import type { LimitName } from "../../core/ratelimit/mod.ts";
import {
  AbortCode,
  type AgentIdentity,
  decodeOpen,
  decodeResult,
  encodeOpen,
  encodeResult,
  RESULT_MAX_BYTES,
  type ResultCode,
  STREAM_HEADER_TIMEOUT_MS,
} from "../../core/wire/mod.ts";
import type { Deferred, Reactor } from "../../io/mod.ts";
import { RESULT_TIMEOUT_MS, STREAM_CHUNK_BYTES } from "./limits.ts";
import type { Peer, PeerStream } from "./peer.ts";
import type { PacedStream, StreamPacer } from "./stream_pacer.ts";
import type { StreamPump } from "./stream_pump.ts";

/** The answer to "may this agent open this service, and where does it go?". */
export type StreamRoute =
  | { readonly kind: "connector"; readonly peer: Peer; readonly agent: AgentIdentity }
  | { readonly kind: "refused"; readonly code: Exclude<ResultCode, "accepted">; readonly reason: string };

/** What all relayed streams share. */
export interface StreamRelayContext {
  readonly engine: Engine;
  readonly reactor: Reactor;
  /** Offset of {@linkcode STREAM_CHUNK_BYTES} bytes that are used within one call only. */
  readonly chunkAt: number;
  readonly allowLegacyServiceIds: boolean;
  readonly route: (agent: Peer, service: string) => StreamRoute;
  readonly onJoined: (stream: RelayedStream) => void;
  readonly onRefused: (stream: RelayedStream, code: ResultCode, reason: string) => void;
  readonly onMalformed: (stream: RelayedStream, why: string) => void;
  readonly pump: StreamPump;
  readonly pacer: StreamPacer;
  /** A limit lets the agent's streams wait. */
  readonly onPaced: (agent: Peer, limit: LimitName) => void;
  readonly onBytes: (isUp: boolean, bytes: number) => void;
  readonly onOver: (stream: RelayedStream) => void;
}

type State = "header" | "opening" | "asked" | "answering" | "refusing" | "joined" | "over";

export class RelayedStream implements Deferred, PeerStream, PacedStream {
  isDeferred = false;
  readonly agent: Peer;
  readonly agentStream: number;
  connector: Peer | null = null;
  connectorStream = -1;
  service = "";
  readonly openedMs: number;
  /** From the agent, and to it. */
  bytesUp = 0;
  bytesDown = 0;
  readonly #context: StreamRelayContext;
  readonly #timer: Timer;
  #header: HeaderReader;
  #identity: AgentIdentity | null = null;
  #state: State = "header";
  #answer: { readonly code: ResultCode; readonly reason: string } = { code: "accepted", reason: "" };
  /** Ends that came right behind a header, and ends that were passed on. */
  #agentEndedEarly = false;
  #connectorEndedEarly = false;
  #sentEndUp = false;
  #sentEndDown = false;
  /** It waits until its agent's limits allow more; it has waited since it last moved freely. */
  #isPaced = false;
  #wasPaced = false;
  #upIsNext = false;
  /** What a connector had said to the end before its connection closed, as far as the agent has not got it yet. */
  #rest: Uint8Array | null = null;

  /** `header` holds what was read of the stream since it was opened at `openedMs`. */
  constructor(context: StreamRelayContext, agent: Peer, agentStream: number, openedMs: number, header: HeaderReader) {
    this.#context = context;
    this.agent = agent;
    this.agentStream = agentStream;
    this.#header = header;
    this.openedMs = openedMs;
    this.#timer = new Timer((now) => this.#onTimer(now));
    context.reactor.setTimer(this.#timer, openedMs + STREAM_HEADER_TIMEOUT_MS);
  }

  /** Whether it got as far as moving bytes. */
  wasJoined = false;

  /** How far it is, for those who look. */
  get state(): State | "half-closed" {
    return this.#state === "joined" && (this.#sentEndUp || this.#sentEndDown) ? "half-closed" : this.#state;
  }

  /** One of the two streams has something to read. */
  onReadable(connection: Connection, nowMs: number): void {
    if (connection === this.agent.connection) {
      if (this.#state === "header") this.#readOpen(nowMs);
      else if (this.#state !== "opening") this.#pumpUp();
    } else if (this.#state === "asked") this.#readResult();
    else if (this.#state === "joined") this.#pumpDown();
  }

  /** One of the two streams has room again. */
  onWritable(connection: Connection): void {
    if (connection === this.agent.connection) {
      if (this.#state === "answering" || this.#state === "refusing") this.#sendAnswer();
      else this.#pumpDown();
    } else if (this.#state === "opening") this.#sendOpen();
    else this.#pumpUp();
  }

  resume(): void {
    this.#pumpUp();
    this.#pumpDown();
  }

  /** One of the two connections is gone. The other end's stream is aborted, or refused when it was not joined yet. */
  connectionLost(connection: Connection): void {
    if (this.#state === "over") return;
    if (connection === this.agent.connection) {
      if (this.connector !== null) abortStream(this.connector.connection, this.connectorStream, AbortCode.peerLost);
      this.#over();
    } else if (this.#state === "joined" && this.#sentEndUp && this.#keepRest(connection)) {
      this.#pumpRest();
    } else if (this.#state === "joined" || this.#state === "answering") {
      abortStream(this.agent.connection, this.agentStream, AbortCode.peerLost);
      this.#over();
    } else {
      this.#forgetConnector();
      this.#refuse("no-connector", "the connector was lost");
    }
  }

  abort(code: number): void {
    if (this.#state === "over") return;
    abortStream(this.agent.connection, this.agentStream, code);
    if (this.connector !== null) abortStream(this.connector.connection, this.connectorStream, code);
    this.#over();
  }

  #readOpen(nowMs: number): void {
    const header = this.#header;
    for (;;) {
      const open = decodeOpen(header.bytes, 0, header.length, { from: "agent", legacy: this.#context.allowLegacyServiceIds });
      if (open.kind === "malformed") return this.#malformed(open.why);
      if (open.kind === "open") {
        this.service = open.service;
        this.#agentEndedEarly = header.isAtEnd;
        return this.#route(nowMs);
      }
      const progress = header.fill(this.agent.connection, this.agentStream, open.bytes);
      if (progress === "need") return;
      if (progress !== "complete") return this.#malformed(progress === "ended" ? "truncated" : "reset");
    }
  }

  #route(nowMs: number): void {
    const route = this.#context.route(this.agent, this.service);
    if (route.kind === "refused") return this.#refuse(route.code, route.reason);
    const stream = route.peer.takeStream();
    if (stream < 0) return this.#refuse("busy", "the connector takes no further stream");
    this.connector = route.peer;
    this.connectorStream = stream;
    this.#identity = route.agent;
    route.peer.streams.set(stream, this);
    this.#state = "opening";
    this.#context.reactor.setTimer(this.#timer, nowMs + RESULT_TIMEOUT_MS);
    this.#sendOpen();
  }

  #sendOpen(): void {
    const { engine, chunkAt } = this.#context;
    if (this.connector === null) return;
    const length = encodeOpen(engine.arena.bytes, chunkAt, { service: this.service, agent: this.#identity });
    if (length === 0) {
      this.#forgetConnector();
      return this.#refuse("denied", "the agent's identity cannot be passed on");
    }
    const progress = sendWhole(this.connector.connection, this.connectorStream, chunkAt, length, false);
    if (progress === "wait") return;
    if (progress !== "sent") {
      this.#forgetConnector();
      return this.#refuse("busy", "the connector takes no further stream");
    }
    this.#state = "asked";
    this.#header = new HeaderReader(engine, chunkAt, RESULT_MAX_BYTES);
    this.#pumpUp();
  }

  #readResult(): void {
    const header = this.#header;
    if (this.connector === null) return;
    for (;;) {
      const result = decodeResult(header.bytes, 0, header.length);
      if (result.kind === "malformed") return this.#badConnector(`a malformed answer (${result.why})`);
      if (result.kind === "result") {
        if (result.code !== "accepted") {
          abortStream(this.connector.connection, this.connectorStream, AbortCode.none);
          this.#forgetConnector();
          return this.#refuse(result.code, result.reason);
        }
        this.#connectorEndedEarly = header.isAtEnd;
        return this.#answerNow("accepted", "");
      }
      const progress = header.fill(this.connector.connection, this.connectorStream, result.bytes);
      if (progress === "need") return;
      if (progress !== "complete") return this.#badConnector("the connector ended the stream without an answer");
    }
  }

  #badConnector(reason: string): void {
    if (this.connector !== null) abortStream(this.connector.connection, this.connectorStream, AbortCode.malformed);
    this.#forgetConnector();
    this.#refuse("no-connector", reason);
  }

  #refuse(code: Exclude<ResultCode, "accepted">, reason: string): void {
    if (this.#state === "over") return;
    this.#context.onRefused(this, code, reason);
    this.#answerNow(code, reason);
  }

  #answerNow(code: ResultCode, reason: string): void {
    this.#context.reactor.cancelTimer(this.#timer);
    this.#state = code === "accepted" ? "answering" : "refusing";
    this.#answer = { code, reason };
    this.#sendAnswer();
  }

  #sendAnswer(): void {
    const { engine, chunkAt } = this.#context;
    const { code, reason } = this.#answer;
    const length = encodeResult(engine.arena.bytes, chunkAt, code, reason);
    const progress = sendWhole(this.agent.connection, this.agentStream, chunkAt, length, code !== "accepted");
    if (progress === "wait") return;
    if (progress !== "sent") return this.abort(AbortCode.aborted);
    if (code !== "accepted") {
      // WIRE 7.4: nothing follows a refusal, and what the opener still sends is not wanted.
      this.agent.connection.engine.streamShutdown(this.agentStream, "read", AbortCode.none);
      return this.#over();
    }
    this.#state = "joined";
    this.wasJoined = true;
    this.#context.onJoined(this);
    this.resume();
  }

  #pumpUp(): void {
    const { connector } = this;
    if (connector === null || this.#sentEndUp || this.#state === "opening" || this.#state === "over") return;
    this.#sentEndUp = this.#pump(
      this.agent.connection,
      this.agentStream,
      connector.connection,
      this.connectorStream,
      true,
      this.#agentEndedEarly,
    );
    if (this.#sentEndUp && this.#sentEndDown) this.#over();
  }

  #pumpDown(): void {
    if (this.#rest !== null) return this.#pumpRest();
    const { connector } = this;
    if (connector === null || this.#sentEndDown || this.#state !== "joined") return;
    this.#sentEndDown = this.#pump(
      connector.connection,
      this.connectorStream,
      this.agent.connection,
      this.agentStream,
      false,
      this.#connectorEndedEarly,
    );
    if (this.#sentEndUp && this.#sentEndDown) this.#over();
  }

  /** A connector that ends in good order has said everything: it goes on from a copy. Returns whether that is so. */
  #keepRest(connection: Connection): boolean {
    const { engine, chunkAt } = this.#context;
    this.#rest = readRest(engine, connection.engine, this.connectorStream, chunkAt, STREAM_CHUNK_BYTES);
    if (this.#rest !== null) this.#forgetConnector();
    return this.#rest !== null;
  }

  #pumpRest(): void {
    const { chunkAt, engine } = this.#context;
    const to = this.agent.connection;
    for (let rest = this.#rest; rest !== null && this.#state === "joined"; this.#rest = rest) {
      const room = to.engine.streamCapacity(this.agentStream);
      if (room < 0) return this.abort(AbortCode.aborted);
      if (room === 0 && rest.length > 0) return void to.engine.streamWantWrite(this.agentStream, 1);
      const count = Math.min(room, STREAM_CHUNK_BYTES, rest.length);
      engine.arena.bytes.set(rest.subarray(0, count), chunkAt);
      const isEnd = count === rest.length;
      if (to.engine.streamSend(this.agentStream, chunkAt, count, isEnd) !== count) return this.abort(AbortCode.aborted);
      to.touch();
      this.#count(false, count);
      if (isEnd) return this.#over();
      rest = rest.subarray(count);
    }
  }

  /** Moves bytes one way. Returns whether the end was passed on. */
  #pump(from: Connection, fromStream: number, to: Connection, toStream: number, isUp: boolean, isAtEnd: boolean): boolean {
    const { pump, reactor } = this.#context;
    const { nowMs } = reactor;
    const outcome = isAtEnd
      ? pump.passEnd(to, toStream)
      : pump.run(from, fromStream, to, toStream, this.agent.limiter, this.#isPaced, nowMs);
    if (!isAtEnd && pump.moved > 0) this.#count(isUp, pump.moved);
    if (outcome === "ended") return true;
    if (outcome === "more") reactor.defer(this);
    else if (outcome === "paced") this.#pace(nowMs);
    // A connector that refuses wants nothing more; its answer says why and may stand behind this one's turn (WIRE 7.6).
    else if (outcome === "broken" || (outcome === "deaf" && this.#state !== "asked")) this.abort(AbortCode.aborted);
    return false;
  }

  /** Waits until the agent's limits allow more. */
  #pace(nowMs: number): void {
    this.#isPaced = true;
    this.#context.pacer.add(this, nowMs);
    if (this.#wasPaced) return;
    this.#wasPaced = true;
    const limit = this.agent.limiter.noteBytesWait(nowMs);
    if (limit !== null) this.#context.onPaced(this.agent, limit);
  }

  resumePaced(): boolean {
    this.#isPaced = false;
    const before = this.bytesUp + this.bytesDown;
    // Neither direction may always be the first to take what there is.
    this.#upIsNext = !this.#upIsNext;
    if (this.#upIsNext) this.resume();
    else {
      this.#pumpDown();
      this.#pumpUp();
    }
    if (!this.#isPaced) this.#wasPaced = false;
    return this.bytesUp + this.bytesDown > before;
  }

  #count(isUp: boolean, bytes: number): void {
    if (isUp) this.bytesUp += bytes;
    else this.bytesDown += bytes;
    this.#context.onBytes(isUp, bytes);
  }

  #malformed(why: string): void {
    this.#context.onMalformed(this, why);
    abortStream(this.agent.connection, this.agentStream, AbortCode.malformed);
    this.#over();
  }

  #onTimer(_nowMs: number): void {
    if (this.#state === "header") return this.#malformed("late");
    if (this.#state === "opening" || this.#state === "asked") this.#badConnector("the connector did not answer in time");
  }

  #forgetConnector(): void {
    this.connector?.streams.delete(this.connectorStream);
    this.connector = null;
  }

  #over(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#context.reactor.cancelTimer(this.#timer);
    this.#context.pacer.remove(this);
    this.agent.streams.delete(this.agentStream);
    this.agent.connection.leave(this.agentStream);
    this.connector?.streams.delete(this.connectorStream);
    this.connector?.connection.leave(this.connectorStream);
    this.#context.onOver(this);
  }
}
