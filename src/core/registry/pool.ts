/**
 * The connectors of one service. Connectors of different identities share the work; one identity has one place, which its
 * newest connection takes, unless two connections keep taking it from each other.
 *
 * A member is chosen for a new flow in turn, for a new stream by the fewest open streams; members that are reported
 * unhealthy are used only when no other is left. One that has withdrawn keeps the flows that it has and gets no others.
 */

import type { RegistryLimits } from "./limits.ts";

/** One connection that acts as a connector; the same object stands in the pools of all its services. */
export interface Connector {
  readonly peer: number;
  /** Equal for connections of one identity, null for a connection without a verified certificate or token. */
  readonly identity: string | null;
  /** How logs call the connection. */
  readonly label: string;
  /** Whether it speaks ztna-v2, and so takes streams. */
  readonly takesStreams: boolean;
  isHealthy: boolean;
  activeStreams: number;
}

interface Member {
  connector: Connector;
  /** When this place changed hands, oldest first; no more than the limit of replacements. */
  readonly replacedAtMs: number[];
  hasWithdrawn: boolean;
}

export type JoinOutcome =
  | { readonly kind: "joined" | "already" | "back" }
  | { readonly kind: "replaced"; readonly old: Connector }
  | { readonly kind: "refused"; readonly why: "taken" | "replacement-loop" | "pool-full" };

export type StreamChoice =
  | { readonly kind: "connector"; readonly peer: number }
  | { readonly kind: "datagram-only" }
  | { readonly kind: "no-connector" };

export class ConnectorPool {
  readonly #members: Member[] = [];
  readonly #limits: RegistryLimits;
  #turn = 0;

  constructor(limits: RegistryLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#members.length;
  }

  /** Those that have not withdrawn. */
  connectors(): Connector[] {
    return this.#members.filter((member) => !member.hasWithdrawn).map((member) => member.connector);
  }

  /**
   * Adds a connection. `allowTakeover` lets a connection without an identity take the place of another such one, which
   * nothing proves to be the same client.
   */
  join(connector: Connector, allowTakeover: boolean, nowMs: number): JoinOutcome {
    const same = this.#members.find((member) => member.connector.peer === connector.peer);
    if (same !== undefined) {
      const isBack = same.hasWithdrawn;
      same.hasWithdrawn = false;
      return { kind: isBack ? "back" : "already" };
    }
    const place = this.#members.find((member) => member.connector.identity === connector.identity);
    if (place !== undefined) {
      if (connector.identity === null && !allowTakeover) return { kind: "refused", why: "taken" };
      return this.#replace(place, connector, nowMs);
    }
    if (connector.identity === null && this.#members.length > 0) return { kind: "refused", why: "taken" };
    if (this.#members.length >= this.#limits.connectorsPerServiceMax) return { kind: "refused", why: "pool-full" };
    this.#members.push({ connector, replacedAtMs: [], hasWithdrawn: false });
    return { kind: "joined" };
  }

  #replace(place: Member, connector: Connector, nowMs: number): JoinOutcome {
    const times = place.replacedAtMs;
    while (times[0] !== undefined && nowMs - times[0] >= this.#limits.replacementWindowMs) times.shift();
    if (times.length >= this.#limits.replacementsMax) return { kind: "refused", why: "replacement-loop" };
    times.push(nowMs);
    const old = place.connector;
    place.connector = connector;
    place.hasWithdrawn = false;
    return { kind: "replaced", old };
  }

  /** What this identity took at that time it took from a connection that was dead: it counts for nothing. */
  forgive(identity: string | null, atMs: number): void {
    const times = this.#members.find(({ connector }) => connector.identity === identity)?.replacedAtMs ?? [];
    const at = times.indexOf(atMs);
    if (at >= 0) times.splice(at, 1);
  }

  /** Removes exactly this connection; a newer one of the same identity is not touched. */
  leave(peer: number): boolean {
    const at = this.#members.findIndex((member) => member.connector.peer === peer);
    if (at < 0) return false;
    this.#members.splice(at, 1);
    return true;
  }

  /** Lets a member keep what it has and get nothing new. False when it is none. */
  withdraw(peer: number): boolean {
    const member = this.#members.find(({ connector }) => connector.peer === peer);
    if (member === undefined) return false;
    member.hasWithdrawn = true;
    return true;
  }

  /** Keeps `current` while it is in the pool and healthy, else takes the next in turn; -1 when the pool is empty. */
  forFlow(current: number): number {
    let unhealthy = -1;
    let found = -1;
    const count = this.#members.length;
    for (let step = 0; step < count; step++) {
      const member = this.#members[(this.#turn + step) % count];
      if (member === undefined) continue;
      const { connector } = member;
      if (member.hasWithdrawn) {
        if (connector.peer === current) return current;
      } else if (connector.isHealthy) {
        if (connector.peer === current) return current;
        if (found < 0) found = connector.peer;
      } else if (unhealthy < 0 || connector.peer === current) {
        unhealthy = connector.peer;
      }
    }
    if (count > 0) this.#turn = (this.#turn + 1) % count;
    return found >= 0 ? found : unhealthy;
  }

  /** The connector for a new stream: healthy before unhealthy, then the fewest open streams, then in turn. */
  forStream(isExcluded: (peer: number) => boolean): StreamChoice {
    let best: Connector | null = null;
    let candidates = 0;
    const count = this.#members.length;
    for (let step = 0; step < count; step++) {
      const member = this.#members[(this.#turn + step) % count];
      if (member === undefined || member.hasWithdrawn || isExcluded(member.connector.peer)) continue;
      const { connector } = member;
      candidates++;
      if (!connector.takesStreams) continue;
      if (best === null || isBetter(connector, best)) best = connector;
    }
    if (best === null) return { kind: candidates > 0 ? "datagram-only" : "no-connector" };
    this.#turn = (this.#turn + 1) % count;
    return { kind: "connector", peer: best.peer };
  }
}

function isBetter(one: Connector, other: Connector): boolean {
  if (one.isHealthy !== other.isHealthy) return one.isHealthy;
  return one.activeStreams < other.activeStreams;
}
