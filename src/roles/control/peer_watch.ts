/**
 * Whether those who are connected may stay: a certificate that was good at the handshake may be denied, revoked, or end while
 * the connection lives. Lists are swapped whole; ends are timers, since a certificate says itself when it is over.
 */
import { Timer } from "../../base/mod.ts";
import {
  type AuthProblem,
  type CertificateNumber,
  type DenyEntry,
  DenyList,
  type Identity,
  validityProblem,
} from "../../core/auth/mod.ts";
import type { CertificateSummary, Connection } from "../../core/quic/mod.ts";
import { CloseCode } from "../../core/wire/mod.ts";
import { originOf } from "./event_origin.ts";
import type { Plane } from "./plane.ts";

/** Whoever is looked at. */
export interface WatchedPeer {
  readonly connection: Connection;
  readonly certificate: CertificateSummary | null;
  /** What it presented above its certificate. */
  readonly authorities: readonly CertificateNumber[];
  /** Null for a peer that nothing is known of. */
  readonly identity: Identity | null;
  /** How logs call it. */
  readonly label: string;
  /** When its certificate must be looked at again; the watch's. */
  validity: Timer | null;
}

/** The clock may be set while a peer is connected: its certificate is looked at this often. */
const VALIDITY_LOOK_MAX_MS = 30_000;

export interface PeerWatchOptions {
  readonly plane: Plane;
  readonly peers: Pick<ReadonlyMap<unknown, WatchedPeer>, "values">;
  readonly denied: readonly DenyEntry[];
  /** A peer is being closed. */
  readonly onClosed: (why: "expired" | "revoked") => void;
}

export class PeerWatch {
  readonly #plane: Plane;
  readonly #options: PeerWatchOptions;
  /** What the files say, and what an operator added since the start. */
  #listed: readonly DenyEntry[];
  readonly #added: DenyEntry[] = [];
  #denied: DenyList;

  constructor(options: PeerWatchOptions) {
    this.#options = options;
    this.#plane = options.plane;
    this.#listed = options.denied;
    this.#denied = new DenyList(options.denied);
  }

  /** Why the peer may not be here (any longer), or null. */
  problemOf(peer: WatchedPeer): AuthProblem | null {
    if (peer.identity === null) return null;
    return this.#denied.problemOf(peer.identity, peer.authorities) ??
      validityProblem(peer.identity, this.#plane.platform.wallClockMs());
  }

  /** Looks at the peer now, and again when its certificate ends. False when it was closed. */
  begin(peer: WatchedPeer, nowMs: number): boolean {
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
  end(peer: WatchedPeer): void {
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
    for (const peer of this.#options.peers.values()) {
      const problem = this.problemOf(peer);
      if (problem === null) continue;
      this.#close(peer, problem);
      closed++;
    }
    return closed;
  }

  #close(peer: WatchedPeer, problem: AuthProblem): void {
    const { identity } = peer;
    if (identity === null || peer.connection.isOver) return;
    this.end(peer);
    const isExpired = problem.code === "expired";
    this.#options.onClosed(isExpired ? "expired" : "revoked");
    this.#plane.log("warn", "peer-revoked", `Closed a peer: ${problem.message}`, {
      peer: peer.label,
      serial: identity.serial,
      code: problem.code,
    });
    const { issuer, serial } = identity;
    const details = { subject: peer.certificate?.subject ?? identity.commonName, issuer, serial };
    const origin = originOf(peer.connection);
    if (isExpired) {
      const notAfter = new Date(identity.notAfterMs).toISOString();
      this.#plane.event({ ...origin, event_type: "certificate_expired", details: { ...details, not_after: notAfter } });
    } else this.#plane.event({ ...origin, event_type: "certificate_revoked", details });
    peer.connection.close(CloseCode.certificateVoid, problem.message);
  }
}
