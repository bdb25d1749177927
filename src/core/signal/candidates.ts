/** The candidates that a peer makes of its own addresses (WIRE 6.3), and how two peers' candidates are paired (WIRE 6.6, RFC 8445 §6.1.2.3). */
import type { SocketAddress } from "../../base/mod.ts";
import type { Candidate, CandidateType } from "../wire/mod.ts";

const TYPE_PREFERENCE: Readonly<Record<CandidateType, number>> = {
  "host": 126,
  "peer-reflexive": 110,
  "server-reflexive": 100,
  "relay": 0,
};
const FOUNDATION_PREFIX: Readonly<Record<CandidateType, string>> = {
  "host": "host",
  "peer-reflexive": "prflx",
  "server-reflexive": "srflx",
  "relay": "relay",
};
/** There is one component: its number is 1. */
const LAST_BYTE = 255;
const LOCAL_PREFERENCE_V4 = 65_535, LOCAL_PREFERENCE_V6 = 65_534;

/** A candidate for this address; `base` is where it leads behind a NAT, if that is known. */
export function makeCandidate(type: CandidateType, address: SocketAddress, base: SocketAddress | null = null): Candidate {
  const local = address.ip.includes(":") ? LOCAL_PREFERENCE_V6 : LOCAL_PREFERENCE_V4;
  return {
    type,
    address,
    priority: TYPE_PREFERENCE[type] * 2 ** 24 + local * 2 ** 8 + LAST_BYTE,
    foundation: `${FOUNDATION_PREFIX[type]}_${address.ip}`,
    relatedAddress: base,
  };
}

/** The priority of a pair of candidates of an agent and a connector. */
export function pairPriority(agent: number, connector: number): bigint {
  const [low, high] = agent < connector ? [agent, connector] : [connector, agent];
  return (BigInt(low) << 32n) + 2n * BigInt(high) + (agent > connector ? 1n : 0n);
}

/** Whether packets can go from one to the other at all. */
export function isSameFamily(one: SocketAddress, other: SocketAddress): boolean {
  return one.ip.includes(":") === other.ip.includes(":");
}
