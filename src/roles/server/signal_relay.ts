/**
 * Signalling through the server (WIRE 6): bytes of a stream become messages, each message is judged by the sessions, and what
 * they say is to be told to whom is queued for them. On ztna-v1 connections every stream of a client is signalling; on ztna-v2
 * those that begin with its first byte.
 */
import { Timer } from "../../base/mod.ts";
import { type Connection, EngineError } from "../../core/quic/mod.ts";
import type { Registry } from "../../core/registry/mod.ts";
import { type SignalOutcome, SignalReceiver, type SignalSend, SignalSessions } from "../../core/signal/mod.ts";
import { AbortCode, encodeSignal, SIGNAL_ENCODED_MAX_BYTES, type SignalMessage } from "../../core/wire/mod.ts";
import type { Deferred } from "../../io/mod.ts";
import type { Plane } from "../control/mod.ts";
import { SIGNAL_TURN_BYTES } from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer, PeerStream } from "./peer.ts";
import type { SampledLog } from "./sampled_log.ts";
import { SignalOutbox } from "./signal_outbox.ts";

export interface SignalRelayOptions {
  readonly plane: Plane;
  readonly registry: Registry;
  readonly peers: ReadonlyMap<number, Peer>;
  readonly log: SampledLog;
  readonly allowLegacyServiceIds: boolean;
  /** Candidates on this machine itself are passed on. */
  readonly allowLoopback: boolean;
  readonly count: (metric: ServerMetric) => void;
}

export class SignalRelay {
  readonly #options: SignalRelayOptions;
  readonly #sessions: SignalSessions;
  readonly #scratchAt: number;
  readonly #encoded = new Uint8Array(SIGNAL_ENCODED_MAX_BYTES);
  readonly #timer = new Timer((nowMs) => this.#expire(nowMs));

  constructor(options: SignalRelayOptions) {
    this.#options = options;
    this.#sessions = new SignalSessions(options.registry, { allowLoopback: options.allowLoopback });
    this.#scratchAt = options.plane.platform.layout.reserve(Math.max(SIGNAL_TURN_BYTES, SIGNAL_ENCODED_MAX_BYTES));
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** A stream that carries signalling, with the bytes of it that were read already. */
  open(peer: Peer, stream: number, first: Uint8Array): PeerStream {
    const receiver = new SignalReceiver({ legacy: this.#options.allowLegacyServiceIds });
    const entry: PeerStream & Deferred = {
      isDeferred: false,
      onReadable: (connection, nowMs) => {
        if (this.#read(peer, connection, stream, receiver, nowMs)) this.#options.plane.platform.reactor.defer(entry);
      },
      resume: (nowMs) => {
        if (peer.streams.get(stream) === entry && !peer.connection.isFreed) entry.onReadable(peer.connection, nowMs);
      },
      onWritable: () => peer.signals?.flush(),
      connectionLost: () => {},
    };
    peer.streams.set(stream, entry);
    if (first.length > 0) receiver.handle(first);
    return entry;
  }

  /** The peer's connection is over. */
  removePeer(peer: Peer): void {
    for (const send of this.#sessions.removePeer(peer.id)) this.#send(send);
  }

  /** Returns whether there may be more to read, after the others have had their turn. */
  #read(peer: Peer, connection: Connection, stream: number, receiver: SignalReceiver, nowMs: number): boolean {
    const { engine } = this.#options.plane.platform;
    const outbox = this.#outboxOf(peer);
    for (let budget = SIGNAL_TURN_BYTES; budget > 0;) {
      const count = connection.engine.streamRecv(stream, this.#scratchAt, SIGNAL_TURN_BYTES);
      if (count === EngineError.done) return false;
      connection.touch();
      if (count < 0) return this.#end(peer, stream);
      budget -= count;
      const isEnd = engine.streamFin;
      outbox.heardOn(stream);
      const bytes = engine.arena.bytes.slice(this.#scratchAt, this.#scratchAt + count);
      for (const message of receiver.handle(bytes)) this.#take(peer, message, nowMs);
      if (isEnd) return this.#end(peer, stream);
    }
    return true;
  }

  #end(peer: Peer, stream: number): false {
    peer.streams.delete(stream);
    peer.signals?.lost(stream);
    peer.connection.engine.streamShutdown(stream, "write", AbortCode.none);
    return false;
  }

  #take(peer: Peer, message: SignalMessage | { readonly kind: "malformed"; readonly why: string }, nowMs: number): void {
    const { count, log } = this.#options;
    if (message.kind === "malformed") {
      count("signalsMalformed");
      return log.warn("signal-refused", "A malformed signalling message", { peer: peer.label, why: message.why });
    }
    const isOffer = message.kind === "candidate-offer";
    if (isOffer && peer.limiter.allowSignal(nowMs) !== null) return this.#overLimit(peer);
    const outcome = this.#sessions.handle(peer.id, message, nowMs);
    // Refusals are answered, so that they are bounded like offers.
    if (outcome.refused !== null && !isOffer && peer.limiter.allowSignal(nowMs) !== null) return this.#overLimit(peer);
    this.#note(peer, message, outcome);
    for (const send of outcome.sends) this.#send(send);
    this.#arm();
  }

  #note(peer: Peer, message: SignalMessage, { refused }: SignalOutcome): void {
    const { count, log } = this.#options;
    if (refused === null) {
      if (message.kind === "candidate-offer") count("signalSessions");
      return;
    }
    count("signalsRefused");
    log.warn("signal-refused", `Refused a signalling message: ${refused}`, { peer: peer.label, kind: message.kind, why: refused });
  }

  #overLimit(peer: Peer): void {
    if (!peer.warnsOf("signals")) return;
    this.#options.log.warn("limit-exceeded", "A peer sends more signalling than it may", { peer: peer.label });
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
      (stream) => this.open(peer, stream, new Uint8Array(0)),
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
