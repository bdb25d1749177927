/**
 * Chance that follows from a number, and the fingerprint of what happened: with these two a failure is repeated by its seed, and
 * two runs of one seed are compared by one number.
 */

/** A stream of numbers that follows from its seed (mulberry32). */
export class SimRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  one<T>(...values: readonly [T, ...T[]]): T {
    return values[Math.floor(this.next() * values.length)] ?? values[0];
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(this.next() * 256);
  }

  /** A stream of its own for one part of the world, so that what one part draws does not move the others. */
  fork(label: string): SimRandom {
    return new SimRandom(hashText(label, this.#state ^ 0x5bd1e995));
  }
}

/** FNV-1a over a text's code units, begun with `start`. */
export function hashText(text: string, start = 0x811c9dc5): number {
  let hash = start | 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/** Everything that happens in a world passes through here: into one hash, and into lines when somebody wants to read them. */
export class SimTrace {
  #hash = 0x811c9dc5 | 0;
  #count = 0;
  readonly #show: ((line: string) => void) | null;

  /** `show` gets every line as it happens. */
  constructor(show: ((line: string) => void) | null = null) {
    this.#show = show;
  }

  /** Two worlds in which the same happened at the same times have the same print. */
  get print(): string {
    return `${this.#count}:${(this.#hash >>> 0).toString(16)}`;
  }

  /** What happened to a packet; a number stands for everything but the time. */
  packet(atMs: number, link: string, number: number, length: number, delayMs: number): void {
    this.#count++;
    let hash = Math.imul(this.#hash ^ Math.round(atMs * 1000), 0x01000193);
    hash = Math.imul(hash ^ link.length ^ (number << 8) ^ (length << 20), 0x01000193);
    this.#hash = Math.imul(hash ^ Math.round(delayMs * 1000), 0x01000193);
    this.#show?.(`${atMs.toFixed(3)} udp ${link} ${number} ${length} ${delayMs < 0 ? "lost" : delayMs.toFixed(3)}`);
  }

  note(atMs: number, what: string): void {
    this.#count++;
    const line = `${atMs.toFixed(3)} ${what}`;
    this.#hash = hashText(line, this.#hash);
    this.#show?.(line);
  }
}
