/**
 * Where bytes wait: rings that grow by doubling, out of one pool with one bound. A ring holds a run of bytes from its head on;
 * bytes may also be put further behind (data beyond a gap) before the run reaches them. An empty ring has no memory.
 */
import { assert } from "../../base/mod.ts";
import { type PacketMemory, packetMemory } from "../wire/mod.ts";
import { BUFFER_MIN_BYTES, BUFFERS_KEPT_MAX_BYTES } from "./limits.ts";

/** Memory of all rings together. Sizes are powers of two. */
export class BufferPool {
  /** What rings hold now. */
  heldBytes = 0;
  readonly #maxBytes: number;
  /** Released memory by the logarithm of its size. */
  readonly #kept: PacketMemory[][] = Array.from({ length: 32 }, () => []);
  #keptBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get freeBytes(): number {
    return Math.max(0, this.#maxBytes - this.heldBytes);
  }

  /** Memory of `size` bytes, or null when the bound is reached; the smallest size is always granted. */
  take(size: number): PacketMemory | null {
    if (size > BUFFER_MIN_BYTES && this.heldBytes + size > this.#maxBytes) return null;
    this.heldBytes += size;
    const kept = this.#kept[31 - Math.clz32(size)]?.pop();
    if (kept === undefined) return packetMemory(size);
    this.#keptBytes -= size;
    return kept;
  }

  give(memory: PacketMemory): void {
    const size = memory.bytes.length;
    this.heldBytes -= size;
    if (this.#keptBytes + size > BUFFERS_KEPT_MAX_BYTES) return;
    this.#keptBytes += size;
    this.#kept[31 - Math.clz32(size)]?.push(memory);
  }
}

/** A ring of at most `maxBytes`, a power of two. */
export class ByteRing {
  /** Bytes in the run from the head. */
  used = 0;
  readonly maxBytes: number;
  readonly #pool: BufferPool;
  #memory: PacketMemory | null = null;
  #head = 0;

  constructor(pool: BufferPool, maxBytes: number) {
    this.#pool = pool;
    this.maxBytes = Math.max(BUFFER_MIN_BYTES, 2 ** Math.ceil(Math.log2(maxBytes)));
  }

  get capacity(): number {
    return this.#memory?.bytes.length ?? 0;
  }

  /** How large the ring could become now: what it has, or what the pool would give. */
  get reachableBytes(): number {
    const free = this.#pool.freeBytes;
    const grown = free < BUFFER_MIN_BYTES ? BUFFER_MIN_BYTES : 2 ** (31 - Math.clz32(free));
    return Math.min(this.maxBytes, Math.max(this.capacity, grown));
  }

  /** Makes sure that `bytes` from the head on have a place. False when the ring or the pool has no room. */
  reserve(bytes: number): boolean {
    const { capacity } = this;
    if (bytes <= capacity) return true;
    if (bytes > this.maxBytes) return false;
    const grown = this.#pool.take(Math.max(BUFFER_MIN_BYTES, 2 ** (32 - Math.clz32(bytes - 1))));
    if (grown === null) return false;
    if (this.#memory !== null) {
      // Everything is kept, also what lies behind the run.
      grown.bytes.set(this.#memory.bytes.subarray(this.#head));
      grown.bytes.set(this.#memory.bytes.subarray(0, this.#head), capacity - this.#head);
      this.#pool.give(this.#memory);
    }
    this.#memory = grown;
    this.#head = 0;
    return true;
  }

  /** Puts bytes `distance` behind the head. The place was reserved. */
  put(distance: number, from: PacketMemory, offset: number, length: number): void {
    if (length === 0) return;
    const memory = this.#memory;
    assert(memory !== null && distance + length <= memory.bytes.length, "a reserved place in the ring");
    const at = (this.#head + distance) & (memory.bytes.length - 1);
    const first = Math.min(length, memory.bytes.length - at);
    memory.bytes.set(from.bytes.subarray(offset, offset + first), at);
    if (first < length) memory.bytes.set(from.bytes.subarray(offset + first, offset + length), 0);
  }

  /** Copies bytes from `distance` behind the head into `to`. They lie within the run. */
  copyOut(distance: number, to: PacketMemory, offset: number, length: number): void {
    if (length === 0) return;
    const memory = this.#memory;
    assert(memory !== null && distance + length <= this.used, "bytes of the run");
    const at = (this.#head + distance) & (memory.bytes.length - 1);
    const first = Math.min(length, memory.bytes.length - at);
    to.bytes.set(memory.bytes.subarray(at, at + first), offset);
    if (first < length) to.bytes.set(memory.bytes.subarray(0, length - first), offset + first);
  }

  /** The memory of a ring that is not empty. */
  get memory(): PacketMemory {
    assert(this.#memory !== null, "a ring with memory");
    return this.#memory;
  }

  /** Where in {@linkcode memory} the run begins, and how much of it lies there in one piece. */
  get headOffset(): number {
    return this.#head;
  }

  get headBytes(): number {
    return this.#memory === null ? 0 : Math.min(this.used, this.#memory.bytes.length - this.#head);
  }

  /** Removes bytes from the head of the run. */
  drop(bytes: number): void {
    assert(bytes <= this.used, "no more bytes dropped than are there");
    this.used -= bytes;
    if (this.#memory !== null) this.#head = (this.#head + bytes) & (this.#memory.bytes.length - 1);
  }

  /** Moves the head of an empty run: bytes behind it come nearer. */
  skip(bytes: number): void {
    if (this.#memory !== null) this.#head = (this.#head + bytes) & (this.#memory.bytes.length - 1);
  }

  /** Gives the memory back. Everything in the ring is gone. */
  release(): void {
    if (this.#memory !== null) this.#pool.give(this.#memory);
    this.#memory = null;
    this.#head = 0;
    this.used = 0;
  }
}
