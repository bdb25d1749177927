/**
 * What waits for busy connections, by destination and sender.
 *
 *   push(sender) ─► the sender's own queue ─┐
 *   push(sender) ─► the sender's own queue ─┼─► deficit round robin over bytes ─► take
 *   push(sender) ─► the sender's own queue ─┘
 *
 * A sender whose queue is full loses its own oldest packet. When the memory of all queues is used up, whoever holds more than its share
 * of it loses its oldest one. So nobody's packets go because of what another one sends, as long as it keeps to its share. The order of
 * one sender's packets is never changed.
 */
import { PacketStore, type PacketStoreLimits } from "./packet_store.ts";

export interface FairQueueLimits extends PacketStoreLimits {
  /** Packets of one sender that wait for one destination. */
  readonly senderPacketsMax: number;
  /** What a sender may send in one round. */
  readonly quantumBytes: number;
}

/** Packets that had to go, by reason. */
export interface FairQueueCounters {
  /** The oldest of a sender whose own queue was full. */
  senderFull: number;
  /** There was no memory left: the oldest of who has more than its share, or a newcomer. */
  memoryFull: number;
}

/** Queues that are looked at for one that holds more than its share, before a newcomer is dropped. */
const RECLAIM_LOOKS_MAX = 64;
const NONE = -1;

/** The packets of one sender for one destination. */
interface SenderQueue {
  sender: number;
  first: number;
  last: number;
  packets: number;
  blocks: number;
  /** Bytes that it may still send in this round. */
  deficit: number;
  /** The next of the same destination, in a ring. */
  next: SenderQueue | null;
  /** Its place in the list of all that are in use. */
  at: number;
}

/** All queues of a data plane, which share one memory. */
export class FairQueues {
  readonly limits: FairQueueLimits;
  readonly store: PacketStore;
  readonly counters: FairQueueCounters = { senderFull: 0, memoryFull: 0 };
  /** Packets that wait now. */
  waiting = 0;
  readonly #used: SenderQueue[] = [];
  readonly #idle: SenderQueue[] = [];
  #look = 0;

  constructor(limits: FairQueueLimits) {
    this.limits = limits;
    this.store = new PacketStore(limits);
  }

  /** The queues of one destination, empty. */
  create(): FairQueue {
    return new FairQueue(this);
  }

  /** For {@linkcode FairQueue} only: a queue for a sender that had none. */
  begin(sender: number): SenderQueue {
    const queue = this.#idle.pop() ??
      { sender, first: NONE, last: NONE, packets: 0, blocks: 0, deficit: 0, next: null, at: 0 };
    queue.sender = sender;
    queue.deficit = this.limits.quantumBytes;
    queue.at = this.#used.length;
    this.#used.push(queue);
    return queue;
  }

  /** For {@linkcode FairQueue} only: takes back one that is empty. */
  end(queue: SenderQueue): void {
    const last = this.#used.pop() as SenderQueue;
    if (last !== queue) {
      this.#used[queue.at] = last;
      last.at = queue.at;
    }
    queue.next = null;
    this.#idle.push(queue);
  }

  /** For {@linkcode FairQueue} only: makes room for `blocks`, at the cost of who has the most. False: there is none. */
  reclaim(own: SenderQueue, blocks: number): boolean {
    const share = this.limits.blocks / this.#used.length;
    for (let looks = 0; this.store.freeBlocks < blocks; this.counters.memoryFull++) {
      let victim: SenderQueue | null = own.packets > 0 && own.blocks + blocks > share ? own : null;
      // Another one keeps at least one packet: it stays in its ring.
      for (; victim === null && looks < RECLAIM_LOOKS_MAX; looks++) {
        const other = this.#used[this.#look++ % this.#used.length] as SenderQueue;
        if (other !== own && other.packets > 1 && other.blocks > share) victim = other;
      }
      if (victim === null) return false;
      this.drop(victim);
    }
    return true;
  }

