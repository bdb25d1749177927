/**
 * Commands from the control plane to the data plane, whose loop blocks and hears no messages: a ring of bytes in shared
 * memory with one writer and one reader, and an eventfd that wakes the reader. Commands are few and small, so they are JSON.
 */
import type { PlaneCommand } from "./messages.ts";

const RING_BYTES = 256 * 1024;
/** Cells before the data: where the reader and the writer stand, counted in bytes since the start. */
const HEAD = 0, TAIL = 1, HEADER_BYTES = 8;
const LENGTH_BYTES = 4;

/** The shared part; it travels to the worker. */
export interface CommandChannel {
  readonly ring: SharedArrayBuffer;
  readonly eventFd: number;
}

/** A new ring; `eventFd` is an eventfd that the reader watches. */
export function createCommandChannel(eventFd: number): CommandChannel {
  return { ring: new SharedArrayBuffer(HEADER_BYTES + RING_BYTES), eventFd };
}

/** The control plane's end. */
export class CommandWriter {
  readonly #cells: Int32Array;
  readonly #data: Uint8Array;
  readonly #wake: () => void;

  /** `wake` signals the channel's eventfd. */
  constructor(channel: CommandChannel, wake: () => void) {
    this.#cells = new Int32Array(channel.ring, 0, 2);
    this.#data = new Uint8Array(channel.ring, HEADER_BYTES);
    this.#wake = wake;
  }

  /** Sends a command. False when the ring is full: the data plane hangs, or the command is larger than the ring. */
  send(command: PlaneCommand): boolean {
    const bytes = new TextEncoder().encode(JSON.stringify(command));
    const tail = Atomics.load(this.#cells, TAIL);
    const used = (tail - Atomics.load(this.#cells, HEAD)) >>> 0;
    if (used + LENGTH_BYTES + bytes.length > RING_BYTES) return false;
    let at = tail >>> 0;
    for (let i = 0; i < LENGTH_BYTES; i++) this.#data[at++ % RING_BYTES] = (bytes.length >>> (8 * i)) & 0xff;
    for (const byte of bytes) this.#data[at++ % RING_BYTES] = byte;
    Atomics.store(this.#cells, TAIL, at | 0);
    this.#wake();
    return true;
  }
}

/** The data plane's end. */
export class CommandReader {
  readonly #cells: Int32Array;
  readonly #data: Uint8Array;

  constructor(channel: CommandChannel) {
    this.#cells = new Int32Array(channel.ring, 0, 2);
    this.#data = new Uint8Array(channel.ring, HEADER_BYTES);
  }

  /** The next command, or null. */
  take(): PlaneCommand | null {
    const head = Atomics.load(this.#cells, HEAD);
    if (head === Atomics.load(this.#cells, TAIL)) return null;
    let at = head >>> 0;
    let length = 0;
    for (let i = 0; i < LENGTH_BYTES; i++) length |= (this.#data[at++ % RING_BYTES] as number) << (8 * i);
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.#data[at++ % RING_BYTES] as number;
    Atomics.store(this.#cells, HEAD, at | 0);
    return JSON.parse(new TextDecoder().decode(bytes)) as PlaneCommand;
  }
}
