/**
 * A path: one way by which packets come from agents and go back to them, with its own largest packet. The owner makes one for
 * each (connection, service) and names it with every packet. What waits to leave by it stands in two queues: answers that
 * belong to no session (RST, ICMP), complete and bounded, and the sessions that have something to send, each once, in turn.
 */
import { assert } from "../../base/mod.ts";
import { type PacketMemory, packetMemory } from "../wire/mod.ts";
import type { TcpSession } from "./tcp_session.ts";
import { PATH_PACKET_MAX_BYTES, PATH_PACKET_MIN_BYTES } from "./limits.ts";

export interface PathOptions {
  /** The authenticated agent behind this path; null when packets of several come by it: then the inner source is counted. */
  readonly agentKey: string | null;
  /** The largest packet that this path carries away. */
  readonly maxBytes: number;
  /** The largest packet that it carries to us; it decides which MSS we ask for. Default: `maxBytes`. */
  readonly receiveMaxBytes?: number;
}

export class PacketPath {
  readonly id: number;
  readonly agentKey: string | null;
  receiveMaxBytes: number;
  isClosed = false;
  readonly control: ControlQueue;
  #maxBytes: number;
  #first: TcpSession | null = null;
  #last: TcpSession | null = null;

  constructor(id: number, options: PathOptions, controlQueueMax: number) {
    assert(options.maxBytes >= PATH_PACKET_MIN_BYTES && options.maxBytes <= PATH_PACKET_MAX_BYTES, "a path that carries packets");
    this.id = id;
    this.agentKey = options.agentKey;
    this.#maxBytes = options.maxBytes;
    this.receiveMaxBytes = options.receiveMaxBytes ?? options.maxBytes;
    this.control = new ControlQueue(controlQueueMax);
  }

  /** The largest packet that leaves by this path. It may be changed at any time; the next packet obeys. */
  get maxBytes(): number {
    return this.#maxBytes;
  }

  set maxBytes(bytes: number) {
    this.#maxBytes = Math.max(PATH_PACKET_MIN_BYTES, Math.min(bytes, PATH_PACKET_MAX_BYTES));
  }

  /** Whether a poll may yield a packet. */
  get isReady(): boolean {
    return this.#first !== null || this.control.count > 0;
  }

  enqueue(session: TcpSession): void {
    if (session.isQueued) return;
    session.isQueued = true;
    session.nextQueued = null;
    if (this.#last === null) this.#first = session;
    else this.#last.nextQueued = session;
    this.#last = session;
  }

  dequeue(): TcpSession | null {
    const session = this.#first;
    if (session === null) return null;
    this.#first = session.nextQueued;
    if (this.#first === null) this.#last = null;
    session.nextQueued = null;
    session.isQueued = false;
    return session;
  }
}

/** Complete packets in the order of their coming, at most `max`. Each slot is as large as the largest packet that it has held. */
export class ControlQueue {
  count = 0;
  readonly #slots: { memory: PacketMemory; length: number }[] = [];
  readonly #max: number;
  #head = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Memory for a packet of up to `bytes` at the tail, or null when too many wait. {@linkcode commit} makes it part of the queue. */
  reserve(bytes: number): PacketMemory | null {
    if (this.count === this.#max) return null;
    const index = (this.#head + this.count) % this.#max;
    const slot = this.#slots[index];
    if (slot !== undefined && slot.memory.bytes.length >= bytes) return slot.memory;
    const memory = packetMemory(Math.max(256, bytes));
    this.#slots[index] = { memory, length: 0 };
    return memory;
  }

  commit(length: number): void {
    const slot = this.#slots[(this.#head + this.count) % this.#max];
    assert(slot !== undefined && length <= slot.memory.bytes.length, "a reserved slot");
    slot.length = length;
    this.count++;
  }

  /** Drops the first packet, if there is one. */
  skip(): void {
    if (this.count === 0) return;
    this.#head = (this.#head + 1) % this.#max;
    this.count--;
  }

  /** Moves the first packet to `offset` of `to` and returns its length; 0 when there is none, or it is larger than `room` and gone. */
  take(to: PacketMemory, offset: number, room: number): number {
    if (this.count === 0) return 0;
    const slot = this.#slots[this.#head];
    this.skip();
    if (slot === undefined || slot.length > room) return 0;
    to.bytes.set(slot.memory.bytes.subarray(0, slot.length), offset);
    return slot.length;
  }
}
