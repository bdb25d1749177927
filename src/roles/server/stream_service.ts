/**
 * The streams of the server: what a new one is for, who carries it on, and what is counted when it is joined, refused or over.
 * One stream's own way is in `stream_relay.ts` and `signal_relay.ts`.
 */
import type { AuthorizeOptions } from "../../core/auth/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import type { LimitName } from "../../core/ratelimit/mod.ts";
import type { Registry } from "../../core/registry/mod.ts";
import { AbortCode, type ResultCode, type StreamPurpose } from "../../core/wire/mod.ts";
import type { Plane, SampledLog } from "../control/mod.ts";
import { STREAM_CHUNK_BYTES } from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer } from "./peer.ts";
import type { Proofs } from "./proofs.ts";
import type { SignalRelay } from "./signal_relay.ts";
import { StreamHead, type StreamHeadContext } from "./stream_head.ts";
import { RelayedStream, type StreamRelayContext } from "./stream_relay.ts";
import { StreamPacer } from "./stream_pacer.ts";
import { StreamPump } from "./stream_pump.ts";
import { routeStream } from "./stream_route.ts";

export interface StreamServiceOptions {
  readonly plane: Plane;
  readonly registry: Registry;
  readonly peers: ReadonlyMap<number, Peer>;
  readonly signals: SignalRelay;
  readonly proofs: Proofs;
  readonly log: SampledLog;
  readonly allowLegacyServiceIds: boolean;
  /** As they are at this moment. */
  readonly authorization: () => AuthorizeOptions;
  readonly count: (metric: ServerMetric, amount?: number) => void;
  /** A peer asks for more than it may. */
  readonly onOverLimit: (peer: Peer, limit: LimitName) => void;
  /** A stream that was joined is over. */
  readonly onOver: (stream: RelayedStream) => void;
}

const REFUSAL_COUNTER: Readonly<Record<string, ServerMetric>> = {
  "denied": "denied",
  "unknown-service": "unknownService",
  "no-connector": "noConnector",
  "datagram-only": "datagramOnly",
  "backend-refused": "backendRefused",
  "backend-timeout": "backendTimeout",
  "busy": "busy",
};

export class StreamService {
  /** Streams that are relayed now, joined or not. */
  active = 0;
  readonly #options: StreamServiceOptions;
  readonly #relay: StreamRelayContext;
  readonly #head: StreamHeadContext;

  constructor(options: StreamServiceOptions) {
    this.#options = options;
    const { engine, reactor, layout } = options.plane.platform;
    const chunkAt = layout.reserve(STREAM_CHUNK_BYTES);
    this.#relay = this.#relayContext(chunkAt);
    this.#head = {
      engine,
      reactor,
      scratchAt: chunkAt,
      begin: (purpose, head, nowMs) => this.#begin(purpose, head, nowMs),
      onMalformed: (peer, why) => this.#malformed(peer, why),
    };
  }

  /** Something came on a stream of `peer`. */
  onReadable(peer: Peer, connection: Connection, stream: number, nowMs: number): void {
    let entry = peer.streams.get(stream);
    if (entry === undefined) {
      // Streams that we opened and that are over may still have something to say: nobody listens.
      if ((stream & 1) === 1) {
        connection.engine.streamShutdown(stream, "read", AbortCode.none);
        connection.touch();
        return;
      }
      if (peer.isV2) {
        entry = new StreamHead(this.#head, peer, stream, nowMs);
        peer.streams.set(stream, entry);
      } else {
        const signals = this.#options.signals.open(peer, stream);
        if (signals === null) return;
        entry = signals;
      }
    }
    entry.onReadable(connection, nowMs);
  }

  #begin(purpose: StreamPurpose, head: StreamHead, nowMs: number): boolean {
    const { peer, stream, header } = head;
    if (purpose === "proof") return this.#options.proofs.begin(head, nowMs);
    if (!peer.isAdmitted) return false;
    if (purpose === "signalling") {
      this.#options.signals.open(peer, stream, header.bytes.slice(0, header.length))?.onReadable(peer.connection, nowMs);
      return true;
    }
    if (purpose !== "open") return false;
    const relayed = new RelayedStream(this.#relay, peer, stream, head.openedMs, header);
    peer.streams.set(stream, relayed);
    this.active++;
    relayed.onReadable(peer.connection, nowMs);
    return true;
  }

  #malformed(peer: Peer, why: string): void {
    const { count, log } = this.#options;
    count("malformedStreams");
    log.warn("stream-refused", "A stream began with a malformed header", { peer: peer.label, why });
  }

  #relayContext(chunkAt: number): StreamRelayContext {
    const { plane, registry, peers, log, count, authorization, allowLegacyServiceIds, onOverLimit, onOver } = this.#options;
    return {
      engine: plane.platform.engine,
      reactor: plane.platform.reactor,
      chunkAt,
      allowLegacyServiceIds,
      pump: new StreamPump(plane.platform.engine, chunkAt),
      pacer: new StreamPacer(plane.platform.reactor),
      route: (agent, service) => {
        if (plane.isStopping) return { kind: "refused", code: "busy", reason: "the server is stopping" };
        const limit = agent.limiter.allowOpen(plane.platform.reactor.nowMs);
        if (limit === null) return routeStream(agent, service, registry, peers, authorization());
        onOverLimit(agent, limit);
        return { kind: "refused", code: "busy", reason: `too many opens (${limit})` };
      },
      onPaced: onOverLimit,
      onJoined: (stream) => {
        count("openedStreams");
        if (stream.connector !== null) registry.streamOpened(stream.connector.id);
      },
      onRefused: (stream, code, reason) => {
        count(REFUSAL_COUNTER[code] ?? "busy");
        noteRefusal(log, stream, code, reason);
      },
      onMalformed: (stream, why) => this.#malformed(stream.agent, why),
      onBytes: (isUp, bytes) => count(isUp ? "bytesUp" : "bytesDown", bytes),
      onOver: (stream) => {
        this.active--;
        if (stream.connector !== null && stream.wasJoined) registry.streamClosed(stream.connector.id);
        onOver(stream);
      },
    };
  }
}

/** What one is not allowed to is a warning; what cannot be done now is everyday. */
function noteRefusal(log: SampledLog, stream: RelayedStream, code: ResultCode, reason: string): void {
  log.write(code === "denied" ? "warn" : "info", "stream-refused", `Refused an open: ${code}`, {
    peer: stream.agent.label,
    service: stream.service,
    code,
    why: reason,
  });
}
