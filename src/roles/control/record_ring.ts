/**
 * A bounded ring of records in memory that two workers share: one writes, the other reads. A record is a header of four words and its
 * bytes, in one piece; what would not fit before the end of the ring begins at its start again.
 *
 *   push ─► publish ┄┄► next ─► ... ─► release ┄┄► room for more
 */

/** Cells before the records, each in a cache line of its own: where the reader and the writer stand, in bytes since the start. */
const HEAD = 0, TAIL = 16, HEADER_BYTES = 128;
const RECORD_BYTES = 16;
const ALIGN = RECORD_BYTES - 1;
/** The kind of a record that fills the end of the ring. Kinds are positive. */
const PADDING = 0;

/** A new ring for `bytes` of records, a power of two. */
export function createRing(bytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + bytes);
}

export class RingWriter {
  readonly capacityBytes: number;
  readonly #cells: Int32Array;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  #tail = 0;
  #head = 0;

  constructor(ring: SharedArrayBuffer) {
    this.capacityBytes = ring.byteLength - HEADER_BYTES;
    this.#cells = new Int32Array(ring, 0, HEADER_BYTES / 4);
    this.#words = new Int32Array(ring, HEADER_BYTES);
    this.#bytes = new Uint8Array(ring, HEADER_BYTES);
  }

  /** Bytes that are not in use, as of now. */
  get roomBytes(): number {
    this.#head = Atomics.load(this.#cells, HEAD);
    return this.#free();
  }

  /** Writes a record. False when it does not fit and leave `spareBytes` free: nothing is written then. */
  push(
    kind: number,
    connection: number,
    argument: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    spareBytes: number,
  ): boolean {
    const mask = this.capacityBytes - 1;
    const size = (RECORD_BYTES + length + ALIGN) & ~ALIGN;
    const atEnd = this.capacityBytes - (this.#tail & mask);
    const needed = (size > atEnd ? atEnd + size : size) + spareBytes;
    if (this.#free() < needed && this.roomBytes < needed) return false;
    if (size > atEnd) {
      this.#header(PADDING, 0, 0, atEnd - RECORD_BYTES);
      this.#tail = (this.#tail + atEnd) | 0;
    }
    this.#header(kind, connection, argument, length);
    const at = (this.#tail & mask) + RECORD_BYTES;
    if (length > 0) this.#bytes.set(bytes.subarray(offset, offset + length), at);
    this.#tail = (this.#tail + size) | 0;
    return true;
  }

  /** Lets the reader see what was written. Returns whether there was anything. */
  publish(): boolean {
    if (this.#cells[TAIL] === this.#tail) return false;
    Atomics.store(this.#cells, TAIL, this.#tail);
    return true;
  }

  #free(): number {
    return this.capacityBytes - ((this.#tail - this.#head) >>> 0);
  }

  #header(kind: number, connection: number, argument: number, length: number): void {
    const word = (this.#tail & (this.capacityBytes - 1)) >> 2;
    this.#words[word] = kind;
    this.#words[word + 1] = connection;
    this.#words[word + 2] = argument;
    this.#words[word + 3] = length;
  }
}

export class RingReader {
  /** The record of the last {@linkcode next}; its bytes stand at `at` of {@linkcode bytes} until {@linkcode release}. */
  kind = 0;
  connection = 0;
  argument = 0;
  at = 0;
  length = 0;
  readonly bytes: Uint8Array;
  readonly #cells: Int32Array;
  readonly #words: Int32Array;
  readonly #mask: number;
  #head = 0;

  constructor(ring: SharedArrayBuffer) {
    this.bytes = new Uint8Array(ring, HEADER_BYTES);
    this.#cells = new Int32Array(ring, 0, HEADER_BYTES / 4);
    this.#words = new Int32Array(ring, HEADER_BYTES);
    this.#mask = ring.byteLength - HEADER_BYTES - 1;
  }

  get isEmpty(): boolean {
    return Atomics.load(this.#cells, TAIL) === this.#head;
  }

  /** Goes on to the next record. False when there is none. */
  next(): boolean {
    do {
      if (this.isEmpty) return false;
      const word = (this.#head & this.#mask) >> 2;
      this.kind = this.#words[word] ?? 0;
      this.connection = (this.#words[word + 1] ?? 0) >>> 0;
      this.argument = (this.#words[word + 2] ?? 0) >>> 0;
      this.length = this.#words[word + 3] ?? 0;
      this.at = (this.#head & this.#mask) + RECORD_BYTES;
      this.#head = (this.#head + ((RECORD_BYTES + this.length + ALIGN) & ~ALIGN)) | 0;
    } while (this.kind === PADDING);
    return true;
  }

  /** Gives the writer the room of all records that were read. */
  release(): void {
    Atomics.store(this.#cells, HEAD, this.#head);
  }
}
