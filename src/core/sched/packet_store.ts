/**
 * Memory for packets that wait: blocks of one size, made once, of which a packet takes as many as it needs. Nothing is allocated
 * afterwards. A packet is named by its first block.
 */

/** How much may wait, in whole. */
export interface PacketStoreLimits {
  readonly blocks: number;
  readonly blockBytes: number;
}

const NONE = -1;

export class PacketStore {
  readonly limits: PacketStoreLimits;
  readonly #memory: Uint8Array;
  /** The next block of the same packet, or of the list of free ones. */
  readonly #nextBlock: Int32Array;
  /** Of a packet's first block: its length, and the packet behind it in its queue. */
  readonly #lengths: Int32Array;
  readonly #nextPacket: Int32Array;
  #firstFree = NONE;
  #free = 0;
  /** Blocks that were never used lie behind this one: memory that nobody writes costs nothing. */
  #fresh = 0;

  constructor(limits: PacketStoreLimits) {
    this.limits = limits;
    this.#memory = new Uint8Array(limits.blocks * limits.blockBytes);
    this.#nextBlock = new Int32Array(limits.blocks);
    this.#lengths = new Int32Array(limits.blocks);
    this.#nextPacket = new Int32Array(limits.blocks);
  }

  /** Blocks that nobody uses. */
  get freeBlocks(): number {
    return this.#free + this.limits.blocks - this.#fresh;
  }

  blocksFor(bytes: number): number {
    return Math.max(1, Math.ceil(bytes / this.limits.blockBytes));
  }

  /** Copies a packet in. Returns its name, or -1 when there is no room. */
  put(from: Uint8Array, offset: number, length: number): number {
    if (this.blocksFor(length) > this.freeBlocks) return NONE;
    const { blockBytes } = this.limits;
    const first = this.#take();
    this.#lengths[first] = length;
    this.#nextPacket[first] = NONE;
    for (let block = first, at = 0;;) {
      const part = Math.min(blockBytes, length - at);
      this.#memory.set(from.subarray(offset + at, offset + at + part), block * blockBytes);
      at += part;
      const next = at < length ? this.#take() : NONE;
      this.#nextBlock[block] = next;
      if (next === NONE) return first;
      block = next;
    }
  }

  /** Copies a packet out; its memory stays its own until {@linkcode release}. Returns its length. */
  read(packet: number, into: Uint8Array, offset: number): number {
    const { blockBytes } = this.limits;
    const length = this.lengthOf(packet);
    for (let block = packet, at = 0; at < length; at += blockBytes) {
      const start = block * blockBytes;
      into.set(this.#memory.subarray(start, start + Math.min(blockBytes, length - at)), offset + at);
      block = this.#nextBlock[block] as number;
    }
    return length;
  }

  release(packet: number): void {
    for (let block = packet; block !== NONE;) {
      const next = this.#nextBlock[block] as number;
      this.#nextBlock[block] = this.#firstFree;
      this.#firstFree = block;
      this.#free++;
      block = next;
    }
  }

  lengthOf(packet: number): number {
    return this.#lengths[packet] as number;
  }

  /** The packet behind this one, or -1. */
  behind(packet: number): number {
    return this.#nextPacket[packet] as number;
  }

  putBehind(packet: number, next: number): void {
    this.#nextPacket[packet] = next;
  }

  #take(): number {
    const block = this.#firstFree;
    if (block === NONE) return this.#fresh++;
    this.#firstFree = this.#nextBlock[block] as number;
    this.#free--;
    return block;
  }
}
