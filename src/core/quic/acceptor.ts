/**
 * What a packet of no known connection leads to. Nothing is kept of its sender before it has shown that it receives at its
 * address, and what is answered is never longer than what came.
 *
 *   other version ──► Version Negotiation
 *   Initial ──► long enough? ──► with token? ── no ──► Retry
 *                                    └─ yes ──► token good? ──► room? ──► admitted? ──► a connection
 *   short header ──► stateless reset
 */
import type { Connection, PacketPath } from "./connection.ts";
import type { AcceptOptions, EndpointCounters, EndpointOptions } from "./endpoint_options.ts";
import type { EngineConnection, EngineProfile } from "./engine.ts";
import { CID_BYTES_MIN_FROM_CLIENT, INITIAL_BYTES_MIN, LOCAL_CID_BYTES, type LongHeader } from "./header.ts";
import type { LocalIds } from "./local_ids.ts";
import { RateWindow } from "./rate_window.ts";
import { writeStatelessReset } from "./reset_token.ts";
import type { RetryContext, RetryTokens } from "./retry_token.ts";

/** What the endpoint does for it. */
export interface AcceptorHost {
  /** Live connections and those of them whose handshake has not ended. */
  readonly size: number;
  readonly handshakes: number;
  add(engine: EngineConnection, path: PacketPath, id: Uint8Array): Connection;
  /** A packet that belongs to no connection was written: it leaves with this turn. */
  replied(path: PacketPath): void;
}

/** Room that a Retry or a stateless reset needs. */
const REPLY_BYTES = 512;

export class Acceptor {
  /** What connections are accepted with; null: none are. */
  profile: EngineProfile | null = null;
  readonly #options: EndpointOptions;
  readonly #counters: EndpointCounters;
  readonly #ids: LocalIds;
  readonly #host: AcceptorHost;
  readonly #retries: RateWindow;
  readonly #resets: RateWindow;

  constructor(options: EndpointOptions, counters: EndpointCounters, ids: LocalIds, host: AcceptorHost) {
    this.#options = options;
    this.#counters = counters;
    this.#ids = ids;
    this.#host = host;
    this.#retries = new RateWindow(options.accepting?.retriesPerSecondMax ?? 0);
    this.#resets = new RateWindow(options.accepting?.resetsPerSecondMax ?? 0);
  }

  /** An Initial whose destination nobody has. Returns the connection that it begins, which must still be fed with it. */
  onInitial(path: PacketPath, header: LongHeader, length: number, from: number): Connection | undefined {
    const { profile } = this;
    const counters = this.#counters;
    if (profile === null) {
      counters.unknownConnection++;
      return undefined;
    }
    if (length < INITIAL_BYTES_MIN || header.destinationLength < CID_BYTES_MIN_FROM_CLIENT) {
      counters.shortInitial++;
      return undefined;
    }
    const { accepting } = this.#options;
    const retry = accepting?.retry ?? null;
    if (accepting === undefined || retry === null) {
      const connection = this.#accept(profile, path, header, from, null);
      return connection === "later" ? undefined : connection;
    }
    if (header.tokenLength === 0) {
      this.#sendRetry(path, header, from, accepting, retry);
      return undefined;
    }
    return this.#acceptWithToken(profile, path, header, from, accepting, retry);
  }

  /** A packet of another QUIC version (RFC 9000 §5.2.2, §6.1). False when it is not answered. */
  onOtherVersion(path: PacketPath, header: LongHeader, length: number, from: number): boolean {
    // Only for packets long enough to have been a first one, and never more than was received.
    if (length < INITIAL_BYTES_MIN || this.profile === null) return false;
    const { engine, limits } = this.#options;
    const { bytes } = engine.arena;
    const at = path.room(limits.packetBytesMax);
    if (at < 0) return false;
    const destination = bytes.slice(header.destinationOffset, header.destinationOffset + header.destinationLength);
    const source = bytes.slice(header.sourceOffset, header.sourceOffset + header.sourceLength);
    const written = engine.writeVersionNegotiation(at, limits.packetBytesMax, destination, source);
    if (written <= 0) return false;
    path.commit(written, from);
    this.#host.replied(path);
    this.#counters.versionNegotiations++;
    return true;
  }

