/**
 * How long a flow lasts after its last packet in either direction.
 *
 *   live       answers reach the agent
 *   lingering  answers are dropped, but no other agent may look the same to the connector: it may still hold the flow's
 *              TCP session, and its data must not reach whoever comes next. An answer prolongs this; a packet of the
 *              agent makes the flow live again
 *   dead       the slot is free for others
 *
 * A TCP connection that is over (both ends said FIN, or the connector RST) is not remembered for long: a client that opens one
 * after the other would run out of flows. The agent's RST alone is no end, for the connector may not have heard it.
 *
 * The flows of an agent whose connection ended ("orphans") are lingering at once.
 */

import { type FlowStore, ORPHAN_MIN, SlotWord } from "./flow_store.ts";
import { Protocol, TcpBit } from "./inner_packet.ts";

export const FLOW_LIMITS = {
  /** A power of two. About 134 bytes each; memory is taken as it is needed. */
  flowsMax: 262_144,
  flowsPerAgentMax: 8_192,
  /** Of all connections of one identity together, and of all from one source that have none. */
  flowsPerIdentityMax: 32_768,
  /** Of all connections without an identity together: what others have must remain possible. */
  flowsAnonymousMax: 131_072,
  /** Lingering flows of connections that ended; beyond this the oldest are forgotten. */
  orphansMax: 65_536,
  tcpIdleMs: 120_000,
  udpIdleMs: 60_000,
  icmpIdleMs: 30_000,
  /** For an end's last words that come late. */
  tcpOverIdleMs: 10_000,
  /** Earlier connectors keep an idle TCP session for 120 s. */
  tcpLingerMs: 120_000,
  otherLingerMs: 10_000,
} as const;

/** Bits of {@linkcode FlowStore.ended}. The last one: the connector has not answered the SYN that began the flow. */
export const Ended = { agentFin: 1, connectorFin: 2, connectorReset: 4, opening: 8 } as const;
const BOTH_FINS = Ended.agentFin | Ended.connectorFin;
export type FlowLimits = { readonly [K in keyof typeof FLOW_LIMITS]: number };

export const FlowAge = { live: 0, lingering: 1, dead: 2, free: 3 } as const;

/** The {@linkcode FlowAge} of a slot. */
export function flowAge(store: FlowStore, limits: FlowLimits, slot: number, nowMs: number): number {
  const idleMs = nowMs - (store.lastSeenMs[slot] ?? NaN);
  if (Number.isNaN(idleMs)) return FlowAge.free;
  const base = slot * SlotWord.count;
  const idleMaxMs = idleMaxMsOf(store, limits, slot);
  if (idleMs < idleMaxMs && (store.words[base + SlotWord.agent] ?? ORPHAN_MIN) < ORPHAN_MIN) return FlowAge.live;
  const isTcp = ((store.words[base] ?? 0) & 0xff) === Protocol.tcp;
  const lingerMs = isTcp && !isOver(store, slot) ? limits.tcpLingerMs : limits.otherLingerMs;
  return idleMs < idleMaxMs + lingerMs ? FlowAge.lingering : FlowAge.dead;
}

/** Whether the flow is a TCP connection of which nothing but repetitions is to come. */
export function isOver(store: FlowStore, slot: number): boolean {
  const ended = store.ended[slot] ?? 0;
  return (ended & BOTH_FINS) === BOTH_FINS || (ended & Ended.connectorReset) !== 0;
}

/** Takes note of a segment's flags. */
export function noteFlags(store: FlowStore, slot: number, flags: number, isFromAgent: boolean): void {
  const before = store.ended[slot] ?? 0;
  if ((flags & TcpBit.syn) !== 0) store.ended[slot] = isFromAgent ? before & Ended.opening : before & ~Ended.opening;
  else if ((flags & TcpBit.rst) !== 0) store.ended[slot] = isFromAgent ? before : before | Ended.connectorReset;
  else if ((flags & TcpBit.fin) !== 0) store.ended[slot] = before | (isFromAgent ? Ended.agentFin : Ended.connectorFin);
  // A connector that goes on after a reset has reset something else: an old segment that went astray.
  else if (!isFromAgent && (before & Ended.connectorReset) !== 0) store.ended[slot] = before & ~Ended.connectorReset;
}

/** Lets a lingering flow linger on: its connector still sends. */
export function prolongLinger(store: FlowStore, limits: FlowLimits, slot: number, nowMs: number): void {
  store.lastSeenMs[slot] = Math.max(store.lastSeenMs[slot] ?? 0, nowMs - idleMaxMsOf(store, limits, slot));
}

function idleMaxMsOf(store: FlowStore, limits: FlowLimits, slot: number): number {
  const protocol = (store.words[slot * SlotWord.count] ?? 0) & 0xff;
  if (protocol === Protocol.tcp) return isOver(store, slot) ? limits.tcpOverIdleMs : limits.tcpIdleMs;
  return protocol === Protocol.udp ? limits.udpIdleMs : limits.icmpIdleMs;
}
