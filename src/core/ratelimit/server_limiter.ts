/**
 * The limits of a server at work. A new connection is admitted or not; an admitted one gets a {@linkcode PeerLimiter}, which
 * answers for each registration, datagram and offer; what ended is released.
 *
 *   admit(source) ──► PeerLimiter ──► allow / allowDatagram ... ──► release
 *
 * Each answer looks at the connection's, its source's and the whole server's limits, and takes from all of them or none.
 */

import { assert } from "../../base/mod.ts";
import { KeyedLimits } from "./keyed_limits.ts";
import { LIMIT_NAMES, LIMIT_SCOPES, type LimitName, type LimitScope, METERED, type Metered, type RateLimits } from "./limits.ts";
import { type Rate, TokenBucket } from "./token_bucket.ts";

export type LimitCounters = Record<LimitName, number>;

/** The buckets of one scope; null where there is no limit. */
type Buckets = Record<Metered, TokenBucket | null>;

interface Source {
  connections: number;
  handshakes: TokenBucket | null;
  readonly buckets: Buckets;
}

interface Meter {
  readonly bucket: TokenBucket;
  readonly name: LimitName;
}

export type Admission =
  | { readonly kind: "admitted"; readonly peer: PeerLimiter }
  | { readonly kind: "refused"; readonly by: LimitName };

export class ServerLimiter {
  /** Refusals by limit. */
  readonly refused: LimitCounters = zeroCounters();
  #limits: RateLimits;
  readonly #sourcesMax: number;
  #sources: KeyedLimits<Source>;
  #handshakes: TokenBucket | null;
  readonly #buckets: Buckets;
  readonly #peers = new Set<PeerLimiter>();

  constructor(limits: RateLimits, nowMs: number) {
    this.#limits = limits;
    this.#sourcesMax = limits.sourcesMax;
    this.#handshakes = bucketOf(limits.handshakes.all, null, nowMs);
    this.#buckets = createBuckets(limits, "all", nowMs);
    this.#sources = new KeyedLimits<Source>({
      keysMax: limits.sourcesMax,
      create: (atMs) => ({
        connections: 0,
        handshakes: bucketOf(this.#limits.handshakes.source, null, atMs),
        buckets: createBuckets(this.#limits, "source", atMs),
      }),
      isIdle: isIdleSource,
    });
  }

  get connections(): number {
    return this.#peers.size;
  }

  get connectionsMax(): number {
    return this.#limits.connections.all;
  }

  /** Sources remembered. */
  get sources(): number {
    return this.#sources.size;
  }

  get sourcesMax(): number {
    return this.#sourcesMax;
  }

