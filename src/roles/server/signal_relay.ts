/**
 * Signalling through the server (WIRE 6): bytes of a stream become messages, each message is judged by the sessions, and what
 * they say is to be told to whom is queued for them. On ztna-v1 connections every stream of a client is signalling; on ztna-v2
 * those that begin with its first byte.
 */
import { Timer } from "../../base/mod.ts";
import { type Connection, EngineError } from "../../core/quic/mod.ts";
import type { LimitName } from "../../core/ratelimit/mod.ts";
import type { Registry } from "../../core/registry/mod.ts";
import {
  type SignalLimits,
  type SignalOutcome,
  type SignalRefusal,
  type SignalSend,
  SignalSessions,
} from "../../core/signal/mod.ts";
import { AbortCode, CloseCode, encodeSignal, SIGNAL_ENCODED_MAX_BYTES, type SignalMessage } from "../../core/wire/mod.ts";
import type { Plane, SampledLog } from "../control/mod.ts";
import { SIGNAL_MALFORMED_PER_PEER_MAX, SIGNAL_TURN_BYTES } from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer } from "./peer.ts";
import { SignalOutbox } from "./signal_outbox.ts";
import { SignalStream, type SignalStreamContext } from "./signal_stream.ts";

/** Refusals because of limits that an operator sets. */
const SESSION_LIMITS: { readonly [R in SignalRefusal]?: LimitName } = {
  "agent-sessions": "sessions-per-connection",
  "identity-sessions": "sessions-per-identity",
};

type Malformed = { readonly kind: "malformed"; readonly why: string };

export interface SignalRelayOptions {
  readonly plane: Plane;
  readonly registry: Registry;
  readonly peers: ReadonlyMap<number, Peer>;
  readonly log: SampledLog;
  readonly limits: SignalLimits;
  readonly allowLegacyServiceIds: boolean;
  /** Candidates on this machine itself are passed on. */
  readonly allowLoopback: boolean;
  readonly count: (metric: ServerMetric) => void;
  /** A peer asks for more than it may. */
  readonly onOverLimit: (peer: Peer, limit: LimitName) => void;
}

export class SignalRelay {
  readonly #options: SignalRelayOptions;
  readonly #sessions: SignalSessions;
  readonly #scratchAt: number;
  readonly #streams: SignalStreamContext;
  readonly #encoded = new Uint8Array(SIGNAL_ENCODED_MAX_BYTES);
  readonly #timer = new Timer((nowMs) => this.#expire(nowMs));

  constructor(options: SignalRelayOptions) {
    this.#options = options;
    this.#sessions = new SignalSessions(options.registry, { allowLoopback: options.allowLoopback, limits: options.limits });
    const { registry, log, count } = options;
    this.#streams = {
      reactor: options.plane.platform.reactor,
      receiverOptions: { legacy: options.allowLegacyServiceIds },
      isRegistered: (peer) => registry.roleOf(peer.id) !== "none",
      read: (stream, connection, nowMs) => this.#read(stream, connection, nowMs),
      onGone: ({ peer, stream }) => peer.signals?.lost(stream),
      onRefused: (peer, metric, why) => {
        count(metric);
        log.warn("signal-refused", `A signalling stream was aborted: ${why}`, { peer: peer.label, why });
      },
      heldBytes: 0,
    };
    this.#scratchAt = options.plane.platform.layout.reserve(Math.max(SIGNAL_TURN_BYTES, SIGNAL_ENCODED_MAX_BYTES));
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** Bytes of half messages that are held, all peers together. */
  get heldBytes(): number {
    return this.#streams.heldBytes;
  }

  /** Other bounds of sessions from now on. */
  configure(limits: SignalLimits): void {
    this.#sessions.configure(limits);
  }

