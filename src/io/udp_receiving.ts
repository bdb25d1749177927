/**
 * The receiving half of a UDP socket: `recvmmsg` with GRO fills the slots, and each packet in them is handed on.
 *
 *   read ─► while the turn's share lasts: hand on at once
 *        └► behind that: hold, by sender (arrivals.ts) ─► handed on in later turns, each sender as much as any other
 *
 * Without limits for what is held everything is handed on as it was read.
 */
import type { Libc } from "./native.ts";
import type { ArenaLayout } from "./arena.ts";
import { type ArrivalLimits, Arrivals, costOf, TRAIN_BYTES } from "./arrivals.ts";
import type { Deferred, Reactor } from "./reactor.ts";
import { SOCKADDR_SLOT_BYTES } from "./sockaddr.ts";

const SOL_UDP = 17, UDP_GRO = 104;
const MMSGHDR_BYTES = 64, IOVEC_BYTES = 16, CONTROL_BYTES = 64;
const TWO_POW_32 = 4_294_967_296;

export interface UdpReceivingLimits {
  /** GRO buffers, each 64 KiB. */
  readonly receiveSlots: number;
  /** `recvmmsg` calls in one turn, so that one busy socket leaves time for the others. */
  readonly receiveBatchesPerTurn: number;
  /** For a socket of many senders that may not disturb each other. */
  readonly arrivals?: ArrivalLimits;
}

export class UdpReceiving implements Deferred {
  isDeferred = false;
  readonly #reactor: Reactor;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #limits: UdpReceivingLimits;
  readonly #onPacket: (offset: number, length: number, from: number) => void;
  readonly #headers: number;
  readonly #iovecs: number;
  readonly #addresses: number;
  readonly #control: number;
  /** The buffer that each slot reads into: its place in the arena, and its name among the {@linkcode Arrivals}. */
  readonly #buffers: Int32Array;
  readonly #pieces: Int32Array;
  readonly #arrivals: Arrivals | null;
  readonly #low: number;
  readonly #high: number;
  /** What waits has had its turn already. */
  #hasServed = false;
  #isOver = false;

  constructor(
    reactor: Reactor,
    layout: ArenaLayout,
    fd: number,
    limits: UdpReceivingLimits,
    onPacket: (offset: number, length: number, from: number) => void,
  ) {
    this.#reactor = reactor;
    this.#libc = reactor.libc;
    this.#fd = fd;
    this.#limits = limits;
    this.#onPacket = onPacket;
    const { receiveSlots, arrivals } = limits;
    this.#headers = layout.reserve(receiveSlots * (MMSGHDR_BYTES + IOVEC_BYTES));
    this.#iovecs = this.#headers + receiveSlots * MMSGHDR_BYTES;
    this.#addresses = layout.reserve(receiveSlots * SOCKADDR_SLOT_BYTES);
    this.#control = layout.reserve(receiveSlots * CONTROL_BYTES);
    const buffersAt = layout.reserve(receiveSlots * TRAIN_BYTES);
    this.#buffers = Int32Array.from({ length: receiveSlots }, (_, i) => buffersAt + i * TRAIN_BYTES);
    this.#pieces = Int32Array.from({ length: receiveSlots }, (_, i) => i);
    this.#arrivals = arrivals === undefined ? null : new Arrivals(
      layout,
      arrivals,
      [...this.#buffers],
      (offset, length, segment, from) => this.#handOn(offset, length, segment, from),
    );
    const { address } = layout.arena;
    this.#low = Number(address & 0xffff_ffffn);
    this.#high = Number(address >> 32n);
    this.#layoutHeaders(address);
  }

  /** Packets that went because their sender had more than its share of what waits. */
  get dropped(): number {
    return this.#arrivals?.dropped ?? 0;
  }

