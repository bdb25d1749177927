/**
 * What one connection, one source and all together may ask of the server: the words, and our choice of numbers. A rate of
 * null is no limit. Every refusal is counted under its {@linkcode LimitName}.
 */

import type { Rate } from "./token_bucket.ts";

export const METERED = ["registrations", "datagrams", "bytes", "opens", "signals"] as const;
/** What a connection is metered by while it lives: so many a second. */
export type Metered = typeof METERED[number];

export const LIMIT_SCOPES = ["connection", "source", "all"] as const;
export type LimitScope = typeof LIMIT_SCOPES[number];

/**
 * What is counted at one time. An identity is that of a certificate or token; clients without one are counted by their source, and
 * "anonymous" is all of them together.
 */
export const COUNTED = [
  "connections-per-source",
  "connections-per-all",
  "services-per-connection",
  "services-per-source",
  "services-per-identity",
  "flows-per-connection",
  "flows-per-identity",
  "flows-per-anonymous",
  "sessions-per-connection",
  "sessions-per-identity",
] as const;
export type Counted = typeof COUNTED[number];

export type LimitName = Counted | "handshakes-per-source" | "handshakes-per-all" | `${Metered}-per-${LimitScope}`;

/** Every name, for a table of counters. */
export const LIMIT_NAMES: readonly LimitName[] = [
  ...COUNTED,
  "handshakes-per-source",
  "handshakes-per-all",
  ...METERED.flatMap((metered) => LIMIT_SCOPES.map((scope) => `${metered}-per-${scope}` as const)),
];

/** Whether a reason is the name of a limit. */
export function isLimitName(why: string): why is LimitName {
  return (LIMIT_NAMES as readonly string[]).includes(why);
}

export type ScopedRates = { readonly [S in LimitScope]: Rate | null };

export interface RateLimits {
  /** Connections at one time, handshaking ones included. */
  readonly connections: { readonly source: number; readonly all: number };
  /** Services that are registered: by one connection, from one source, by all connections of one identity. */
  readonly services: { readonly connection: number; readonly source: number; readonly identity: number };
  /** Flows of packets. */
  readonly flows: { readonly connection: number; readonly identity: number; readonly anonymous: number };
  /** Signalling sessions that agents began. */
  readonly sessions: { readonly connection: number; readonly identity: number };
  /** New connections whose source address was validated. */
  readonly handshakes: { readonly source: Rate | null; readonly all: Rate | null };
  readonly registrations: ScopedRates;
  readonly datagrams: ScopedRates;
  /**
   * Payload of a client's datagrams, and of the streams that it opened in either direction: those wait instead of losing anything.
   * The burst must be above the largest datagram.
   */
  readonly bytes: ScopedRates;
  /** Streams to services. */
  readonly opens: ScopedRates;
  /** Signalling offers. */
  readonly signals: ScopedRates;
  /** Sources that are remembered at one time. */
  readonly sourcesMax: number;
}

export const RATE_LIMITS: RateLimits = {
  connections: { source: 2_000, all: 10_000 },
  services: { connection: 64, source: 8_192, identity: 4_096 },
  flows: { connection: 8_192, identity: 32_768, anonymous: 131_072 },
  sessions: { connection: 8, identity: 256 },
  handshakes: { source: { perSecond: 20, burst: 40 }, all: { perSecond: 2_000, burst: 4_000 } },
  // A client registers all its services, up to 64, when it connects.
  registrations: { connection: { perSecond: 10, burst: 64 }, source: null, all: null },
  datagrams: { connection: { perSecond: 50_000, burst: 10_000 }, source: null, all: null },
  bytes: { connection: { perSecond: 1_250_000_000, burst: 64_000_000 }, source: null, all: null },
  opens: { connection: { perSecond: 1_000, burst: 2_048 }, source: null, all: null },
  signals: { connection: { perSecond: 5, burst: 5 }, source: null, all: null },
  sourcesMax: 16_384,
};
