/**
 * The streams of one connection of the memory engine: buffers, windows, and who is named readable or writable when. What a caller
 * can see is quiche's behaviour (its `stream` module), down to its edges; only the end of a stream is kept until the peer has it.
 */
import { EngineError } from "../../src/core/quic/mod.ts";

/** Bytes at their place in a stream. */
interface Piece {
  offset: number;
  bytes: Uint8Array;
}

/** Half-open ranges, sorted, not touching each other. */
export class Ranges {
  readonly list: [number, number][] = [];

  add(from: number, to: number): void {
    if (from >= to) return;
    const { list } = this;
    let at = 0;
    while (at < list.length && (list[at] as [number, number])[1] < from) at++;
    let low = from, high = to, count = 0;
    for (let next = list[at]; next !== undefined && next[0] <= high; next = list[at + count]) {
      low = Math.min(low, next[0]);
      high = Math.max(high, next[1]);
      count++;
    }
    list.splice(at, count, [low, high]);
  }

  has(value: number): boolean {
    return this.list.some(([from, to]) => from <= value && value < to);
  }

  /** The end of the range that begins at 0. */
  get prefix(): number {
    const first = this.list[0];
    return first !== undefined && first[0] === 0 ? first[1] : 0;
  }
}

/** What we send on a stream. */
export class SendSide {
  /** Bytes taken from the caller so far, and the peer's limit. */
  offset = 0;
  max: number;
  finAt: number | null = null;
  isFinAcked = false;
  stoppedWith: number | null = null;
  isShutdown = false;
  /** What was sent at least once. */
  sentTo = 0;
  readonly #pieces: Piece[] = [];
  readonly #acked = new Ranges();
  readonly #lost = new Ranges();
  #isFinDue = false;

  constructor(max: number) {
    this.max = max;
  }

  /** Room in the peer's window, or `streamStopped`. */
  get capacity(): number {
    return this.stoppedWith === null ? this.max - this.offset : EngineError.streamStopped;
  }

