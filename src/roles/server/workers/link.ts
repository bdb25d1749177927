/**
 * The two rings between the worker that decides and one that carries connections. What must arrive waits here while the ring is full;
 * a datagram is dropped then, as on a network. Both sides see `isCongested` and give no more bytes of streams.
 */
import type { Libc } from "../../../io/mod.ts";
import { LINK_DATAGRAM_SPARE_BYTES, LINK_RECORDS_PER_TURN, LINK_STREAM_SPARE_BYTES, LINK_WAITING_BYTES_MAX } from "../limits.ts";
import { RingReader, RingWriter, type WorkerCells } from "../../control/mod.ts";

const RECORD_OVERHEAD_BYTES = 64;
const NO_BYTES = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface Waiting {
  readonly kind: number;
  readonly connection: number;
  readonly argument: number;
  readonly bytes: Uint8Array;
}

export interface LinkOptions {
  readonly libc: Libc;
  readonly cells: WorkerCells;
  /** The number of the other worker, and the eventfd that wakes it. */
  readonly other: number;
  readonly eventFd: number;
  readonly out: SharedArrayBuffer;
  readonly in: SharedArrayBuffer;
}

export class Link {
  readonly reader: RingReader;
  readonly other: number;
  /** Datagrams that found the ring full. */
  dropped = 0;
  readonly #options: LinkOptions;
  readonly #writer: RingWriter;
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #wasCongested = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.other = options.other;
    this.reader = new RingReader(options.in);
    this.#writer = new RingWriter(options.out);
  }

  /** No more bytes of streams now; {@linkcode hasRoomAgain} says when. */
  get isCongested(): boolean {
    const isFull = this.#waiting.length > 0 || this.#writer.roomBytes < LINK_STREAM_SPARE_BYTES;
    if (isFull) this.#wasCongested = true;
    return isFull;
  }

  /** Whether those who were told that it is congested may go on: said once. */
  hasRoomAgain(): boolean {
    if (!this.#wasCongested || this.isCongested) return false;
    this.#wasCongested = false;
    return true;
  }

  /** Something waits for room. */
  get isBlocked(): boolean {
    return this.#wasCongested || this.#waiting.length > 0;
  }

  /** What waits for room has it. */
  get canGoOn(): boolean {
    if (!this.isBlocked) return false;
    const first = this.#waiting[0]?.bytes.length ?? LINK_STREAM_SPARE_BYTES;
    // Twice: a record that does not fit before the ring's end also takes that.
    return this.#writer.roomBytes >= Math.max(LINK_STREAM_SPARE_BYTES, 2 * (first + RECORD_OVERHEAD_BYTES));
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** A record that may be lost. Returns whether it was taken. */
  offer(kind: number, connection: number, argument: number, bytes: Uint8Array, offset: number, length: number): boolean {
    if (
      this.#waiting.length === 0 &&
      this.#writer.push(kind, connection, argument, bytes, offset, length, LINK_DATAGRAM_SPARE_BYTES)
    ) return true;
    this.dropped++;
    return false;
  }

  /** A record that arrives, in order with all others. */
  send(kind: number, connection: number, argument = 0, bytes: Uint8Array = NO_BYTES, offset = 0, length = bytes.length): void {
    if (this.#waiting.length === 0 && this.#writer.push(kind, connection, argument, bytes, offset, length, 0)) return;
    this.#waiting.push({ kind, connection, argument, bytes: bytes.slice(offset, offset + length) });
    this.#waitingBytes += length + RECORD_OVERHEAD_BYTES;
    // It ends the server, which is better than one without memory: the other has stood still for long.
    if (this.#waitingBytes > LINK_WAITING_BYTES_MAX) throw new Error(`worker ${this.other} takes nothing any more`);
  }

  /** The same with a value that can be written as JSON. */
  tell(kind: number, connection: number, argument: number, value: unknown): void {
    this.send(kind, connection, argument, encoder.encode(JSON.stringify(value)));
  }

  /** A copy of the bytes of the record just read. */
  copy(): Uint8Array<ArrayBuffer> {
    const { reader } = this;
    return new Uint8Array(reader.bytes.subarray(reader.at, reader.at + reader.length));
  }

  /** The record just read is a number. */
  word(): number {
    const { bytes, at } = this.reader;
    return ((bytes[at] ?? 0) | (bytes[at + 1] ?? 0) << 8 | (bytes[at + 2] ?? 0) << 16 | (bytes[at + 3] ?? 0) << 24) >>> 0;
  }

  /** What was told with the record just read. */
  heard(): unknown {
    return JSON.parse(decoder.decode(this.copy()));
  }

  /** Takes what the other has written, so much in a turn. Returns whether there may be more. */
  take(onRecord: (link: Link) => void): boolean {
    const { reader } = this;
    let left = LINK_RECORDS_PER_TURN;
    while (left > 0 && reader.next()) {
      onRecord(this);
      left--;
    }
    if (left < LINK_RECORDS_PER_TURN) {
      reader.release();
      if (this.#options.cells.roomWantedBy(this.other)) this.#wake();
    }
    return left === 0;
  }

  /** The turn is over: the other sees what was written, and is woken if it sleeps. */
  flush(): void {
    let sent = 0;
    for (const { kind, connection, argument, bytes } of this.#waiting) {
      if (!this.#writer.push(kind, connection, argument, bytes, 0, bytes.length, 0)) break;
      this.#waitingBytes -= bytes.length + RECORD_OVERHEAD_BYTES;
      sent++;
    }
    if (sent > 0) this.#waiting.splice(0, sent);
    if (this.#writer.publish()) this.#wake();
  }

  #wake(): void {
    const { cells, libc, other, eventFd } = this.#options;
    if (cells.mustWake(other)) libc.eventfdSignal(eventFd);
  }
}
