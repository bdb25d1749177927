/**
 * Flows whose agent's connection ended. They keep their place towards the connector for a while (see flow_age.ts): nobody
 * else may look the same, but a new connection of the same identity that sends the same packets gets them back.
 */

import type { FlowLimits } from "./flow_age.ts";
import { type FlowStore, NO_SLOT, ORPHAN_MIN } from "./flow_store.ts";
import type { ConnectorDirectory } from "./registration.ts";

/** Owner of flows that nobody can get back: those of agents without an identity. */
const NOBODY = ORPHAN_MIN;
/** Identities whose flows can be got back at one time. */
const IDENTITIES_MAX = 4_096;

export class FlowOwners {
  readonly #store: FlowStore;
  readonly #directory: ConnectorDirectory;
  readonly #limits: FlowLimits;
  /** The identity of every agent that has flows or had some. */
  readonly #identities = new Map<number, string | null>();
  /** The number under which an identity's orphans are kept. */
  readonly #orphans = new Map<string, number>();
  #nextOrphan = NOBODY + 1;

  constructor(store: FlowStore, directory: ConnectorDirectory, limits: FlowLimits) {
    this.#store = store;
    this.#directory = directory;
    this.#limits = limits;
  }

  /** The flow that an earlier connection of this agent's identity left behind, now the agent's own; or {@linkcode NO_SLOT}. */
  adopt(agent: number, service: number, packet: Uint32Array): number {
    let identity = this.#identities.get(agent);
    if (identity === undefined) {
      identity = this.#directory.agentIdentity(agent);
      this.#identities.set(agent, identity);
    }
    const orphan = identity === null ? undefined : this.#orphans.get(identity);
    if (orphan === undefined) return NO_SLOT;
    const slot = this.#store.findUpward(orphan, service, packet);
    if (slot >= 0) this.#store.give(slot, agent);
    return slot;
  }

  /** Orphans all flows of an agent. */
  release(agent: number): void {
    const store = this.#store;
    const orphan = this.#orphanOf(this.#identities.get(agent) ?? null);
    this.#identities.delete(agent);
    for (let slot = store.firstOf(agent); slot >= 0; slot = store.firstOf(agent)) {
      if (orphan !== NOBODY && store.countOf(orphan) >= this.#limits.flowsPerAgentMax) store.remove(store.firstOf(orphan));
      if (store.orphans >= this.#limits.orphansMax) store.remove(slot);
      else store.give(slot, orphan);
    }
  }

  #orphanOf(identity: string | null): number {
    if (identity === null) return NOBODY;
    const known = this.#orphans.get(identity);
    if (known !== undefined) return known;
    if (this.#orphans.size >= IDENTITIES_MAX) this.#forgetEmpty();
    if (this.#orphans.size >= IDENTITIES_MAX) return NOBODY;
    const orphan = this.#nextOrphan;
    this.#nextOrphan = orphan < 0xffff_ffff ? orphan + 1 : NOBODY + 1;
    this.#orphans.set(identity, orphan);
    return orphan;
  }

  #forgetEmpty(): void {
    for (const [identity, orphan] of this.#orphans) {
      if (this.#store.countOf(orphan) === 0) this.#orphans.delete(identity);
    }
  }
}
