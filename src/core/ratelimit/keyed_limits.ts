/**
 * One limiter per key, such as a source prefix, in a table of bounded size. The limiter used longest ago makes room, but only
 * if forgetting it changes nothing; otherwise new keys share one limiter. So a flood of keys never clears anybody's record,
 * and can at worst slow down other newcomers.
 */

export interface KeyedLimitsOptions<L> {
  readonly keysMax: number;
  readonly create: (nowMs: number) => L;
  /** Whether forgetting the limiter would change nothing. */
  readonly isIdle: (limiter: L, nowMs: number) => boolean;
}

export class KeyedLimits<L> {
  readonly #options: KeyedLimitsOptions<L>;
  /** In the order of last use. */
  readonly #limiters = new Map<string, L>();
  #shared: L | null = null;
  #sharedUses = 0;

  constructor(options: KeyedLimitsOptions<L>) {
    this.#options = options;
  }

  get size(): number {
    return this.#limiters.size;
  }

  /** How often the table was full and a key got the shared limiter. */
  get sharedUses(): number {
    return this.#sharedUses;
  }

  /** The limiter of `key`. */
  of(key: string, nowMs: number): L {
    const known = this.#limiters.get(key);
    if (known !== undefined) {
      this.#limiters.delete(key);
      this.#limiters.set(key, known);
      return known;
    }
    if (this.#limiters.size >= this.#options.keysMax && !this.#makeRoom(nowMs)) {
      this.#sharedUses++;
      return this.#shared ??= this.#options.create(nowMs);
    }
    const created = this.#options.create(nowMs);
    this.#limiters.set(key, created);
    return created;
  }

  /** All limiters in use, for a change of their rates. */
  *all(): Iterable<L> {
    yield* this.#limiters.values();
    if (this.#shared !== null) yield this.#shared;
  }

  #makeRoom(nowMs: number): boolean {
    for (const [key, limiter] of this.#limiters) {
      if (!this.#options.isIdle(limiter, nowMs)) return false;
      this.#limiters.delete(key);
      return true;
    }
    return false;
  }
}
