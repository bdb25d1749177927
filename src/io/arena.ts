/** Hands out regions of one arena, once, at start-up. Nothing is given back: a role's layout is fixed while it runs. */
import type { Arena } from "../core/quic/engine.ts";
import { assert } from "../base/mod.ts";

export class ArenaLayout {
  readonly arena: Arena;
  #next = 0;

  constructor(arena: Arena) {
    this.arena = arena;
  }

  /** Reserves `bytes`, aligned to 64 (a cache line), and returns their offset. */
  reserve(bytes: number): number {
    const offset = (this.#next + 63) & ~63;
    this.#next = offset + bytes;
    assert(this.#next <= this.arena.bytes.length, `arena of ${this.arena.bytes.length} bytes is too small`);
    return offset;
  }

  get usedBytes(): number {
    return this.#next;
  }
}
