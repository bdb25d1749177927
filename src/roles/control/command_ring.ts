/**
 * Commands from the control plane to the data plane, whose loop blocks and hears no messages: a ring of bytes in shared
 * memory with one writer and one reader, and an eventfd that wakes the reader. Commands are few, so they are JSON; bytes in
 * them are base64. The largest is a reload with its certificates and revocation lists.
 */
import { Buffer } from "node:buffer";
import type { PlaneCommand } from "./messages.ts";

/** Memory is taken as it is written to: most rings never fill a thousandth of theirs. */
const RING_BYTES = 32 * 1024 * 1024;
/** Cells before the data: where the reader and the writer stand, counted in bytes since the start. */
const HEAD = 0, TAIL = 1, HEADER_BYTES = 8;
const LENGTH_BYTES = 4;
/** How bytes stand in JSON. */
const BYTES_KEY = "$bytes";

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
    const bytes = new TextEncoder().encode(JSON.stringify(command, bytesToText));
    const tail = Atomics.load(this.#cells, TAIL);
    const used = (tail - Atomics.load(this.#cells, HEAD)) >>> 0;
    if (used + LENGTH_BYTES + bytes.length > RING_BYTES) return false;
    let at = tail >>> 0;
    for (let i = 0; i < LENGTH_BYTES; i++) this.#data[at++ % RING_BYTES] = (bytes.length >>> (8 * i)) & 0xff;
    const start = at % RING_BYTES;
    const first = bytes.subarray(0, RING_BYTES - start);
    this.#data.set(first, start);
    this.#data.set(bytes.subarray(first.length), 0);
    at += bytes.length;
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
    const start = at % RING_BYTES;
    const first = this.#data.subarray(start, Math.min(start + length, RING_BYTES));
    bytes.set(first);
    bytes.set(this.#data.subarray(0, length - first.length), first.length);
    // Private keys may have been in it.
    first.fill(0);
    this.#data.fill(0, 0, length - first.length);
    at += length;
    Atomics.store(this.#cells, HEAD, at | 0);
    return JSON.parse(new TextDecoder().decode(bytes), textToBytes) as PlaneCommand;
  }
}

function bytesToText(_key: string, value: unknown): unknown {
  if (!(value instanceof Uint8Array)) return value;
  return { [BYTES_KEY]: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
}

function textToBytes(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, BYTES_KEY)) return value;
  return new Uint8Array(Buffer.from(String((value as Record<string, unknown>)[BYTES_KEY]), "base64"));
}
