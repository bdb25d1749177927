/**
 * What was read from a UDP socket and waits for its turn, by sender.
 *
 *   hold(train or single packet) ─► the sender's own queue ─► deficit round robin over bytes ─► deliver
 *
 * The kernel has one buffer for all senders, in which who sends little waits behind who sends much. So whatever is in there is read at
 * once, and waits here instead. A sender that holds more than its share when there is no room loses its oldest. A train stays in the
 * buffer that it was read into; a single packet is copied, or a few small ones would hold all buffers.
 */
import type { Arena } from "../core/quic/engine.ts";
import { AF_INET, SOCKADDR_SLOT_BYTES } from "./sockaddr.ts";
import type { ArenaLayout } from "./arena.ts";

export interface ArrivalLimits {
  /** Buffers for trains that wait, and room for single packets that do. */
  readonly trains: number;
  readonly singles: number;
  /** What is handed on in one turn, so that it ends soon and what it made leaves. */
  readonly turnBytes: number;
  /** Makes which senders share a queue unknown to them. */
  readonly salt: number;
}

/** The largest thing that the kernel hands over at once. */
export const TRAIN_BYTES = 65_536;
/** What is copied: a packet of the largest usual size. */
const SINGLE_BYTES = 2_048;
/** What a sender hands over before the others have their turn: a train. */
const QUANTUM_BYTES = TRAIN_BYTES;
/** What a packet costs beside its bytes, as so many of them. */
const PACKET_COST_BYTES = 150;
/** Queues. Senders with the same hash share one. */
const QUEUES = 256;
const NONE = -1;

/** Takes a train: `segment` bytes a packet, the last one may be shorter. */
export type TrainHandler = (offset: number, length: number, segment: number, from: number) => void;

/** Buffers or rooms of one size. */
interface Pool {
  readonly size: number;
  readonly free: Int32Array;
  freeCount: number;
  /** How many of them each queue holds. */
  readonly held: Int32Array;
}

export class Arrivals {
  readonly limits: ArrivalLimits;
  /** Packets that had to go. */
  dropped = 0;
  /** Trains and single packets that wait. */
  waiting = 0;
  readonly #arena: Arena;
  readonly #deliver: TrainHandler;
  readonly #trains: Pool;
  readonly #singles: Pool;
  /** Where pieces lie: those of trains first. A piece is a buffer that was read into, or a room. */
  readonly #offsets: Int32Array;
  readonly #singlesFrom: number;
  readonly #addresses: number;
  readonly #lengths: Int32Array;
  readonly #segments: Int32Array;
  readonly #next: Int32Array;
  /** Of each queue: its first and last piece, what it may hand over in this round, and the queue behind it in the ring. */
  readonly #first = new Int32Array(QUEUES).fill(NONE);
  readonly #last = new Int32Array(QUEUES).fill(NONE);
  readonly #deficit = new Int32Array(QUEUES);
  readonly #behind = new Int32Array(QUEUES);
  /** The queue behind which the round goes on, and how many there are. */
  #tail = NONE;
  #active = 0;
  #look = 0;

  /** `buffers`: where the socket's own receive buffers lie, each of {@linkcode TRAIN_BYTES}; they take part in the exchange. */
  constructor(layout: ArenaLayout, limits: ArrivalLimits, buffers: readonly number[], deliver: TrainHandler) {
    const { trains, singles } = limits;
    this.limits = limits;
    this.#arena = layout.arena;
    this.#deliver = deliver;
    const pieces = buffers.length + trains + singles;
    this.#singlesFrom = buffers.length + trains;
    this.#offsets = new Int32Array(pieces);
    this.#lengths = new Int32Array(pieces);
    this.#segments = new Int32Array(pieces);
    this.#next = new Int32Array(pieces);
    this.#addresses = layout.reserve(pieces * SOCKADDR_SLOT_BYTES);
    const trainsAt = layout.reserve(trains * TRAIN_BYTES), singlesAt = layout.reserve(singles * SINGLE_BYTES);
    for (const [i, at] of buffers.entries()) this.#offsets[i] = at;
    for (let i = 0; i < trains; i++) this.#offsets[buffers.length + i] = trainsAt + i * TRAIN_BYTES;
    for (let i = 0; i < singles; i++) this.#offsets[this.#singlesFrom + i] = singlesAt + i * SINGLE_BYTES;
    this.#trains = createPool(buffers.length, trains);
    this.#singles = createPool(this.#singlesFrom, singles);
  }

  /** Where a piece lies. */
  offsetOf(piece: number): number {
    return this.#offsets[piece] as number;
  }

  /** Whether `count` more, of whichever kind, find room without that anybody loses something. */
  hasRoom(count: number): boolean {
    return this.#trains.freeCount >= count && this.#singles.freeCount >= count;
  }

  /** Whether somebody holds more than its share, and can make room. */
  get isReclaimable(): boolean {
    return this.#greedy(this.#trains) !== NONE || this.#greedy(this.#singles) !== NONE;
  }

