/**
 * Which agent an answer belongs to. Learnt from agents' packets, looked up with the addresses reversed for connectors'
 * packets; what was never asked is never answered. A flow also keeps its connector.
 *
 *   agent ──► fromAgent ──► connectorOf(slot)          learns, picks a connector, rewrites the source if it must
 *   agentOf(slot) ◄── fromConnector ◄── connector      finds, puts the agent's own address back
 *
 * Earlier agents all use one inner address. When two flows would look the same to connectors, the later one's source is
 * replaced by an address of our own, in both directions and in ICMP errors, so that neither end notices.
 * A TCP flow begins with the agent's SYN, and nothing but the connector's answer to it passes before that answer: a connector may
 * still hold a session of the same addresses of which this table knows nothing any more, and it must not become the agent's.
 *
 * Functions return a slot, or a negative {@linkcode FlowDrop}. A hit allocates nothing.
 */

import { ICMP_QUOTE_OFFSET, rewriteAddress, rewriteIcmpError } from "./address_rewrite.ts";
import { Ended, FLOW_LIMITS, FlowAge, flowAge, type FlowLimits, noteFlags, prolongLinger } from "./flow_age.ts";
import { type FlowRecord, listFlows } from "./flow_list.ts";
import { FlowOwners } from "./flow_owners.ts";
import { FlowStore, NO_SLOT, SlotWord } from "./flow_store.ts";
import { FlowDrop, InnerPacket, PacketClass, Protocol, TcpBit, Word } from "./inner_packet.ts";
import { OutwardSource } from "./outward_source.ts";
import type { ConnectorDirectory } from "./registration.ts";

/** Slots that are looked at for a dead one before a new flow is refused. */
const SWEEP_ON_FULL = 64;
const ENDING_BITS = TcpBit.fin | TcpBit.syn | TcpBit.rst;
const OPENING_BITS = ENDING_BITS | TcpBit.ack;

export interface FlowCounters {
  learned: number;
  /** Flows whose source is hidden behind an address of ours. */
  rewritten: number;
  /** Flows whose time was over. */
  expired: number;
}

export class FlowTable {
  readonly counters: FlowCounters = { learned: 0, rewritten: 0, expired: 0 };
  readonly #directory: ConnectorDirectory;
  #limits: FlowLimits;
  readonly #store: FlowStore;
  readonly #outward: OutwardSource;
  readonly #owners: FlowOwners;
  readonly #packet = new InnerPacket();
  readonly #quoted = new InnerPacket();
  #sweepAt = 0;

  /** `random32` returns 32 unpredictable bits. */
  constructor(directory: ConnectorDirectory, random32: () => number, limits: FlowLimits = FLOW_LIMITS) {
    this.#directory = directory;
    this.#limits = limits;
    this.#store = new FlowStore(limits.flowsMax, random32);
    this.#outward = new OutwardSource(this.#store, directory, limits, random32);
    this.#owners = new FlowOwners(this.#store, directory, limits);
  }

  /** Other shares of the table from now on; what stands stays. The size of the table and the times remain. */
  configure(limits: FlowLimits): void {
    const { flowsPerAgentMax, flowsPerIdentityMax, flowsAnonymousMax } = limits;
    this.#limits = { ...this.#limits, flowsPerAgentMax, flowsPerIdentityMax, flowsAnonymousMax };
    this.#owners.configure(this.#limits);
  }

  get size(): number {
    return this.#store.size;
  }

  flowsOf(agent: number): number {
    return this.#store.countOf(agent);
  }

  /** The connector of a slot just returned. */
  connectorOf(slot: number): number {
    return this.#store.connector[slot] ?? -1;
  }

  agentOf(slot: number): number {
    return this.#store.agentOf(slot);
  }

  serviceOf(slot: number): number {
    return this.#store.serviceOf(slot);
  }

  /** Notes that the packet of a slot just returned was forwarded. */
  forwarded(slot: number, from: "agent" | "connector", bytes: number): void {
    const moved = from === "agent" ? this.#store.bytesUp : this.#store.bytesDown;
    moved[slot] = (moved[slot] ?? 0) + bytes;
  }