  /** For {@linkcode FairQueue} only: the oldest packet goes. */
  drop(queue: SenderQueue): void {
    const packet = queue.first;
    queue.first = this.store.behind(packet);
    queue.packets--;
    queue.blocks -= this.store.blocksFor(this.store.lengthOf(packet));
    if (queue.packets === 0) queue.last = NONE;
    this.waiting--;
    this.store.release(packet);
  }
}

/** What waits for one destination. */
export class FairQueue {
  readonly #all: FairQueues;
  readonly #senders = new Map<number, SenderQueue>();
  /** The one behind whose `next` the round goes on; null when nothing waits. */
  #tail: SenderQueue | null = null;
  /** Packets come in runs of one sender. */
  #recent: SenderQueue | null = null;

  constructor(all: FairQueues) {
    this.#all = all;
  }

  get isEmpty(): boolean {
    return this.#tail === null;
  }

  /** How many packets of a sender wait. */
  waitingOf(sender: number): number {
    return this.#senders.get(sender)?.packets ?? 0;
  }

  /** Puts a packet behind the others of its sender. Who has too many loses the oldest. */
  push(sender: number, from: Uint8Array, offset: number, length: number): void {
    const all = this.#all;
    const { store, limits, counters } = all;
    const blocks = store.blocksFor(length);
    const queue = this.#queueOf(sender);
    if (queue.packets >= limits.senderPacketsMax) {
      counters.senderFull++;
      all.drop(queue);
    }
    const hasRoom = store.freeBlocks >= blocks || all.reclaim(queue, blocks);
    const packet = hasRoom ? store.put(from, offset, length) : NONE;
    if (packet === NONE) {
      counters.memoryFull++;
      // Whoever is in the ring had packets, and has some left: nothing was taken from it that did not make room.
      if (queue.packets === 0) this.#leave(queue);
      return;
    }
    if (queue.last === NONE) queue.first = packet;
    else store.putBehind(queue.last, packet);
    queue.last = packet;
    queue.packets++;
    queue.blocks += blocks;
    all.waiting++;
  }

  /** Copies the packet whose turn it is to `into`, and forgets it. Returns its length, or -1 when nothing waits. */
  take(into: Uint8Array, offset: number): number {
    const all = this.#all;
    const { store, limits } = all;
    while (this.#tail !== null) {
      const queue = this.#tail.next as SenderQueue;
      const length = store.lengthOf(queue.first);
      if (queue.deficit >= length) {
        queue.deficit -= length;
        store.read(queue.first, into, offset);
        all.drop(queue);
        if (queue.packets === 0) this.#leave(queue);
        return length;
      }
      queue.deficit += limits.quantumBytes;
      this.#tail = queue;
    }
    return -1;
  }

  /** The destination is gone. Returns how many packets went with it. */
  clear(): number {
    let count = 0;
    while (this.#tail !== null) {
      const queue = this.#tail.next as SenderQueue;
      for (; queue.packets > 0; count++) this.#all.drop(queue);
      this.#leave(queue);
    }
    return count;
  }

  #queueOf(sender: number): SenderQueue {
    const known = this.#recent?.sender === sender ? this.#recent : this.#senders.get(sender);
    if (known !== undefined) return this.#recent = known;
    const queue = this.#all.begin(sender);
    this.#senders.set(sender, queue);
    // Its first turn comes when everybody before it has had one.
    queue.next = this.#tail?.next ?? queue;
    if (this.#tail !== null) this.#tail.next = queue;
    this.#tail = queue;
    return this.#recent = queue;
  }

  #leave(queue: SenderQueue): void {
    this.#senders.delete(queue.sender);
    if (this.#recent === queue) this.#recent = null;
    // Nearly always it is the first one.
    let before = this.#tail?.next === queue ? this.#tail : queue;
    while (before.next !== queue) before = before.next as SenderQueue;
    if (before === queue) this.#tail = null;
    else {
      before.next = queue.next;
      if (this.#tail === queue) this.#tail = before;
    }
    this.#all.end(queue);
  }
}
