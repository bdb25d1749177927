/**
 * The TCP sessions of a stack: found by their flow, opened under the limits, counted per agent, and kept for a while in
 * TIME-WAIT. A session is *listed* while packets of its flow are for it, and *counted* while its owner has it; the two end
 * independently.
 */
import { copyEnds, type IpEnds, IpHeader, type TcpHeader } from "../wire/mod.ts";
import type { Accounts } from "./accounts.ts";
import type { TcpEnvironment } from "./environment.ts";
import { FlowTable } from "./flow_table.ts";
import type { PacketPath } from "./path.ts";
import { isAfter } from "./sequence.ts";
import { endSession } from "./tcp_end.ts";
import { beginHandshake } from "./tcp_owner.ts";
import { takeSyn } from "./tcp_receive.ts";
import { TcpSession } from "./tcp_session.ts";
import { scaleFor } from "./tcp_window.ts";

export type SynRefusedWhy = "rate" | "sessions" | "agent" | "accounts";

export class SessionTable {
  /** Sessions that are counted. */
  count = 0;
  readonly #table: FlowTable<TcpSession>;
  readonly #environment: TcpEnvironment;
  readonly #accounts: Accounts;
  /** In the order of their coming. */
  readonly #timeWait = new Set<TcpSession>();
  readonly #ends = new IpHeader();
  #nextId = 1;

  constructor(environment: TcpEnvironment, accounts: Accounts, seed: number) {
    this.#environment = environment;
    this.#accounts = accounts;
    this.#table = new FlowTable(environment.limits.sessionsMax + environment.limits.timeWaitMax, seed);
  }

  get timeWaitCount(): number {
    return this.#timeWait.size;
  }

  all(): TcpSession[] {
    return this.#table.all();
  }

  find(path: PacketPath, packet: IpEnds, localPort: number, remotePort: number): TcpSession | null {
    return this.#table.find(path, packet, localPort, remotePort);
  }

  /** A session for the SYN at hand, pending; or the limit that refuses it, counted. */
  openPassive(path: PacketPath, packet: IpEnds, tcp: TcpHeader): TcpSession | SynRefusedWhy {
    const { limits, counters, nowMs } = this.#environment;
    const rate = this.#accounts.countSyn(path, packet, nowMs);
    if (rate === "rate") {
      counters.synRefusedRate++;
      return "rate";
    }
    if (this.count >= limits.sessionsMax) {
      counters.synRefusedSessions++;
      return "sessions";
    }
    const account = rate === "full" ? null : this.#accounts.open(path, packet);
    if (account === null) {
      counters.synRefusedAccounts++;
      return "accounts";
    }
    if (account.sessions >= limits.sessionsPerAgentMax) {
      counters.synRefusedAgent++;
      return "agent";
    }
    copyEnds(packet, this.#ends, true);
    const session = new TcpSession(this.#nextId++, path, this.#ends, tcp.destinationPort, tcp.sourcePort, this.#environment);
    session.account = account;
    account.sessions++;
    session.state = "pending";
    session.stateEndsAtMs = nowMs + limits.pendingMs;
    takeSyn(session, tcp);
    this.#list(session);
    return session;
  }

  /** A session that we open, its SYN queued; null when there is no room or its flow is taken. */
  openActive(path: PacketPath, ends: IpEnds, localPort: number, remotePort: number): TcpSession | null {
    const { limits, nowMs } = this.#environment;
    copyEnds(ends, this.#ends, true);
    const taken = this.#table.find(path, this.#ends, localPort, remotePort);
    if (taken !== null && taken.state !== "timeWait") return null;
    if (this.count >= limits.sessionsMax) return null;
    if (taken !== null) endSession(taken, "finished");
    const session = new TcpSession(this.#nextId++, path, ends, localPort, remotePort, this.#environment);
    session.state = "synSent";
    session.stateEndsAtMs = nowMs + limits.handshakeMs;
    session.offersScale = session.offersSack = true;
    session.receive.scale = scaleFor(session.receive.ring.maxBytes);
    this.#list(session);
    beginHandshake(session);
    return session;
  }

  #list(session: TcpSession): void {
    this.#table.add(session);
    session.isCounted = true;
    this.count++;
  }

  /** Whether a SYN with this number may take the flow of a session in TIME-WAIT, which is then gone (RFC 9293 §3.6.1, RFC 6191). */
  recycle(session: TcpSession, sequence: number): boolean {
    if (session.state !== "timeWait" || session.isLingering || !isAfter(sequence, session.receive.next)) return false;
    endSession(session, "finished");
    return true;
  }

  unlist(session: TcpSession): void {
    this.#table.remove(session);
    this.#timeWait.delete(session);
  }

  release(session: TcpSession): void {
    if (!session.isCounted) return;
    session.isCounted = false;
    this.count--;
    if (session.account === null) return;
    session.account.sessions--;
    this.#accounts.close(session.account);
    session.account = null;
  }

  enterTimeWait(session: TcpSession): void {
    this.release(session);
    const [oldest] = this.#timeWait;
    if (oldest !== undefined && this.#timeWait.size >= this.#environment.limits.timeWaitMax) endSession(oldest, "finished");
    this.#timeWait.add(session);
  }

  endAll(path: PacketPath): void {
    for (const session of this.#table.all()) {
      if (session.path === path) endSession(session, "path-closed");
    }
  }
}