  /** Taken but not sent, or to be sent again. */
  get isFlushable(): boolean {
    return this.stoppedWith === null && !this.isShutdown &&
      (this.#isFinDue || this.sentTo < this.offset || this.#lost.list.length > 0);
  }

  get unsentBytes(): number {
    return this.offset - this.sentTo;
  }

  /** All bytes and the end are acknowledged, or nothing of it matters any more. */
  get isComplete(): boolean {
    return this.finAt !== null && this.isFinAcked && this.#acked.prefix >= this.finAt;
  }

  take(bytes: Uint8Array, fin: boolean): void {
    if (bytes.length > 0) this.#pieces.push({ offset: this.offset, bytes });
    this.offset += bytes.length;
    if (!fin || this.finAt !== null) return;
    this.finAt = this.offset;
    this.#isFinDue = true;
  }

  /** The next bytes for a frame: lost ones first. Null when there is nothing. */
  next(lengthMax: number): { readonly offset: number; readonly bytes: Uint8Array; readonly fin: boolean } | null {
    const lost = this.#lost.list[0];
    const offset = lost?.[0] ?? this.sentTo;
    const until = Math.min(lost?.[1] ?? this.offset, offset + lengthMax);
    const fin = this.finAt !== null && until === this.finAt;
    if (until <= offset && !(fin && this.#isFinDue)) return null;
    if (lost !== undefined) {
      lost[0] = until;
      if (lost[0] >= lost[1]) this.#lost.list.shift();
    }
    this.sentTo = Math.max(this.sentTo, until);
    if (fin) this.#isFinDue = false;
    return { offset, bytes: this.#read(offset, until), fin };
  }

  ack(from: number, to: number, fin: boolean): void {
    this.#acked.add(from, to);
    if (fin) this.isFinAcked = true;
    const done = this.#acked.prefix;
    while (this.#pieces.length > 0) {
      const first = this.#pieces[0] as Piece;
      if (first.offset + first.bytes.length > done) break;
      this.#pieces.shift();
    }
  }

  lose(from: number, to: number, fin: boolean): void {
    if (this.isShutdown || this.stoppedWith !== null) return;
    for (let at = from; at < to;) {
      const covered = this.#acked.list.find(([low, high]) => low <= at && at < high);
      if (covered !== undefined) {
        at = covered[1];
        continue;
      }
      const next = this.#acked.list.find(([low]) => low > at);
      const until = Math.min(to, next?.[0] ?? to);
      this.#lost.add(at, until);
      at = until;
    }
    if (fin && !this.isFinAcked) this.#isFinDue = true;
  }

  /** Nothing more will be sent. Returns the final size, and how much of the window was taken but never used. */
  drop(): { readonly finalSize: number; readonly unsent: number } {
    const unsent = this.offset - this.sentTo;
    this.offset = this.sentTo;
    this.finAt = this.sentTo;
    this.isFinAcked = true;
    this.#isFinDue = false;
    this.#acked.add(0, this.sentTo);
    this.#pieces.length = 0;
    this.#lost.list.length = 0;
    return { finalSize: this.sentTo, unsent };
  }

  #read(from: number, to: number): Uint8Array {
    const out = new Uint8Array(to - from);
    for (const { offset, bytes } of this.#pieces) {
      const low = Math.max(from, offset), high = Math.min(to, offset + bytes.length);
      if (low < high) out.set(bytes.subarray(low - offset, high - offset), low - from);
    }
    return out;
  }
}

/** What we receive on a stream. */
export class ReceiveSide {
  /** Read by the caller so far. */
  offset = 0;
  /** The highest offset seen. */
  highest = 0;
  finAt: number | null = null;
  resetWith: number | null = null;
  /** The caller wants no more: what comes is counted and forgotten. */
  isDraining = false;
  max: number;
  readonly window: number;
  readonly #pieces: Piece[] = [];
  /** The end, or a reset, has not been told to the caller. */
  #isEndDue = false;

  constructor(window: number) {
    this.window = window;
    this.max = window;
  }

  get isReadable(): boolean {
    const first = this.#pieces[0];
    if (first !== undefined && first.offset === this.offset) return true;
    return this.#isEndDue && this.finAt === this.offset;
  }

  /** Everything up to the end was read, or will not be. */
  get isFin(): boolean {
    return this.finAt === this.offset;
  }

  get bufferedBytes(): number {
    return this.#pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
  }

  get needsCredit(): boolean {
    return this.finAt === null && !this.isDraining && this.max - this.offset < this.window / 2;
  }

  /** Takes a frame in. Returns by how much the highest offset grew, or an error. */
  write(offset: number, bytes: Uint8Array, fin: boolean): number {
    const end = offset + bytes.length;
    if (end > this.max) return EngineError.flowControl;
    if (this.finAt !== null && (end > this.finAt || (fin && end !== this.finAt))) return EngineError.invalidFrame;
    if (fin && this.finAt === null) {
      if (end < this.highest) return EngineError.invalidFrame;
      this.finAt = end;
      this.#isEndDue = !this.isDraining;
    }
    const grown = Math.max(0, end - this.highest);
    this.highest += grown;
    if (this.isDraining) this.offset = this.highest;
    else this.#insert(offset, bytes);
    return grown;
  }

  /** Reads into `out`. Returns the count, or `done`. */
  read(out: Uint8Array): number {
    let done = 0;
    while (done < out.length) {
      const first = this.#pieces[0];
      if (first === undefined || first.offset !== this.offset) break;
      const part = first.bytes.subarray(0, out.length - done);
      out.set(part, done);
      done += part.length;
      this.offset += part.length;
      if (part.length === first.bytes.length) this.#pieces.shift();
      else {
        first.offset += part.length;
        first.bytes = first.bytes.subarray(part.length);
      }
    }
    if (this.isFin) this.#isEndDue = false;
    return done;
  }

  /** RESET_STREAM. Returns how much the connection's window is used and given back by it, or an error. */
  reset(code: number, finalSize: number): { readonly grown: number; readonly consumed: number } | number {
    if ((this.finAt !== null && this.finAt !== finalSize) || finalSize < this.highest) return EngineError.invalidFrame;
    if (this.resetWith !== null) return { grown: 0, consumed: 0 };
    const result = { grown: finalSize - this.highest, consumed: finalSize - this.offset };
    const wasFin = this.isFin;
    this.resetWith = code;
    this.finAt = finalSize;
    this.highest = finalSize;
    this.offset = finalSize;
    this.#pieces.length = 0;
    this.#isEndDue = !this.isDraining && !wasFin;
    return result;
  }

  /** The reset was told. */
  endTold(): void {
    this.#isEndDue = false;
  }

  /** Forgets what is there and what will come. Returns how much of the connection's window that frees. */
  drain(): number {
    this.isDraining = true;
    this.#pieces.length = 0;
    this.#isEndDue = false;
    const freed = this.highest - this.offset;
    this.offset = this.highest;
    return freed;
  }

  #insert(offset: number, bytes: Uint8Array): void {
    // What was read, or lies in a piece already, is cut away; the pieces stay sorted and do not overlap.
    let from = Math.max(offset, this.offset);
    const end = offset + bytes.length;
    let at = 0;
    while (from < end) {
      const next = this.#pieces[at];
      if (next === undefined || next.offset >= end) {
        this.#pieces.splice(at, 0, { offset: from, bytes: bytes.subarray(from - offset) });
        return;
      }
      if (from < next.offset) {
        this.#pieces.splice(at, 0, { offset: from, bytes: bytes.subarray(from - offset, next.offset - offset) });
        at++;
      }
      from = Math.max(from, next.offset + next.bytes.length);
      at++;
    }
  }
}