  /**
   * Takes what was read into the buffer `piece` from the address in the slot `from`. Returns the buffer to read into next in its place,
   * which may be the same.
   */
  hold(piece: number, length: number, segment: number, from: number): number {
    const pool = length > SINGLE_BYTES ? this.#trains : this.#singles;
    const queue = this.#queueOf(from);
    if (pool.freeCount === 0 && !this.#reclaim(pool)) {
      this.dropped += packetsIn(length, segment);
      return piece;
    }
    const free = pool.free[--pool.freeCount] as number;
    const { bytes } = this.#arena;
    let kept = piece, spare = free;
    if (pool === this.#singles) {
      const at = this.offsetOf(piece);
      bytes.copyWithin(this.offsetOf(free), at, at + length);
      kept = free;
      spare = piece;
    }
    bytes.copyWithin(this.#addresses + kept * SOCKADDR_SLOT_BYTES, from, from + SOCKADDR_SLOT_BYTES);
    this.#lengths[kept] = length;
    this.#segments[kept] = segment;
    pool.held[queue] = (pool.held[queue] as number) + 1;
    this.#append(queue, kept);
    return spare;
  }

  /** Hands over what waits, each sender as much as any other, until about `budget` bytes are used up. Returns what is left of it. */
  serve(budget: number): number {
    let left = budget;
    while (this.#tail !== NONE && left > 0) {
      const queue = this.#behind[this.#tail] as number;
      this.#deficit[queue] = (this.#deficit[queue] as number) + QUANTUM_BYTES;
      for (let piece = this.#first[queue] as number; piece !== NONE; piece = this.#first[queue] as number) {
        const length = this.#lengths[piece] as number, segment = this.#segments[piece] as number;
        const cost = costOf(length, segment);
        if (cost > (this.#deficit[queue] as number)) break;
        this.#deficit[queue] = (this.#deficit[queue] as number) - cost;
        left -= cost;
        this.#deliver(this.offsetOf(piece), length, segment, this.#addresses + piece * SOCKADDR_SLOT_BYTES);
        this.#remove(queue, piece);
      }
      if (this.#first[queue] === NONE) this.#leave(queue, this.#tail);
      else this.#tail = queue;
    }
    return left;
  }

  /** By the address in a slot: senders with the same one share a queue, and few others do. */
  #queueOf(from: number): number {
    const { view } = this.#arena;
    let hash = this.limits.salt ^ view.getUint16(from + 2);
    const isV4 = view.getUint8(from) === AF_INET;
    for (let at = isV4 ? 4 : 8, end = isV4 ? 8 : 24; at < end; at += 4) {
      hash = Math.imul(hash ^ view.getInt32(from + at), 0x9e37_79b1);
      hash ^= hash >>> 15;
    }
    return Math.imul(hash, 0x85eb_ca6b) >>> 24;
  }

  #append(queue: number, piece: number): void {
    this.#next[piece] = NONE;
    this.waiting++;
    const last = this.#last[queue] as number;
    this.#last[queue] = piece;
    if (last !== NONE) {
      this.#next[last] = piece;
      return;
    }
    this.#first[queue] = piece;
    this.#deficit[queue] = 0;
    this.#active++;
    // Its first turn comes when everybody before it has had one.
    this.#behind[queue] = this.#tail === NONE ? queue : this.#behind[this.#tail] as number;
    if (this.#tail !== NONE) this.#behind[this.#tail] = queue;
    this.#tail = queue;
  }

  /** Takes the first piece out of its queue, which stays in the ring. */
  #remove(queue: number, piece: number): void {
    const pool = piece < this.#singlesFrom ? this.#trains : this.#singles;
    this.#first[queue] = this.#next[piece] as number;
    if (this.#first[queue] === NONE) this.#last[queue] = NONE;
    pool.free[pool.freeCount++] = piece;
    pool.held[queue] = (pool.held[queue] as number) - 1;
    this.waiting--;
  }

  #leave(queue: number, before: number): void {
    this.#active--;
    if (before === queue) this.#tail = NONE;
    else this.#behind[before] = this.#behind[queue] as number;
  }

  /** Makes room at the cost of who holds more than its share: its oldest go. False: there is nobody. */
  #reclaim(pool: Pool): boolean {
    const queue = this.#greedy(pool);
    if (queue === NONE) return false;
    while (pool.freeCount === 0) {
      const piece = this.#first[queue] as number;
      this.dropped += packetsIn(this.#lengths[piece] as number, this.#segments[piece] as number);
      this.#remove(queue, piece);
    }
    return true;
  }

  /** A queue that holds more of a pool than its share: one part more is kept than there are queues, for who comes next. */
  #greedy(pool: Pool): number {
    const share = Math.max(1, pool.size / (this.#active + 1));
    for (let looks = 0; looks < QUEUES; looks++) {
      const queue = this.#look = (this.#look + 1) % QUEUES;
      if ((pool.held[queue] as number) > share) return queue;
    }
    return NONE;
  }
}

/** `count` pieces from `first` on, all of them free. */
function createPool(first: number, count: number): Pool {
  return {
    size: count,
    free: Int32Array.from({ length: count }, (_, i) => first + i),
    freeCount: count,
    held: new Int32Array(QUEUES),
  };
}

/** What handing it over costs, in bytes. */
export function costOf(length: number, segment: number): number {
  return length + packetsIn(length, segment) * PACKET_COST_BYTES;
}

/** An empty packet is one too. */
function packetsIn(length: number, segment: number): number {
  return length > segment ? Math.ceil(length / segment) : 1;
}
