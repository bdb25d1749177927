/**
 * Whether those who are connected may stay: a certificate that was good at the handshake may be denied, revoked, or end while
 * the connection lives. Lists are swapped whole; ends are timers, since a certificate says itself when it is over.
 */
import { Timer } from "../../base/mod.ts";
import { type AuthProblem, type DenyEntry, DenyList, validityProblem } from "../../core/auth/mod.ts";
import { CloseCode } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { VALIDITY_LOOK_MAX_MS } from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import { originOf } from "./event_origin.ts";
import type { Peer } from "./peer.ts";

export class PeerWatch {
  readonly #plane: Plane;
  readonly #peers: ReadonlyMap<number, Peer>;
  readonly #count: (metric: ServerMetric) => void;
  /** What the files say, and what an operator added since the start. */
  #listed: readonly DenyEntry[];
  readonly #added: DenyEntry[] = [];
  #denied: DenyList;

  constructor(
    plane: Plane,
    peers: ReadonlyMap<number, Peer>,
    denied: readonly DenyEntry[],
    count: (metric: ServerMetric) => void,
  ) {
    this.#plane = plane;
    this.#peers = peers;
    this.#count = count;
    this.#listed = denied;
    this.#denied = new DenyList(denied);
  }

  /** Why the peer may not be here (any longer), or null. */
  problemOf(peer: Peer): AuthProblem | null {
    if (peer.identity === null) return null;
    return this.#denied.problemOf(peer.identity, peer.authorities) ??
      validityProblem(peer.identity, this.#plane.platform.wallClockMs());
  }

  /** Looks at the peer now, and again when its certificate ends. False when it was closed. */
  begin(peer: Peer, nowMs: number): boolean {
    const problem = this.problemOf(peer);
    if (problem !== null) {
      this.#close(peer, problem);
      return false;
    }
    if (peer.identity === null) return true;
    const leftMs = peer.identity.notAfterMs - this.#plane.platform.wallClockMs() + 1;
    // The clock may be set meanwhile: it is asked again and again, not only at the end.
    peer.validity ??= new Timer((now) => this.begin(peer, now));
    this.#plane.platform.reactor.setTimer(peer.validity, nowMs + Math.min(leftMs, VALIDITY_LOOK_MAX_MS));
    return true;
  }

  /** The peer's connection is over. */
  end(peer: Peer): void {
    if (peer.validity !== null) this.#plane.platform.reactor.cancelTimer(peer.validity);
    peer.validity = null;
  }

  /** New lists: whoever they name is closed. Returns how many were. */
  replace(denied: readonly DenyEntry[]): number {
    this.#listed = denied;
    return this.#judgeAll();
  }

  /** One more entry, until the process ends. Returns how many connections it closed. */
  deny(entry: DenyEntry): number {
    this.#added.push(entry);
    return this.#judgeAll();
  }

  #judgeAll(): number {
    this.#denied = new DenyList([...this.#listed, ...this.#added]);
    let closed = 0;
    for (const peer of this.#peers.values()) {
      const problem = this.problemOf(peer);
      if (problem === null) continue;
      this.#close(peer, problem);
      closed++;
    }
    return closed;
  }

  #close(peer: Peer, problem: AuthProblem): void {
    const { identity } = peer;
    if (identity === null || peer.connection.isOver) return;
    this.end(peer);
    const isExpired = problem.code === "expired";
    this.#count(isExpired ? "closedExpired" : "closedRevoked");
    this.#plane.log("warn", "peer-revoked", `Closed a peer: ${problem.message}`, {
      peer: peer.label,
      serial: identity.serial,
      code: problem.code,
    });
    this.#plane.event({
      ...originOf(peer.connection),
      event_type: isExpired ? "certificate_expired" : "certificate_revoked",
      details: { subject: peer.certificate?.subject ?? identity.commonName, issuer: identity.issuer, serial: identity.serial },
    });
    peer.connection.close(CloseCode.certificateVoid, problem.message);
  }
}
