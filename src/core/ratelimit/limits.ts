/**
 * What one connection, one source and all together may ask of the server: the words, and our choice of numbers. A rate of
 * null is no limit. Every refusal is counted under its {@linkcode LimitName}.
 */

import type { Rate } from "./token_bucket.ts";

export const METERED = ["registrations", "datagrams", "bytes", "signals"] as const;
/** What a connection is metered by while it lives. */
export type Metered = typeof METERED[number];

export const LIMIT_SCOPES = ["connection", "source", "all"] as const;
export type LimitScope = typeof LIMIT_SCOPES[number];

export type LimitName =
  | "connections-per-source"
  | "connections-per-all"
  | "handshakes-per-source"
  | "handshakes-per-all"
  | `${Metered}-per-${LimitScope}`;

/** Every name, for a table of counters. */
export const LIMIT_NAMES: readonly LimitName[] = [
  "connections-per-source",
  "connections-per-all",
  "handshakes-per-source",
  "handshakes-per-all",
  ...METERED.flatMap((metered) => LIMIT_SCOPES.map((scope) => `${metered}-per-${scope}` as const)),
];

export type ScopedRates = { readonly [S in LimitScope]: Rate | null };

export interface RateLimits {
  /** Connections at one time, handshaking ones included. */
  readonly connections: { readonly source: number; readonly all: number };
  /** New connections whose source address was validated. */
  readonly handshakes: { readonly source: Rate | null; readonly all: Rate | null };
  readonly registrations: ScopedRates;
  readonly datagrams: ScopedRates;
  /** Payload of datagrams. The burst must be above the largest datagram. */
  readonly bytes: ScopedRates;
  /** Signalling offers. */
  readonly signals: ScopedRates;
  /** Sources that are remembered at one time. */
  readonly sourcesMax: number;
}

export const RATE_LIMITS: RateLimits = {
  connections: { source: 2_000, all: 10_000 },
  handshakes: { source: { perSecond: 20, burst: 40 }, all: { perSecond: 2_000, burst: 4_000 } },
  // A client registers all its services, up to 64, when it connects.
  registrations: { connection: { perSecond: 10, burst: 64 }, source: null, all: null },
  datagrams: { connection: { perSecond: 50_000, burst: 10_000 }, source: null, all: null },
  bytes: { connection: { perSecond: 125_000_000, burst: 8_000_000 }, source: null, all: null },
  signals: { connection: { perSecond: 5, burst: 5 }, source: null, all: null },
  sourcesMax: 16_384,
};
