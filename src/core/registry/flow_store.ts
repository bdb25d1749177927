/**
 * The memory of the flow table: fixed-size slots in typed arrays, found by two hash indices.
 *
 *   upward index    agent, service, protocol, addresses, ports as the agent writes them
 *   downward index  service, protocol, addresses, ports as the connector sees them (the source may be rewritten)
 *
 * Both indices chain slots through arrays of numbers, and so do the list of each agent's flows and the list of free slots:
 * finding, adding and removing allocate nothing. The store doubles up to its bound when it is full. What a flow means is
 * the table's affair.
 */

import { assert } from "../../base/mod.ts";
import { Word } from "./inner_packet.ts";

/** Words of one slot: the packet's words as the agent writes them, the source that connectors see, and to whom it belongs. */
export const SlotWord = {
  packet: 0,
  outward: Word.count,
  service: Word.count + 4,
  agent: Word.count + 5,
  count: Word.count + 6,
} as const;

/** No slot, and the end of every list. */
export const NO_SLOT = -1;
/** Numbers of agents from here on stand for agents whose connection ended. No connection has such a number. */
export const ORPHAN_MIN = 0x8000_0000;

/** Agents whose flows are counted together, also in the group that this one is within. */
export interface FlowGroup {
  count: number;
  readonly within: FlowGroup | null;
}

interface AgentFlows {
  readonly group: FlowGroup;
  head: number;
  tail: number;
  count: number;
}

export class FlowStore {
  readonly #max: number;
  readonly #keys: readonly [number, number, number];
  readonly #agents = new Map<number, AgentFlows>();
  /** The group of an agent that has its first flow. */
  groupOf: (agent: number) => FlowGroup = () => ({ count: 0, within: null });
  #capacity = 0;
  #free = NO_SLOT;
  #size = 0;
  #orphans = 0;
  /** Slot by slot, {@linkcode SlotWord}. */
  words = new Uint32Array(0);
  connector = new Int32Array(0);
  /** The registry's epoch at which `connector` was chosen. */
  epoch = new Float64Array(0);
  /** Milliseconds on the caller's clock; NaN in a free slot. */
  lastSeenMs = new Float64Array(0);
  /** What of a TCP connection has ended: bits of the caller's; 0 in a new flow. */
  ended = new Uint8Array(0);
  startedMs = new Float64Array(0);
  /** Bytes of packets that were forwarded, from the agent and to it. */
  bytesUp = new Float64Array(0);
  bytesDown = new Float64Array(0);
  #upwardHeads = new Int32Array(0);
  #downwardHeads = new Int32Array(0);
  #upwardNext = new Int32Array(0);
  #downwardNext = new Int32Array(0);
  #agentNext = new Int32Array(0);
  #agentPrevious = new Int32Array(0);

  /** `max` slots, a power of two. `random32` keys the hash, so that nobody can aim packets at one chain. */
  constructor(max: number, random32: () => number) {
    assert(Number.isInteger(Math.log2(max)), "the bound of the flow table is not a power of two");
    this.#max = max;
    this.#keys = [random32(), random32() | 1, random32() | 1];
    this.#grow(Math.min(max, 1024));
  }

  get size(): number {
    return this.#size;
  }

  /** Flows of agents whose connection ended. */
  get orphans(): number {
    return this.#orphans;
  }

  /** Slots that exist now, used or free. */
  get capacity(): number {
    return this.#capacity;
  }

  countOf(agent: number): number {
    return this.#agents.get(agent)?.count ?? 0;
  }

  /** The flow of an agent's packet, or {@linkcode NO_SLOT}. `packet` is `InnerPacket.words`. */
  findUpward(agent: number, service: number, packet: Uint32Array): number {
    const words = this.words;
    let slot = this.#upwardHeads[this.#hashUpward(agent, service, packet, 0)] ?? NO_SLOT;
    for (; slot >= 0; slot = this.#upwardNext[slot] ?? NO_SLOT) {
      const base = slot * SlotWord.count;
      if (words[base + SlotWord.agent] !== agent || words[base + SlotWord.service] !== service) continue;
      let word = 0;
      while (word < Word.count && words[base + word] === packet[word]) word++;
      if (word === Word.count) return slot;
    }
    return NO_SLOT;
  }

