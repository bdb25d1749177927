/**
 * Who uses how much: per agent (or per inner source, where the path names no agent) the sessions and UDP flows, and per
 * (agent, source) the rate of new sessions. An inner source address is the agent's own choice, so a path that names its agent
 * is counted by that alone; only the rate looks at the source as well.
 */
import { endText, type IpEnds } from "../wire/mod.ts";
import type { NetStackLimits } from "./limits.ts";
import type { PacketPath } from "./path.ts";
import type { UdpFlow } from "./udp_flows.ts";

/** One agent or source. It exists while it has a session or a flow. */
export interface Account {
  readonly key: string;
  sessions: number;
  flows: number;
  /** UDP flows in the order of their last datagram, the longest idle first. */
  flowFirst: UdpFlow | null;
  flowLast: UdpFlow | null;
}

const RATE_WINDOW_MS = 1_000;
/** Rates are forgotten after this time. */
const RATE_KEPT_MS = 2_000;

export class Accounts {
  readonly #accounts = new Map<string, Account>();
  /** In the order of their windows' beginning. */
  readonly #rates = new Map<string, { startMs: number; count: number }>();
  readonly #limits: NetStackLimits;

  constructor(limits: NetStackLimits) {
    this.#limits = limits;
  }

  /** The account that a packet with these ends (its source is the agent's side) belongs to; null when there are too many. */
  open(path: PacketPath, ends: IpEnds): Account | null {
    const key = accountKey(path, ends);
    const known = this.#accounts.get(key);
    if (known !== undefined) return known;
    if (this.#accounts.size >= this.#limits.accountsMax) return null;
    const account: Account = { key, sessions: 0, flows: 0, flowFirst: null, flowLast: null };
    this.#accounts.set(key, account);
    return account;
  }

  /** Forgets the account when nothing is left in it. */
  close(account: Account): void {
    if (account.sessions === 0 && account.flows === 0) this.#accounts.delete(account.key);
  }

  get size(): number {
    return this.#accounts.size;
  }

  /** Counts a new session. "ok" up to the limit within a second; "full" when there are too many sources to count. */
  countSyn(path: PacketPath, ends: IpEnds, nowMs: number): "ok" | "rate" | "full" {
    const key = accountKey(path, ends) + " " + endText(ends, "source");
    const rate = this.#rates.get(key);
    if (rate !== undefined && nowMs - rate.startMs < RATE_WINDOW_MS) {
      rate.count++;
      return rate.count > this.#limits.synPerSourcePerSecondMax ? "rate" : "ok";
    }
    this.#rates.delete(key);
    for (const [old, { startMs }] of this.#rates) {
      if (nowMs - startMs < RATE_KEPT_MS) break;
      this.#rates.delete(old);
    }
    if (this.#rates.size >= this.#limits.accountsMax) return "full";
    this.#rates.set(key, { startMs: nowMs, count: 1 });
    return "ok";
  }
}

function accountKey(path: PacketPath, ends: IpEnds): string {
  // The two kinds cannot be confused: an address has no leading space.
  return path.agentKey === null ? `${path.id} ${endText(ends, "source")}` : ` ${path.agentKey}`;
}