  /** Decides on a new connection. `sourceKey` is of `sourcePrefixKey`, of an address that has been validated. */
  admit(sourceKey: string, nowMs: number): Admission {
    const source = this.#sources.of(sourceKey, nowMs);
    const by = this.#refusal(source, nowMs);
    if (by !== null) {
      this.refused[by]++;
      return { kind: "refused", by };
    }
    this.#handshakes?.spend(1);
    source.handshakes?.spend(1);
    source.connections++;
    const peer = new PeerLimiter(this.refused, sourceKey, source, createBuckets(this.#limits, "connection", nowMs), this.#buckets);
    this.#peers.add(peer);
    return { kind: "admitted", peer };
  }

  #refusal(source: Source, nowMs: number): LimitName | null {
    if (this.#peers.size >= this.#limits.connections.all) return "connections-per-all";
    if (source.connections >= this.#limits.connections.source) return "connections-per-source";
    if (source.handshakes !== null && !source.handshakes.has(1, nowMs)) return "handshakes-per-source";
    if (this.#handshakes !== null && !this.#handshakes.has(1, nowMs)) return "handshakes-per-all";
    return null;
  }

  /** Forgets a connection that ended, once. */
  release(peer: PeerLimiter): void {
    if (!this.#peers.delete(peer)) return;
    peer.source.connections--;
    assert(peer.source.connections >= 0, "a source has fewer connections than none");
  }

  /** Changes all limits at once, also those of live connections. The number of sources remembered stays as it was. */
  configure(limits: RateLimits, nowMs: number): void {
    this.#limits = limits;
    this.#handshakes = bucketOf(limits.handshakes.all, this.#handshakes, nowMs);
    updateBuckets(this.#buckets, limits, "all", nowMs);
    for (const source of this.#sources.all()) {
      source.handshakes = bucketOf(limits.handshakes.source, source.handshakes, nowMs);
      updateBuckets(source.buckets, limits, "source", nowMs);
    }
    for (const peer of this.#peers) {
      updateBuckets(peer.buckets, limits, "connection", nowMs);
      peer.arrange();
    }
  }
}

/** The limits of one connection. The functions return null when allowed, else the limit that refused (already counted). */
export class PeerLimiter {
  /** Of `sourcePrefixKey`. */
  readonly sourceKey: string;
  /** For {@linkcode ServerLimiter}. */
  readonly source: Source;
  readonly buckets: Buckets;
  readonly #refused: LimitCounters;
  readonly #all: Buckets;
  #meters: Record<Metered, Meter[]> = { registrations: [], datagrams: [], bytes: [], opens: [], signals: [] };

  constructor(refused: LimitCounters, sourceKey: string, source: Source, buckets: Buckets, all: Buckets) {
    this.#refused = refused;
    this.sourceKey = sourceKey;
    this.source = source;
    this.buckets = buckets;
    this.#all = all;
    this.arrange();
  }

  allowRegistration(nowMs: number): LimitName | null {
    return this.#take("registrations", 1, nowMs);
  }

  allowOpen(nowMs: number): LimitName | null {
    return this.#take("opens", 1, nowMs);
  }

  allowSignal(nowMs: number): LimitName | null {
    return this.#take("signals", 1, nowMs);
  }

  /** Counts one datagram with `payloadBytes` bytes. */
  allowDatagram(payloadBytes: number, nowMs: number): LimitName | null {
    const datagrams = this.#meters.datagrams;
    const refusedBy = firstRefusal(datagrams, 1, nowMs);
    if (refusedBy !== null) return this.#count(refusedBy);
    const taken = this.#take("bytes", payloadBytes, nowMs);
    if (taken !== null) return taken;
    spendAll(datagrams, 1);
    return null;
  }

  /** Bytes of streams that may be moved now; {@linkcode spendBytes} takes them. Counts nothing. */
  bytesAllowed(nowMs: number): number {
    let allowed = Number.MAX_SAFE_INTEGER;
    const meters = this.#meters.bytes;
    for (let i = 0; i < meters.length; i++) {
      const available = meters[i]?.bucket.available(nowMs) ?? 0;
      if (available < allowed) allowed = available;
    }
    return allowed;
  }

  /** Takes bytes that {@linkcode bytesAllowed} has just allowed. */
  spendBytes(count: number): void {
    const meters = this.#meters.bytes;
    for (let i = 0; i < meters.length; i++) meters[i]?.bucket.spend(count);
  }

  /** Counts that a stream has to wait for bytes to be allowed. */
  noteBytesWait(nowMs: number): LimitName | null {
    const refusedBy = firstRefusal(this.#meters.bytes, 1, nowMs);
    return refusedBy === null ? null : this.#count(refusedBy);
  }

  /** Counts a refusal because of what others keep count of: the registry, the flow table, signalling. */
  note(name: LimitName): void {
    this.#refused[name]++;
  }

  /** Lists anew which buckets there are, after a change of limits. */
  arrange(): void {
    const scopes: Record<LimitScope, Buckets> = { connection: this.buckets, source: this.source.buckets, all: this.#all };
    for (const metered of METERED) {
      const meters: Meter[] = [];
      for (const scope of LIMIT_SCOPES) {
        const bucket = scopes[scope][metered];
        if (bucket !== null) meters.push({ bucket, name: `${metered}-per-${scope}` });
      }
      this.#meters[metered] = meters;
    }
  }

  #take(metered: Metered, count: number, nowMs: number): LimitName | null {
    const meters = this.#meters[metered];
    const refusedBy = firstRefusal(meters, count, nowMs);
    if (refusedBy !== null) return this.#count(refusedBy);
    spendAll(meters, count);
    return null;
  }

  #count(name: LimitName): LimitName {
    this.#refused[name]++;
    return name;
  }
}

function firstRefusal(meters: readonly Meter[], count: number, nowMs: number): LimitName | null {
  for (const meter of meters) if (!meter.bucket.has(count, nowMs)) return meter.name;
  return null;
}

function spendAll(meters: readonly Meter[], count: number): void {
  for (const meter of meters) meter.bucket.spend(count);
}

function bucketOf(rate: Rate | null, old: TokenBucket | null, nowMs: number): TokenBucket | null {
  if (rate === null) return null;
  if (old === null) return new TokenBucket(rate, nowMs);
  old.setRate(rate, nowMs);
  return old;
}

function createBuckets(limits: RateLimits, scope: LimitScope, nowMs: number): Buckets {
  const buckets: Buckets = { registrations: null, datagrams: null, bytes: null, opens: null, signals: null };
  updateBuckets(buckets, limits, scope, nowMs);
  return buckets;
}

function updateBuckets(buckets: Buckets, limits: RateLimits, scope: LimitScope, nowMs: number): void {
  for (const metered of METERED) buckets[metered] = bucketOf(limits[metered][scope], buckets[metered], nowMs);
}

function isIdleSource(source: Source, nowMs: number): boolean {
  return source.connections === 0 && (source.handshakes?.isFull(nowMs) ?? true) &&
    METERED.every((metered) => source.buckets[metered]?.isFull(nowMs) ?? true);
}

function zeroCounters(): LimitCounters {
  return Object.fromEntries(LIMIT_NAMES.map((name) => [name, 0])) as LimitCounters;
}