  /**
   * The flow whose packets connectors see as `source` to `destination`; each is four words from the given offset of
   * `packet`, `ports` as the agent writes them. Returns {@linkcode NO_SLOT} when there is none.
   */
  findDownward(service: number, packet: Uint32Array, source: number, destination: number, ports: number): number {
    const words = this.words;
    const kind = packet[Word.kind] ?? 0;
    let slot = this.#downwardHeads[this.#hashDownward(service, kind, packet, source, destination, ports)] ?? NO_SLOT;
    for (; slot >= 0; slot = this.#downwardNext[slot] ?? NO_SLOT) {
      const base = slot * SlotWord.count;
      if (words[base + SlotWord.service] !== service || words[base] !== kind || words[base + Word.ports] !== ports) continue;
      let word = 0;
      while (
        word < 4 && words[base + SlotWord.outward + word] === packet[source + word] &&
        words[base + Word.destination + word] === packet[destination + word]
      ) word++;
      if (word === 4) return slot;
    }
    return NO_SLOT;
  }

  /**
   * Adds a flow: `packet` as its agent writes it, `outward` as connectors see it (both `InnerPacket.words`). Returns its slot,
   * or {@linkcode NO_SLOT} when all are in use.
   */
  add(agent: number, service: number, packet: Uint32Array, outward: Uint32Array): number {
    if (this.#free < 0) {
      if (this.#capacity >= this.#max) return NO_SLOT;
      this.#grow(this.#capacity * 2);
    }
    const slot = this.#free;
    this.#free = this.#upwardNext[slot] ?? NO_SLOT;
    const base = slot * SlotWord.count;
    for (let word = 0; word < Word.count; word++) this.words[base + word] = packet[word] ?? 0;
    for (let word = 0; word < 4; word++) this.words[base + SlotWord.outward + word] = outward[Word.source + word] ?? 0;
    this.words[base + SlotWord.service] = service;
    this.words[base + SlotWord.agent] = agent;
    this.ended[slot] = 0;
    this.bytesUp[slot] = 0;
    this.bytesDown[slot] = 0;
    this.#link(slot);
    this.#append(agent, slot);
    this.#size++;
    return slot;
  }

  remove(slot: number): void {
    const agent = this.agentOf(slot);
    this.#unlink(slot);
    this.#detach(agent, slot);
    this.connector[slot] = -1;
    this.lastSeenMs[slot] = NaN;
    this.#upwardNext[slot] = this.#free;
    this.#free = slot;
    this.#size--;
  }

  agentOf(slot: number): number {
    return this.words[slot * SlotWord.count + SlotWord.agent] ?? 0;
  }

  serviceOf(slot: number): number {
    return this.words[slot * SlotWord.count + SlotWord.service] ?? 0;
  }

  /** The oldest flow of an agent, or {@linkcode NO_SLOT}. */
  firstOf(agent: number): number {
    return this.#agents.get(agent)?.head ?? NO_SLOT;
  }

  /** The flow of the same agent that follows, or {@linkcode NO_SLOT}. */
  nextOf(slot: number): number {
    return this.#agentNext[slot] ?? NO_SLOT;
  }

  /** Moves a flow to another agent, last in its list. */
  give(slot: number, agent: number): void {
    this.#unlink(slot);
    this.#detach(this.agentOf(slot), slot);
    this.words[slot * SlotWord.count + SlotWord.agent] = agent;
    this.#link(slot);
    this.#append(agent, slot);
  }

  #append(agent: number, slot: number): void {
    let flows = this.#agents.get(agent);
    if (flows === undefined) {
      flows = { group: this.groupOf(agent), head: NO_SLOT, tail: NO_SLOT, count: 0 };
      this.#agents.set(agent, flows);
    }
    this.#agentPrevious[slot] = flows.tail;
    this.#agentNext[slot] = NO_SLOT;
    if (flows.tail >= 0) this.#agentNext[flows.tail] = slot;
    else flows.head = slot;
    flows.tail = slot;
    flows.count++;
    flows.group.count++;
    if (flows.group.within !== null) flows.group.within.count++;
    if (agent >= ORPHAN_MIN) this.#orphans++;
  }

