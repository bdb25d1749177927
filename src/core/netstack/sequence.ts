/**
 * Sequence numbers (RFC 9293 §3.4): signed 32-bit integers of which only differences have a meaning; and sets of ranges of
 * them. Two numbers that are compared are never 2^31 apart: windows are far smaller.
 */

export function isBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

export function isAtOrBefore(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

export function isAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

export function laterOf(a: number, b: number): number {
  return ((a - b) | 0) >= 0 ? a : b;
}

export function earlierOf(a: number, b: number): number {
  return ((a - b) | 0) <= 0 ? a : b;
}

/** How far `b` lies behind `a`. */
export function distance(a: number, b: number): number {
  return (b - a) | 0;
}

/**
 * Disjoint half-open ranges [left, right) in ascending order that do not touch, at most as many as it was made for. The
 * receiver's data beyond a gap is one, the sender's knowledge of it another.
 */
export class SequenceRanges {
  count = 0;
  /** Sum of the ranges' lengths. */
  bytes = 0;
  /** Index of the range that took the last insertion. */
  recent = 0;
  readonly #edges: Int32Array;
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
    this.#edges = new Int32Array(2 * max);
  }

  left(index: number): number {
    return this.#edges[2 * index] as number;
  }

  right(index: number): number {
    return this.#edges[2 * index + 1] as number;
  }

  /** Adds [left, right). Returns how many of its bytes are new, or -1 when that would take one range too many. */
  insert(left: number, right: number): number {
    const edges = this.#edges;
    let first = 0;
    while (first < this.count && isBefore(edges[2 * first + 1] as number, left)) first++;
    let last = first;
    let merged = 0;
    while (last < this.count && isAtOrBefore(edges[2 * last] as number, right)) {
      merged += distance(edges[2 * last] as number, edges[2 * last + 1] as number);
      last++;
    }
    if (last === first) {
      if (this.count === this.#max) return -1;
      edges.copyWithin(2 * first + 2, 2 * first, 2 * this.count);
      this.count++;
      edges[2 * first] = left;
      edges[2 * first + 1] = right;
    } else {
      edges[2 * first] = earlierOf(left, edges[2 * first] as number);
      edges[2 * first + 1] = laterOf(right, edges[2 * last - 1] as number);
      edges.copyWithin(2 * first + 2, 2 * last, 2 * this.count);
      this.count -= last - first - 1;
    }
    this.recent = first;
    const added = distance(edges[2 * first] as number, edges[2 * first + 1] as number) - merged;
    this.bytes += added;
    return added;
  }

  /** Forgets everything before `sequence`. */
  dropBelow(sequence: number): void {
    const edges = this.#edges;
    let gone = 0;
    while (gone < this.count && isAtOrBefore(edges[2 * gone + 1] as number, sequence)) {
      this.bytes -= distance(edges[2 * gone] as number, edges[2 * gone + 1] as number);
      gone++;
    }
    if (gone > 0) {
      edges.copyWithin(0, 2 * gone, 2 * this.count);
      this.count -= gone;
      this.recent = Math.max(0, this.recent - gone);
    }
    if (this.count > 0 && isBefore(edges[0] as number, sequence)) {
      this.bytes -= distance(edges[0] as number, sequence);
      edges[0] = sequence;
    }
  }

  /** How many bytes of [from, to) are in the set. */
  bytesWithin(from: number, to: number): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) {
      const left = laterOf(from, this.left(i)), right = earlierOf(to, this.right(i));
      if (isBefore(left, right)) sum += distance(left, right);
    }
    return sum;
  }

  clear(): void {
    this.count = 0;
    this.bytes = 0;
    this.recent = 0;
  }
}
