/**
 * One side of the checks between two peers (WIRE 6.6, 6.7): which binding request is sent to whom and when, until one is answered.
 * Every local candidate sends from the same socket, so that a pair is its remote address: each is asked once per round, in the order
 * of the best pair that it is in.
 *
 *   waiting ──delay──► checking ──answer──► succeeded        checking ──5 s, or all asked five times──► failed
 *
 * Sans-IO: what {@linkcode Punching.poll} yields is sent by the caller, answers come to {@linkcode Punching.handleResponse}.
 */
import type { SocketAddress } from "../../base/mod.ts";
import { toHex } from "../../base/mod.ts";
import type { Candidate } from "../wire/mod.ts";
import { isSameFamily, pairPriority } from "./candidates.ts";

/** Between the first requests of two pairs. */
const PACE_MS = 20;
/** After each request to the same address, until the next; the last one is waited for as long as the whole lasts. */
const PAUSES_MS: readonly number[] = [200, 400, 800, 1_600];
export const PUNCHING_MS = 5_000;
const TRANSACTION_ID_BYTES = 12;
/** Addresses that nobody had told us, and that asked us themselves. */
const LEARNT_MAX = 8;

export interface PunchingOptions {
  readonly side: "agent" | "connector";
  readonly local: readonly Candidate[];
  /** Of the other side, filtered: packets will be sent to them. */
  readonly remote: readonly Candidate[];
  readonly entropy: (bytes: Uint8Array) => void;
  /** When the checks begin, after the delay of StartPunching. */
  readonly startMs: number;
}

/** A binding request to be sent now. */
export interface Check {
  readonly to: SocketAddress;
  /** 24 hexadecimal digits. */
  readonly transactionId: string;
  readonly priority: bigint;
}

interface Target {
  readonly address: SocketAddress;
  readonly priority: bigint;
  readonly transactionId: string;
  sends: number;
  dueMs: number;
}

export type PunchingState = "checking" | "succeeded" | "failed";

export class Punching {
  readonly #targets: Target[];
  readonly #entropy: (bytes: Uint8Array) => void;
  readonly #endsMs: number;
  #learnt = 0;
  #state: PunchingState = "checking";
  #workingAddress: SocketAddress | null = null;

  constructor({ side, local, remote, entropy, startMs }: PunchingOptions) {
    this.#entropy = entropy;
    this.#endsMs = startMs + PUNCHING_MS;
    const best = new Map<string, { readonly address: SocketAddress; readonly priority: bigint }>();
    for (const theirs of remote) {
      for (const ours of local) {
        if (!isSameFamily(ours.address, theirs.address)) continue;
        const [agent, connector] = side === "agent" ? [ours, theirs] : [theirs, ours];
        const priority = pairPriority(agent.priority, connector.priority);
        const key = `${theirs.address.ip} ${theirs.address.port}`;
        const known = best.get(key);
        if (known === undefined || known.priority < priority) best.set(key, { address: theirs.address, priority });
      }
    }
    const ordered = [...best.values()].sort((one, other) => one.priority > other.priority ? -1 : 1);
    this.#targets = ordered.map((pair, i) => this.#target(pair.address, pair.priority, startMs + i * PACE_MS));
    if (this.#targets.length === 0) this.#state = "failed";
  }

  get state(): PunchingState {
    return this.#state;
  }

  /** Where the other side answered from; null before it has. */
  get workingAddress(): SocketAddress | null {
    return this.#workingAddress;
  }

  /** When {@linkcode poll} has something to do; Infinity when it is over. */
  get nextMs(): number {
    if (this.#state !== "checking") return Infinity;
    return this.#targets.reduce((next, { dueMs }) => Math.min(next, dueMs), this.#endsMs);
  }

  /** The next request that is due, or null. Call it until null. */
  poll(nowMs: number): Check | null {
    if (this.#state !== "checking") return null;
    if (nowMs >= this.#endsMs) {
      this.#state = "failed";
      return null;
    }
    const due = this.#targets.find(({ dueMs }) => dueMs <= nowMs);
    if (due === undefined) return null;
    const pauseMs = PAUSES_MS[due.sends++];
    due.dueMs = pauseMs === undefined ? Infinity : nowMs + pauseMs;
    return { to: due.address, transactionId: due.transactionId, priority: due.priority };
  }

  /**
   * Somebody asks us from this address, which must be one host's: if it is none that we know, the other side is behind a NAT that shows
   * everybody another address of it, and is asked there too (RFC 8445 §7.3.1.4).
   */
  handleRequest(from: SocketAddress, nowMs: number): void {
    if (this.#state !== "checking" || this.#learnt >= LEARNT_MAX) return;
    if (this.#targets.some(({ address }) => address.ip === from.ip && address.port === from.port)) return;
    this.#learnt++;
    this.#targets.push(this.#target(from, 0n, nowMs));
  }

  /** A binding response. True when it is the answer to one of our requests: then the checks are over. */
  handleResponse(transactionId: string, isSuccess: boolean, from: SocketAddress): boolean {
    if (this.#state !== "checking" || !isSuccess) return false;
    if (!this.#targets.some((target) => target.transactionId === transactionId && target.sends > 0)) return false;
    this.#state = "succeeded";
    this.#workingAddress = from;
    return true;
  }

  #target(address: SocketAddress, priority: bigint, dueMs: number): Target {
    const id = new Uint8Array(TRANSACTION_ID_BYTES);
    this.#entropy(id);
    return { address, priority, transactionId: toHex(id), sends: 0, dueMs };
  }
}