  /** Reads what the kernel has. Nobody waits there behind what somebody else has sent: what cannot be handed on now is held. */
  read(): void {
    const { receiveSlots, receiveBatchesPerTurn } = this.#limits;
    const arrivals = this.#arrivals;
    let left = arrivals?.limits.turnBytes ?? Infinity;
    for (let batch = 0; batch < receiveBatchesPerTurn; batch++) {
      if (arrivals !== null && !arrivals.hasRoom(receiveSlots)) {
        if (left > 0) left = arrivals.serve(left);
        // Too many senders to tell who has too much: they wait in the kernel.
        else if (!arrivals.isReclaimable) break;
      }
      const count = this.#libc.recvmmsg(this.#fd, this.#headers, receiveSlots);
      for (let slot = 0; slot < count; slot++) left -= this.#take(slot, left > 0);
      if (count < receiveSlots) break;
    }
    if (arrivals === null || arrivals.waiting === 0) return;
    if (left > 0) arrivals.serve(left);
    this.#hasServed = true;
    if (arrivals.waiting > 0) this.#reactor.defer(this);
  }

  resume(): void {
    const arrivals = this.#arrivals;
    if (arrivals === null || this.#isOver) return;
    if (!this.#hasServed) arrivals.serve(arrivals.limits.turnBytes);
    this.#hasServed = false;
    if (arrivals.waiting > 0) this.#reactor.defer(this);
  }

  /** The socket is closed: what waits goes. */
  stop(): void {
    this.#isOver = true;
  }

  /** Hands on what is in a slot, or holds it. Returns what that cost. */
  #take(slot: number, isInTime: boolean): number {
    const { view } = this.#libc.arena;
    const header = this.#headers + slot * MMSGHDR_BYTES, control = this.#control + slot * CONTROL_BYTES;
    const from = this.#addresses + slot * SOCKADDR_SLOT_BYTES;
    const length = view.getUint32(header + 56, true);
    let segment = length;
    if (
      view.getUint32(header + 40, true) >= 20 && view.getUint32(control + 8, true) === SOL_UDP &&
      view.getUint32(control + 12, true) === UDP_GRO
    ) segment = view.getUint32(control + 16, true);
    this.#rearm(header);
    const arrivals = this.#arrivals;
    if (arrivals === null || isInTime && arrivals.waiting === 0) {
      this.#handOn(this.#buffers[slot] as number, length, segment, from);
      return costOf(length, segment);
    }
    const piece = this.#pieces[slot] as number, next = arrivals.hold(piece, length, segment, from);
    if (next !== piece) this.#exchange(slot, next, arrivals.offsetOf(next));
    return 0;
  }

  #handOn(offset: number, length: number, segment: number, from: number): void {
    let at = 0;
    // An empty datagram is one too.
    do this.#onPacket(offset + at, Math.min(segment, length - at), from); while ((at += segment) < length);
  }

  #exchange(slot: number, piece: number, offset: number): void {
    this.#pieces[slot] = piece;
    this.#buffers[slot] = offset;
    const { view } = this.#libc.arena;
    const iovec = this.#iovecs + slot * IOVEC_BYTES;
    // In halves: the bigint would be an object for each train.
    const low = this.#low + offset;
    view.setUint32(iovec, low, true);
    view.setUint32(iovec + 4, low < TWO_POW_32 ? this.#high : this.#high + 1, true);
  }

  #layoutHeaders(address: bigint): void {
    const { view } = this.#libc.arena;
    const pointer = (at: number, offset: number) => view.setBigUint64(at, address + BigInt(offset), true);
    for (let slot = 0; slot < this.#limits.receiveSlots; slot++) {
      const header = this.#headers + slot * MMSGHDR_BYTES, iovec = this.#iovecs + slot * IOVEC_BYTES;
      pointer(header, this.#addresses + slot * SOCKADDR_SLOT_BYTES);
      pointer(header + 16, iovec);
      view.setBigUint64(header + 24, 1n, true);
      pointer(header + 32, this.#control + slot * CONTROL_BYTES);
      pointer(iovec, this.#buffers[slot] as number);
      view.setBigUint64(iovec + 8, BigInt(TRAIN_BYTES), true);
      this.#rearm(header);
    }
  }

  /** The kernel overwrites the lengths in a header: sets them back before the next `recvmmsg`. */
  #rearm(header: number): void {
    const { view } = this.#libc.arena;
    view.setUint32(header + 8, SOCKADDR_SLOT_BYTES, true);
    view.setUint32(header + 40, CONTROL_BYTES, true);
    view.setUint32(header + 48, 0, true);
  }
}
