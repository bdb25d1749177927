/**
 * How many services those together have registered who share: all connections from one source, and all of one identity. One who
 * opens many connections gets no more of the registry than that.
 */
import type { RegistryLimits } from "./limits.ts";
import type { RefusalReason } from "./registration.ts";

/** Whom a connection belongs to. */
export interface Owner {
  /** `Identity.key`, or null for a connection without one: that one shares with those from its source. */
  readonly identity: string | null;
  /** Of `sourcePrefixKey`. */
  readonly source: string;
}

/** Before a source's key, which no identity's key begins with. */
const SOURCE_MARK = "source ";

/** The key of those whom an owner shares with. */
export function shareOf({ identity, source }: Owner): string {
  return identity ?? SOURCE_MARK + source;
}

export class ServiceShares {
  readonly #bySource = new Map<string, number>();
  readonly #byShare = new Map<string, number>();

  /** Why the owner gets no further service; null when it does. */
  refusal(owner: Owner, limits: RegistryLimits): RefusalReason | null {
    if ((this.#bySource.get(owner.source) ?? 0) >= limits.servicesPerSourceMax) return "services-per-source";
    if ((this.#byShare.get(shareOf(owner)) ?? 0) >= limits.servicesPerIdentityMax) return "services-per-identity";
    return null;
  }

  /** The owner has `step` services more, or fewer. */
  add(owner: Owner, step: number): void {
    addTo(this.#bySource, owner.source, step);
    addTo(this.#byShare, shareOf(owner), step);
  }
}

function addTo(counts: Map<string, number>, key: string, step: number): void {
  const count = (counts.get(key) ?? 0) + step;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
