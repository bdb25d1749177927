/**
 * The source address under which a connector sees a flow: the agent's own, or, when another flow already looks the same,
 * one of ours. A connector that does not name services could not tell flows of its services apart, so the address must be
 * free in all of them.
 */

import { FlowAge, flowAge, type FlowLimits } from "./flow_age.ts";
import { type FlowStore, NO_SLOT } from "./flow_store.ts";
import { Word } from "./inner_packet.ts";
import type { ConnectorDirectory } from "./registration.ts";

const ADDRESS_TRIES = 8;
/** 100.64.0.0/10, the shared address space (RFC 6598). */
const OUTWARD_IPV4 = 0x6440_0000;
const OUTWARD_IPV4_HOST_MASK = 0x003f_ffff;
/** fd70:6f73:7465:726e::/64, a unique local prefix (RFC 4193). */
const OUTWARD_IPV6 = [0xfd70_6f73, 0x7465_726e] as const;

export class OutwardSource {
  readonly #store: FlowStore;
  readonly #directory: ConnectorDirectory;
  readonly #limits: FlowLimits;
  readonly #random32: () => number;
  /** The packet's words with the source under trial in place of its own. */
  readonly #probe = new Uint32Array(Word.count);

  constructor(store: FlowStore, directory: ConnectorDirectory, limits: FlowLimits, random32: () => number) {
    this.#store = store;
    this.#directory = directory;
    this.#limits = limits;
    this.#random32 = random32;
  }

  /**
   * The packet's words (`InnerPacket.words`) with a source that is free towards `connector`, valid until the next call; null when
   * none was found. The source is the packet's own whenever that is free.
   */
  choose(connector: number, service: number, packet: Uint32Array, family: number, nowMs: number): Uint32Array | null {
    const probe = this.#probe;
    probe.set(packet);
    for (let attempt = 0; attempt < ADDRESS_TRIES; attempt++) {
      if (this.#isFree(connector, service, nowMs)) return probe;
      probe.fill(0, Word.source, Word.destination);
      if (family === 4) {
        probe[Word.source] = OUTWARD_IPV4 | (this.#random32() & OUTWARD_IPV4_HOST_MASK);
      } else {
        probe.set(OUTWARD_IPV6, Word.source);
        probe[Word.source + 2] = this.#random32();
        probe[Word.source + 3] = this.#random32();
      }
    }
    return null;
  }

  #isFree(connector: number, service: number, nowMs: number): boolean {
    if (!this.#isFreeIn(service, nowMs)) return false;
    const services = this.#directory.connectorServices(connector);
    for (let i = 0; i < services.length; i++) {
      const other = services[i] ?? -1;
      if (other !== service && !this.#isFreeIn(other, nowMs)) return false;
    }
    return true;
  }

  #isFreeIn(service: number, nowMs: number): boolean {
    const probe = this.#probe;
    const slot = this.#store.findDownward(service, probe, Word.source, Word.destination, probe[Word.ports] ?? 0);
    if (slot === NO_SLOT) return true;
    if (flowAge(this.#store, this.#limits, slot, nowMs) < FlowAge.dead) return false;
    this.#store.remove(slot);
    return true;
  }
}