  /** A stream that carries signalling, with the bytes of it that were read already; null when the peer has too many of them. */
  open(peer: Peer, stream: number, first: Uint8Array = new Uint8Array(0)): SignalStream | null {
    const entry = new SignalStream(this.#streams, peer, stream);
    if (!entry.admit()) return null;
    if (first.length > 0) {
      entry.receiver.handle(first);
      entry.noteHeld(false, this.#options.plane.platform.reactor.nowMs);
    }
    return entry;
  }

  /** The peer's connection is over. */
  removePeer(peer: Peer): void {
    for (const send of this.#sessions.removePeer(peer.id)) this.#send(send);
  }

  /** Returns whether there may be more to read, after the others have had their turn. */
  #read(entry: SignalStream, connection: Connection, nowMs: number): boolean {
    const { engine } = this.#options.plane.platform;
    const { peer, stream, receiver } = entry;
    const outbox = this.#outboxOf(peer);
    for (let budget = SIGNAL_TURN_BYTES; budget > 0;) {
      const count = connection.engine.streamRecv(stream, this.#scratchAt, SIGNAL_TURN_BYTES);
      if (count === EngineError.done) return false;
      connection.touch();
      if (count < 0) return this.#end(entry);
      budget -= count;
      const isEnd = engine.streamFin;
      outbox.heardOn(stream);
      const messages = receiver.handle(engine.arena.bytes.slice(this.#scratchAt, this.#scratchAt + count));
      for (const message of messages) if (!this.#take(entry, message, nowMs)) return false;
      if (isEnd) return this.#end(entry);
      if (!entry.noteHeld(messages.length > 0, nowMs)) return false;
    }
    return true;
  }

  #end(entry: SignalStream): false {
    entry.leave();
    entry.peer.signals?.lost(entry.stream);
    entry.peer.connection.engine.streamShutdown(entry.stream, "write", AbortCode.none);
    return false;
  }

  /** False when nothing more is heard on the stream. */
  #take(entry: SignalStream, message: SignalMessage | Malformed, nowMs: number): boolean {
    if (message.kind === "malformed") return this.#takeMalformed(entry, message.why, nowMs);
    const { peer } = entry;
    peer.malformedSignals = 0;
    const isOffer = message.kind === "candidate-offer";
    if (isOffer && peer.limiter.allowSignal(nowMs) !== null) return this.#overLimit(peer);
    const outcome = this.#sessions.handle(peer.id, message, nowMs);
    // Refusals are answered, so that they are bounded like offers.
    if (outcome.refused !== null && !isOffer && peer.limiter.allowSignal(nowMs) !== null) return this.#overLimit(peer);
    this.#note(peer, message, outcome);
    for (const send of outcome.sends) this.#send(send);
    this.#arm();
    return true;
  }

  /** One is dropped (WIRE 1.6); one who keeps sending them loses the stream, and then the connection. */
  #takeMalformed(entry: SignalStream, why: string, nowMs: number): boolean {
    const { count, log } = this.#options;
    const { peer } = entry;
    count("signalsMalformed");
    log.warn("signal-refused", "A malformed signalling message", { peer: peer.label, why });
    if (peer.limiter.allowSignal(nowMs) !== null) this.#overLimit(peer);
    const goesOn = entry.noteMalformed();
    if (++peer.malformedSignals < SIGNAL_MALFORMED_PER_PEER_MAX) return goesOn;
    if (!peer.connection.isOver) peer.connection.close(CloseCode.protocolError, "malformed signalling");
    return false;
  }

  #note(peer: Peer, message: SignalMessage, { refused }: SignalOutcome): void {
    const { count, log, onOverLimit } = this.#options;
    if (refused === null) {
      if (message.kind === "candidate-offer") count("signalSessions");
      return;
    }
    count("signalsRefused");
    const limit = SESSION_LIMITS[refused] ?? null;
    if (limit !== null) {
      peer.limiter.note(limit);
      onOverLimit(peer, limit);
    }
    log.warn("signal-refused", `Refused a signalling message: ${refused}`, { peer: peer.label, kind: message.kind, why: refused });
  }

  /** Only the message is lost: the stream is heard on. */
  #overLimit(peer: Peer): true {
    if (peer.warnsOf("signals")) {
      this.#options.log.warn("limit-exceeded", "A peer sends more signalling than it may", { peer: peer.label });
    }
    return true;
  }

  #send({ to, message }: SignalSend): void {
    const { peers, count } = this.#options;
    const peer = peers.get(to);
    if (peer === undefined) return;
    const length = encodeSignal(this.#encoded, 0, message);
    if (!this.#outboxOf(peer).send(this.#encoded.slice(0, length))) count("signalsDropped");
  }

  #outboxOf(peer: Peer): SignalOutbox {
    const { engine } = this.#options.plane.platform;
    // What the peer answers on a stream of ours is signalling too.
    return peer.signals ??= new SignalOutbox(
      peer,
      engine,
      this.#scratchAt,
      (stream) => this.open(peer, stream),
    );
  }

  #expire(nowMs: number): void {
    for (const send of this.#sessions.expire(nowMs)) this.#send(send);
    this.#arm();
  }

  #arm(): void {
    const { reactor } = this.#options.plane.platform;
    const { nextMs } = this.#sessions;
    if (nextMs === Infinity) reactor.cancelTimer(this.#timer);
    else reactor.setTimer(this.#timer, nextMs);
  }
}