  /** Up to `max` live flows, for those who look. */
  list(nowMs: number, max: number): FlowRecord[] {
    return listFlows(this.#store, this.#limits, nowMs, max);
  }

  /**
   * Takes in the inner packet of `length` bytes at `offset` that a registered agent of `service` sent, and makes it ready
   * for its connector in place.
   */
  fromAgent(agent: number, service: number, bytes: Uint8Array, offset: number, length: number, nowMs: number): number {
    const packet = this.#packet;
    const kind = packet.read(bytes, offset, length, true, false);
    if (kind < 0) return kind;
    if (kind === PacketClass.icmpError) return this.#errorFromAgent(agent, service, bytes, offset, length, nowMs);
    const store = this.#store;
    let slot = store.findUpward(agent, service, packet.words);
    if (slot >= 0 && this.#age(slot, nowMs) >= FlowAge.dead) slot = NO_SLOT;
    if (slot < 0) {
      slot = this.#learn(agent, service, nowMs);
      if (slot < 0) return slot;
    }
    const isOpening = ((store.ended[slot] ?? 0) & Ended.opening) !== 0;
    if (isOpening && (packet.tcpFlags & (TcpBit.syn | TcpBit.rst)) === 0) return FlowDrop.unanswered;
    store.lastSeenMs[slot] = nowMs;
    if ((packet.tcpFlags & ENDING_BITS) !== 0) noteFlags(store, slot, packet.tcpFlags, true);
    if (!this.#hasConnector(slot)) return FlowDrop.noConnector;
    if (this.#isRewritten(slot)) {
      rewriteAddress(bytes, offset, offset + length, packet, "source", store.words, slot * SlotWord.count + SlotWord.outward);
    }
    return slot;
  }

  /**
   * Takes in the inner packet that a connector sent for `service`, or without naming one (-1: any of those that it
   * serves), and makes it ready for its agent in place.
   */
  fromConnector(connector: number, service: number, bytes: Uint8Array, offset: number, length: number, nowMs: number): number {
    const packet = this.#packet;
    const kind = packet.read(bytes, offset, length, false, false);
    if (kind < 0) return kind;
    if (kind === PacketClass.icmpError) return this.#errorFromConnector(connector, service, bytes, offset, length, nowMs);
    const ports = packet.words[Word.ports] ?? 0;
    const slot = this.#findFor(connector, service, packet.words, Word.destination, Word.source, swapPorts(ports), nowMs);
    if (slot < 0) return slot;
    const store = this.#store;
    const isOpening = ((store.ended[slot] ?? 0) & Ended.opening) !== 0;
    if (isOpening && (packet.tcpFlags & (TcpBit.syn | TcpBit.rst)) === 0) return FlowDrop.unanswered;
    store.lastSeenMs[slot] = nowMs;
    if ((packet.tcpFlags & ENDING_BITS) !== 0 || (store.ended[slot] ?? 0) !== 0) noteFlags(store, slot, packet.tcpFlags, false);
    if (this.#isRewritten(slot)) {
      rewriteAddress(bytes, offset, offset + length, packet, "destination", store.words, slot * SlotWord.count + Word.source);
    }
    return slot;
  }

  /**
   * Gives the packet that the last call returned `slot` for the address again that it came with: for an answer to its
   * sender, such as ICMP "fragmentation needed". Never for ICMP errors, which nobody answers.
   */
  restore(slot: number, from: "agent" | "connector", bytes: Uint8Array, offset: number, length: number): void {
    if (!this.#isRewritten(slot)) return;
    const side = from === "agent" ? "source" : "destination";
    const wordAt = slot * SlotWord.count + (from === "agent" ? Word.source : SlotWord.outward);
    rewriteAddress(bytes, offset, offset + length, this.#packet, side, this.#store.words, wordAt);
  }

  /**
   * Ends all flows of an agent whose connection ended. Must be called before its number is given to another connection.
   * What connectors still send for them is dropped, and nobody but a new connection of the same identity gets their
   * addresses until they have fallen silent.
   */
  removeAgent(agent: number): void {
    this.#owners.release(agent);
  }

  /** Frees dead flows among the next `slots` slots; call it regularly so that the whole table is seen. */
  sweep(nowMs: number, slots: number): void {
    const capacity = this.#store.capacity;
    for (let left = Math.min(slots, capacity); left > 0; left--) {
      this.#sweepAt = this.#sweepAt + 1 < capacity ? this.#sweepAt + 1 : 0;
      this.#age(this.#sweepAt, nowMs);
    }
  }

  // An agent's error quotes a packet that came from the connector; the flow is there or the error is about nothing.
  #errorFromAgent(agent: number, service: number, bytes: Uint8Array, offset: number, length: number, nowMs: number): number {
    const { words } = this.#quoted;
    const problem = this.#readQuoted(bytes, offset, length, false);
    if (problem < 0) return problem;
    swapSides(words);
    if (!isSameAddress(this.#packet.words, Word.source, words, Word.source)) return FlowDrop.icmpMismatch;
    const slot = this.#store.findUpward(agent, service, words);
    if (slot < 0 || this.#age(slot, nowMs) !== FlowAge.live) return FlowDrop.unknownFlow;
    if (!this.#hasConnector(slot)) return FlowDrop.noConnector;
    if (this.#isRewritten(slot)) {
      const outwardAt = slot * SlotWord.count + SlotWord.outward;
      rewriteIcmpError(bytes, offset, offset + length, this.#packet, this.#quoted, "source", this.#store.words, outwardAt);
    }
    return slot;
  }

  #errorFromConnector(
    connector: number,
    service: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    nowMs: number,
  ): number {
    const { words } = this.#quoted;
    const problem = this.#readQuoted(bytes, offset, length, true);
    if (problem < 0) return problem;
    if (!isSameAddress(this.#packet.words, Word.destination, words, Word.source)) return FlowDrop.icmpMismatch;
    const slot = this.#findFor(connector, service, words, Word.source, Word.destination, words[Word.ports] ?? 0, nowMs);
    if (slot < 0) return slot;
    if (this.#isRewritten(slot)) {
      const sourceAt = slot * SlotWord.count + Word.source;
      rewriteIcmpError(bytes, offset, offset + length, this.#packet, this.#quoted, "destination", this.#store.words, sourceAt);
    }
    return slot;
  }

  #readQuoted(bytes: Uint8Array, offset: number, length: number, isUpward: boolean): number {
    const quotedAt = this.#packet.transportAt + ICMP_QUOTE_OFFSET;
    const kind = this.#quoted.read(bytes, quotedAt, offset + length - quotedAt, isUpward, true);
    if (kind < 0) return kind;
    return this.#quoted.family === this.#packet.family ? kind : FlowDrop.icmpMismatch;
  }

  /** The one live flow that this connector carries under the given addresses, in the connector's view. */
  #findFor(
    connector: number,
    service: number,
    words: Uint32Array,
    source: number,
    destination: number,
    ports: number,
    nowMs: number,
  ): number {
    if (service >= 0) {
      return this.#ofConnector(connector, this.#store.findDownward(service, words, source, destination, ports), nowMs);
    }
    let found = NO_SLOT;
    const services = this.#directory.connectorServices(connector);
    for (let i = 0; i < services.length; i++) {
      const slot = this.#store.findDownward(services[i] ?? -1, words, source, destination, ports);
      if (slot < 0 || this.#age(slot, nowMs) >= FlowAge.dead) continue;
      // Also a flow that has moved to another connector counts: this may be a late answer to it.
      if (found >= 0) return FlowDrop.ambiguous;
      found = slot;
    }
    return this.#ofConnector(connector, found, nowMs);
  }

  #ofConnector(connector: number, slot: number, nowMs: number): number {
    if (slot < 0) return FlowDrop.unknownFlow;
    if (this.#store.connector[slot] !== connector) return FlowDrop.otherConnector;
    const age = this.#age(slot, nowMs);
    if (age === FlowAge.live) return slot;
    if (age === FlowAge.lingering) prolongLinger(this.#store, this.#limits, slot, nowMs);
    return FlowDrop.unknownFlow;
  }

  /** The {@linkcode FlowAge} of a slot; a dead one is freed. */
  #age(slot: number, nowMs: number): number {
    const age = flowAge(this.#store, this.#limits, slot, nowMs);
    if (age === FlowAge.dead) {
      this.counters.expired++;
      this.#store.remove(slot);
    }
    return age;
  }

  /** Whether the flow has a usable connector, choosing one if the registry has changed since the last packet. */
  #hasConnector(slot: number): boolean {
    const store = this.#store;
    const epoch = this.#directory.epoch;
    if (store.epoch[slot] !== epoch) {
      store.connector[slot] = this.#directory.connectorForFlow(store.serviceOf(slot), store.connector[slot] ?? -1);
      store.epoch[slot] = epoch;
    }
    return (store.connector[slot] ?? -1) >= 0;
  }

  /** Forgets one of the agent's oldest flows that nobody needs any more. False when each of those is alive. */
  #makeRoom(agent: number, nowMs: number): boolean {
    const store = this.#store;
    let slot = store.firstOf(agent);
    for (let left = SWEEP_ON_FULL; left > 0 && slot >= 0; left--) {
      const next = store.nextOf(slot);
      if (this.#age(slot, nowMs) >= FlowAge.dead) return true;
      slot = next;
    }
    return false;
  }

  #isRewritten(slot: number): boolean {
    const base = slot * SlotWord.count;
    return !isSameAddress(this.#store.words, base + Word.source, this.#store.words, base + SlotWord.outward);
  }

  #learn(agent: number, service: number, nowMs: number): number {
    const store = this.#store;
    const { words, family } = this.#packet;
    if (store.countOf(agent) >= this.#limits.flowsPerAgentMax && !this.#makeRoom(agent, nowMs)) return FlowDrop.agentFull;
    const connector = this.#directory.connectorForFlow(service, -1);
    if (connector < 0) return FlowDrop.noConnector;
    const adopted = this.#owners.adopt(agent, service, words);
    if (adopted >= 0 && this.#age(adopted, nowMs) < FlowAge.dead) return adopted;
    const isTcp = this.#packet.protocol === Protocol.tcp;
    if (isTcp && (this.#packet.tcpFlags & OPENING_BITS) !== TcpBit.syn) return FlowDrop.midstream;
    const refusal = this.#owners.refusal(agent);
    if (refusal < 0 && !this.#makeRoom(agent, nowMs)) return refusal;
    const outward = this.#outward.choose(connector, service, words, family, nowMs);
    if (outward === null) return FlowDrop.noAddress;
    let slot = store.add(agent, service, words, outward);
    if (slot < 0) {
      this.sweep(nowMs, SWEEP_ON_FULL);
      slot = store.add(agent, service, words, outward);
      if (slot < 0) return FlowDrop.tableFull;
    }
    store.connector[slot] = connector;
    store.epoch[slot] = this.#directory.epoch;
    store.startedMs[slot] = nowMs;
    store.ended[slot] = isTcp ? Ended.opening : 0;
    this.counters.learned++;
    if (this.#isRewritten(slot)) this.counters.rewritten++;
    return slot;
  }
}

function swapPorts(ports: number): number {
  return (ports << 16 | ports >>> 16) >>> 0;
}

/** Turns the words of a packet into those of its answer. */
function swapSides(words: Uint32Array): void {
  for (let word = 0; word < 4; word++) {
    const source = words[Word.source + word] ?? 0;
    words[Word.source + word] = words[Word.destination + word] ?? 0;
    words[Word.destination + word] = source;
  }
  words[Word.ports] = swapPorts(words[Word.ports] ?? 0);
}

function isSameAddress(a: Uint32Array, aAt: number, b: Uint32Array, bAt: number): boolean {
  for (let word = 0; word < 4; word++) if (a[aAt + word] !== b[bAt + word]) return false;
  return true;
}
