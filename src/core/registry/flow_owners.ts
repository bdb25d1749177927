/**
 * Flows whose agent's connection ended. They keep their place towards the connector for a while (see flow_age.ts): nobody
 * else may look the same, but a new connection of the same identity that sends the same packets gets them back.
 */

import type { FlowLimits } from "./flow_age.ts";
import { type FlowGroup, type FlowStore, NO_SLOT, ORPHAN_MIN } from "./flow_store.ts";
import { FlowDrop } from "./inner_packet.ts";
import type { ConnectorDirectory } from "./registration.ts";

/** Owner of flows that nobody can get back: those of agents without an identity. */
const NOBODY = ORPHAN_MIN;
/** Identities whose flows can be got back at one time. */
const IDENTITIES_MAX = 4_096;
/** Groups without flows are forgotten when there are so many more than the last time. */
const GROUPS_STEP = 1_024;

export class FlowOwners {
  readonly #store: FlowStore;
  readonly #directory: ConnectorDirectory;
  #limits: FlowLimits;
  /** The identity of every agent that has flows or had some. */
  readonly #identities = new Map<number, string | null>();
  /** The number under which an identity's orphans are kept. */
  readonly #orphans = new Map<string, number>();
  /** The flows of each identity, orphans included, and of each source from which agents without one come. */
  readonly #groups = new Map<string, FlowGroup>();
  readonly #anonymous: FlowGroup = { count: 0, within: null };
  readonly #nobodys: FlowGroup = { count: 0, within: null };
  #groupsNextLook = GROUPS_STEP;
  #nextOrphan = NOBODY + 1;

  constructor(store: FlowStore, directory: ConnectorDirectory, limits: FlowLimits) {
    this.#store = store;
    this.#directory = directory;
    this.#limits = limits;
    store.groupOf = (agent) => agent === NOBODY ? this.#nobodys : this.#groupOf(agent);
  }

  configure(limits: FlowLimits): void {
    this.#limits = limits;
  }

  /** The flow that an earlier connection of this agent's identity left behind, now the agent's own; or {@linkcode NO_SLOT}. */
  adopt(agent: number, service: number, packet: Uint32Array): number {
    const identity = this.#identityOf(agent);
    const orphan = identity === null ? undefined : this.#orphans.get(identity);
    if (orphan === undefined) return NO_SLOT;
    const slot = this.#store.findUpward(orphan, service, packet);
    if (slot >= 0) this.#store.give(slot, agent);
    return slot;
  }

  /** Why the agent gets no further flow: those that it shares with have as many as they may have. 0 when it does. */
  refusal(agent: number): number {
    const group = this.#groups.get(this.#shareOf(agent));
    if (group !== undefined && group.count >= this.#limits.flowsPerIdentityMax) return FlowDrop.identityFull;
    const isAnonymous = this.#identityOf(agent) === null;
    return isAnonymous && this.#anonymous.count >= this.#limits.flowsAnonymousMax ? FlowDrop.anonymousFull : 0;
  }

  /** Orphans all flows of an agent. */
  release(agent: number): void {
    const store = this.#store;
    const orphan = this.#orphanOf(this.#identities.get(agent) ?? null);
    for (let slot = store.firstOf(agent); slot >= 0; slot = store.firstOf(agent)) {
      if (orphan !== NOBODY && store.countOf(orphan) >= this.#limits.flowsPerAgentMax) store.remove(store.firstOf(orphan));
      if (store.orphans >= this.#limits.orphansMax) store.remove(slot);
      else store.give(slot, orphan);
    }
    this.#identities.delete(agent);
  }

  #identityOf(agent: number): string | null {
    const known = this.#identities.get(agent);
    if (known !== undefined) return known;
    const identity = this.#directory.agentIdentity(agent);
    this.#identities.set(agent, identity);
    return identity;
  }

  #shareOf(agent: number): string {
    return this.#identityOf(agent) ?? this.#directory.agentShare(agent);
  }

  #groupOf(agent: number): FlowGroup {
    const share = this.#shareOf(agent);
    const known = this.#groups.get(share);
    if (known !== undefined) return known;
    if (this.#groups.size >= this.#groupsNextLook) {
      // An agent without flows asks for its group anew: nobody holds an empty one.
      for (const [key, group] of this.#groups) if (group.count === 0) this.#groups.delete(key);
      this.#groupsNextLook = this.#groups.size + GROUPS_STEP;
    }
    const group = { count: 0, within: this.#identityOf(agent) === null ? this.#anonymous : null };
    this.#groups.set(share, group);
    return group;
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
    this.#identities.set(orphan, identity);
    return orphan;
  }

  #forgetEmpty(): void {
    for (const [identity, orphan] of this.#orphans) {
      if (this.#store.countOf(orphan) > 0) continue;
      this.#orphans.delete(identity);
      this.#identities.delete(orphan);
    }
  }
}