  /** A short-header packet of `length` bytes at `offset` to an ID that is not ours (RFC 9000 §10.3). */
  onUnknown(path: PacketPath, offset: number, length: number, from: number): void {
    this.#counters.unknownConnection++;
    const { resetHmac, engine, entropy, timers } = this.#options;
    if (resetHmac === undefined || length <= LOCAL_CID_BYTES || !this.#resets.take(timers.nowMs)) return;
    const at = path.room(REPLY_BYTES);
    if (at < 0) return;
    const { bytes } = engine.arena;
    const token = this.#ids.resetTokenOf(bytes.slice(offset + 1, offset + 1 + LOCAL_CID_BYTES));
    const written = writeStatelessReset(bytes, at, length, token, entropy);
    if (written === 0) return;
    path.commit(written, from);
    this.#host.replied(path);
    this.#counters.resets++;
  }

  #sendRetry(path: PacketPath, header: LongHeader, from: number, accepting: AcceptOptions, retry: RetryTokens): void {
    const { engine, timers } = this.#options;
    if (!this.#retries.take(timers.nowMs)) {
      this.#counters.overRetryLimit++;
      return;
    }
    const at = path.room(REPLY_BYTES);
    if (at < 0) return;
    const { bytes } = engine.arena;
    const destination = bytes.slice(header.destinationOffset, header.destinationOffset + header.destinationLength);
    const source = bytes.slice(header.sourceOffset, header.sourceOffset + header.sourceLength);
    const newSource = this.#ids.table.issue(this.#options.steering?.place(bytes[header.destinationOffset + 1] ?? 0, timers.nowMs));
    const token = retry.seal(contextOf(accepting, from, newSource, header.version), destination, accepting.epochMs());
    const written = engine.writeRetry(at, REPLY_BYTES, destination, source, newSource, token, header.version);
    if (written <= 0) return;
    path.commit(written, from);
    this.#host.replied(path);
    this.#counters.retries++;
  }

  #acceptWithToken(
    profile: EngineProfile,
    path: PacketPath,
    header: LongHeader,
    from: number,
    accepting: AcceptOptions,
    retry: RetryTokens,
  ): Connection | undefined {
    const { bytes } = this.#options.engine.arena;
    const token = bytes.slice(header.tokenOffset, header.tokenOffset + header.tokenLength);
    const id = bytes.slice(header.destinationOffset, header.destinationOffset + header.destinationLength);
    const opened = retry.open(token, contextOf(accepting, from, id, header.version), accepting.epochMs());
    if (opened.kind === "refused") {
      this.#counters.tokensRefused++;
      accepting.policy.onTokenRefused(opened.why, from, this.#options.timers.nowMs);
      return undefined;
    }
    const connection = this.#accept(profile, path, header, from, { id, original: opened.originalDestinationId });
    if (connection === "later") return undefined;
    this.#counters.tokensValidated++;
    // Refused for want of room, the token stays good for the client's next attempt.
    if (connection !== undefined) retry.spend(token, accepting.epochMs());
    return connection;
  }

  #accept(
    profile: EngineProfile,
    path: PacketPath,
    header: LongHeader,
    from: number,
    retried: { readonly id: Uint8Array; readonly original: Uint8Array } | null,
  ): Connection | "later" | undefined {
    const { limits, engine, accepting, timers } = this.#options;
    const counters = this.#counters;
    if (this.#host.size >= limits.connectionsMax) {
      counters.overConnectionLimit++;
      return undefined;
    }
    if (this.#host.handshakes >= limits.handshakesMax) {
      counters.overHandshakeLimit++;
      return undefined;
    }
    const admitted = accepting?.policy.admit(from, timers.nowMs) ?? true;
    if (admitted === "later") return admitted;
    if (!admitted) {
      counters.overPolicy++;
      return undefined;
    }
    // RFC 9000 §7.3: the client will look for the Retry's source ID in the transport parameters.
    const id = retried?.id ?? this.#ids.table.issue();
    const made = engine.accept(profile, id, retried?.original ?? null, this.#ids.resetTokenOf(id), path.localAddress, from);
    if (made === null) {
      counters.malformed++;
      accepting?.policy.onAccepted(null);
      return undefined;
    }
    counters.accepted++;
    const connection = this.#host.add(made, path, id);
    connection.address.set(engine.arena.view, from);
    // A repeated first packet finds the same connection instead of making a second one.
    if (retried === null) {
      const { bytes } = engine.arena;
      connection.initialKey = this.#ids.table.addInitial(bytes, header.destinationOffset, header.destinationLength, connection);
    }
    accepting?.policy.onAccepted(connection);
    return connection;
  }
}

function contextOf({ policy }: AcceptOptions, from: number, retrySourceId: Uint8Array, version: number): RetryContext {
  return { address: policy.addressOf(from), retrySourceId, version };
}