  #detach(agent: number, slot: number): void {
    const flows = this.#agents.get(agent);
    assert(flows !== undefined, "a flow belongs to no agent");
    const previous = this.#agentPrevious[slot] ?? NO_SLOT;
    const next = this.#agentNext[slot] ?? NO_SLOT;
    if (previous >= 0) this.#agentNext[previous] = next;
    else flows.head = next;
    if (next >= 0) this.#agentPrevious[next] = previous;
    else flows.tail = previous;
    flows.group.count--;
    if (flows.group.within !== null) flows.group.within.count--;
    if (--flows.count === 0) this.#agents.delete(agent);
    if (agent >= ORPHAN_MIN) this.#orphans--;
  }

  #link(slot: number): void {
    const upward = this.#upwardBucket(slot);
    this.#upwardNext[slot] = this.#upwardHeads[upward] ?? NO_SLOT;
    this.#upwardHeads[upward] = slot;
    const downward = this.#downwardBucket(slot);
    this.#downwardNext[slot] = this.#downwardHeads[downward] ?? NO_SLOT;
    this.#downwardHeads[downward] = slot;
  }

  #unlink(slot: number): void {
    unchain(this.#upwardHeads, this.#upwardNext, this.#upwardBucket(slot), slot);
    unchain(this.#downwardHeads, this.#downwardNext, this.#downwardBucket(slot), slot);
  }

  #upwardBucket(slot: number): number {
    return this.#hashUpward(this.agentOf(slot), this.serviceOf(slot), this.words, slot * SlotWord.count);
  }

  #downwardBucket(slot: number): number {
    const base = slot * SlotWord.count;
    const kind = this.words[base] ?? 0;
    const ports = this.words[base + Word.ports] ?? 0;
    return this.#hashDownward(this.serviceOf(slot), kind, this.words, base + SlotWord.outward, base + Word.destination, ports);
  }

  #hashUpward(agent: number, service: number, words: Uint32Array, base: number): number {
    const addresses = this.#mixAddresses(words[base] ?? 0, words, base + Word.source, base + Word.destination);
    return this.#mix(this.#mix(this.#mix(addresses, words[base + Word.ports] ?? 0), service), agent) & (this.#capacity - 1);
  }

  #hashDownward(service: number, kind: number, words: Uint32Array, source: number, destination: number, ports: number): number {
    const addresses = this.#mixAddresses(kind, words, source, destination);
    return this.#mix(this.#mix(addresses, ports), service) & (this.#capacity - 1);
  }

  #mixAddresses(kind: number, words: Uint32Array, source: number, destination: number): number {
    let hash = this.#mix(this.#keys[0], kind);
    const count = kind >>> 8 === 4 ? 1 : 4;
    for (let word = 0; word < count; word++) {
      hash = this.#mix(hash, words[source + word] ?? 0);
      hash = this.#mix(hash, words[destination + word] ?? 0);
    }
    return hash;
  }

  /** Two multiplications by secret odd numbers: no pair of words cancels another without knowing them. */
  #mix(hash: number, word: number): number {
    let mixed = Math.imul(hash ^ word, this.#keys[1]);
    mixed = Math.imul(mixed ^ (mixed >>> 15), this.#keys[2]);
    return mixed ^ (mixed >>> 13);
  }

  #grow(capacity: number): void {
    const old = this.#capacity;
    this.#capacity = capacity;
    this.words = grown(this.words, new Uint32Array(capacity * SlotWord.count));
    this.connector = grown(this.connector, new Int32Array(capacity).fill(-1));
    this.epoch = grown(this.epoch, new Float64Array(capacity));
    this.lastSeenMs = grown(this.lastSeenMs, new Float64Array(capacity).fill(NaN));
    this.ended = grown(this.ended, new Uint8Array(capacity));
    this.startedMs = grown(this.startedMs, new Float64Array(capacity));
    this.bytesUp = grown(this.bytesUp, new Float64Array(capacity));
    this.bytesDown = grown(this.bytesDown, new Float64Array(capacity));
    this.#upwardNext = grown(this.#upwardNext, new Int32Array(capacity));
    this.#downwardNext = grown(this.#downwardNext, new Int32Array(capacity));
    this.#agentNext = grown(this.#agentNext, new Int32Array(capacity));
    this.#agentPrevious = grown(this.#agentPrevious, new Int32Array(capacity));
    this.#upwardHeads = new Int32Array(capacity).fill(NO_SLOT);
    this.#downwardHeads = new Int32Array(capacity).fill(NO_SLOT);
    for (let slot = 0; slot < old; slot++) this.#link(slot);
    for (let slot = capacity - 1; slot >= old; slot--) {
      this.#upwardNext[slot] = this.#free;
      this.#free = slot;
    }
  }
}

function grown<T extends Uint8Array | Uint32Array | Int32Array | Float64Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}

function unchain(heads: Int32Array, next: Int32Array, bucket: number, slot: number): void {
  let before = heads[bucket] ?? NO_SLOT;
  if (before === slot) {
    heads[bucket] = next[slot] ?? NO_SLOT;
    return;
  }
  while (before >= 0) {
    const after = next[before] ?? NO_SLOT;
    if (after === slot) {
      next[before] = next[slot] ?? NO_SLOT;
      return;
    }
    before = after;
  }
  assert(false, "a flow is missing in its index");
}
