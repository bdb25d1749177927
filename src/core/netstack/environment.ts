/**
 * What every session needs of the stack around it, in one object: limits, counters, buffers, deadlines, and the time, which
 * the stack sets at each of its entries so that it need not be handed through every call.
 */
import { TimerHeap } from "../../base/mod.ts";
import { IcmpHeader, IpHeader, TcpHeader } from "../wire/mod.ts";
import { BufferPool } from "./buffers.ts";
import { type Counters, newCounters } from "./counters.ts";
import type { HashKey } from "./keyed_hash.ts";
import type { NetStackLimits } from "./limits.ts";
import type { PacketPath } from "./path.ts";
import type { TcpSession } from "./tcp_session.ts";

/** What the stack does for its sessions. */
export interface EnvironmentHooks {
  /** A path that had nothing to send has something now. */
  onPathReady(path: PacketPath): void;
  onTimer(session: TcpSession): void;
  /** The protocol is done with the session: packets of its flow are no longer for it. */
  onUnlist(session: TcpSession): void;
  /** The owner is done with it: it is no longer counted. */
  onRelease(session: TcpSession): void;
  /** It is in TIME-WAIT and the owner is done with it: still listed, no longer counted. */
  onTimeWait(session: TcpSession): void;
}

export class TcpEnvironment {
  nowMs = 0;
  readonly limits: NetStackLimits;
  readonly counters: Counters = newCounters();
  readonly pool: BufferPool;
  readonly timers = new TimerHeap();
  /** For initial sequence numbers. */
  readonly key: HashKey;
  /** Filled again for every packet: what came, and what leaves. */
  readonly inIp = new IpHeader();
  readonly inTcp = new TcpHeader();
  readonly inIcmp = new IcmpHeader();
  readonly outTcp = new TcpHeader();
  readonly hooks: EnvironmentHooks;
  /** What comes in order waits, so that the owner is offered much at once. */
  readonly holdsData: boolean;
  /** Whose data waits. */
  readonly held: TcpSession[] = [];

  constructor(limits: NetStackLimits, key: HashKey, holdsData: boolean, hooks: EnvironmentHooks) {
    this.limits = limits;
    this.holdsData = holdsData;
    this.key = key;
    this.hooks = hooks;
    this.pool = new BufferPool(limits.buffersTotalMaxBytes);
  }

  onTimer(session: TcpSession, nowMs: number): void {
    this.nowMs = nowMs;
    this.hooks.onTimer(session);
  }

  /** The session may have something to send. */
  markReady(session: TcpSession): void {
    if (session.path.isClosed) return;
    const wasReady = session.path.isReady;
    session.path.enqueue(session);
    if (!wasReady) this.hooks.onPathReady(session.path);
  }
}
