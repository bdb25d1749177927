/**
 * How long a flow lasts after its last packet in either direction.
 *
 *   live       answers reach the agent
 *   lingering  answers are dropped, but no other agent may look the same to the connector: it may still hold the flow's
 *              TCP session, and its data must not reach whoever comes next. An answer prolongs this; a packet of the
 *              agent makes the flow live again
 *   dead       the slot is free for others
 *
 * The flows of an agent whose connection ended ("orphans") are lingering at once.
 */

import { type FlowStore, ORPHAN_MIN, SlotWord } from "./flow_store.ts";
import { Protocol } from "./inner_packet.ts";

export const FLOW_LIMITS = {
  /** A power of two. About 110 bytes each; memory is taken as it is needed. */
  flowsMax: 262_144,
  flowsPerAgentMax: 8_192,
  /** Lingering flows of connections that ended; beyond this the oldest are forgotten. */
  orphansMax: 65_536,
  tcpIdleMs: 120_000,
  udpIdleMs: 60_000,
  icmpIdleMs: 30_000,
  /** Earlier connectors keep an idle TCP session for 120 s. */
  tcpLingerMs: 120_000,
  otherLingerMs: 10_000,
} as const;
export type FlowLimits = { readonly [K in keyof typeof FLOW_LIMITS]: number };

export const FlowAge = { live: 0, lingering: 1, dead: 2, free: 3 } as const;

/** The {@linkcode FlowAge} of a slot. */
export function flowAge(store: FlowStore, limits: FlowLimits, slot: number, nowMs: number): number {
  const idleMs = nowMs - (store.lastSeenMs[slot] ?? NaN);
  if (Number.isNaN(idleMs)) return FlowAge.free;
  const base = slot * SlotWord.count;
  const protocol = (store.words[base] ?? 0) & 0xff;
  const idleMaxMs = idleMaxMsOf(protocol, limits);
  if (idleMs < idleMaxMs && (store.words[base + SlotWord.agent] ?? ORPHAN_MIN) < ORPHAN_MIN) return FlowAge.live;
  const lingerMs = protocol === Protocol.tcp ? limits.tcpLingerMs : limits.otherLingerMs;
  return idleMs < idleMaxMs + lingerMs ? FlowAge.lingering : FlowAge.dead;
}

/** Lets a lingering flow linger on: its connector still sends. */
export function prolongLinger(store: FlowStore, limits: FlowLimits, slot: number, nowMs: number): void {
  const protocol = (store.words[slot * SlotWord.count] ?? 0) & 0xff;
  store.lastSeenMs[slot] = Math.max(store.lastSeenMs[slot] ?? 0, nowMs - idleMaxMsOf(protocol, limits));
}

function idleMaxMsOf(protocol: number, limits: FlowLimits): number {
  if (protocol === Protocol.tcp) return limits.tcpIdleMs;
  return protocol === Protocol.udp ? limits.udpIdleMs : limits.icmpIdleMs;
}
