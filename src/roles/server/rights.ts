/**
 * Whether those who are connected may still do what they do, after a reload: who may come without a certificate, whose tokens count
 * and what a certificate without a ZTNA name allows may have been taken back. Who uses a right that is gone is closed whole: its
 * registrations, flows and streams end with its connection, and it may come back for what it is still allowed.
 */
import { bytesEqualAt } from "../../base/mod.ts";
import { authorize, formatDenyReason, type Role } from "../../core/auth/mod.ts";
import type { Registry } from "../../core/registry/mod.ts";
import { CloseCode, V1_REFUSAL_REASON } from "../../core/wire/mod.ts";
import { originOf, type Plane } from "../control/mod.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer } from "./peer.ts";
import type { ServerRules } from "./rules.ts";
import { RelayedStream } from "./stream_relay.ts";

export interface RightsOptions {
  readonly plane: Plane;
  readonly rules: ServerRules;
  readonly registry: Registry;
  readonly peers: ReadonlyMap<number, Peer>;
  readonly count: (metric: ServerMetric) => void;
}

interface Withdrawal {
  readonly code: CloseCode;
  readonly why: string;
  /** "" when it is not about one service. */
  readonly service: string;
  readonly role: Role | "";
}

export class Rights {
  readonly #options: RightsOptions;

  constructor(options: RightsOptions) {
    this.#options = options;
  }

  /** Closes every peer that does what the rules, as they are now, do not allow. Returns how many were. */
  judgeAll(): number {
    let closed = 0;
    for (const peer of this.#options.peers.values()) {
      if (peer.connection.isOver || peer.connection.isClosing) continue;
      const withdrawal = this.#withdrawalOf(peer);
      if (withdrawal === null) continue;
      this.#close(peer, withdrawal);
      closed++;
    }
    return closed;
  }

  #withdrawalOf(peer: Peer): Withdrawal | null {
    const { rules } = this.#options;
    const code = CloseCode.certificateMissing;
    if (peer.identity === null && peer.isAdmitted && rules.requiresCertificate) {
      return { code, why: V1_REFUSAL_REASON.missing, service: "", role: "" };
    }
    const issuer = peer.tokenIssuer;
    if (issuer !== null && !rules.tokenIssuers.some((known) => isSame(known, issuer))) {
      return { code, why: "the token's issuer is not accepted any more", service: "", role: "" };
    }
    for (const { role, service } of this.#usesOf(peer)) {
      const decision = authorize(peer.identity, role, service, rules.authorization);
      // Not 0x101: it may dial again, for what else it may do.
      if (!decision.allowed) return { code: CloseCode.limits, why: formatDenyReason(decision.why), service, role };
    }
    return null;
  }

  /** What it is registered for, and what its streams are for: those need no registration. */
  *#usesOf(peer: Peer): Generator<{ readonly role: Role; readonly service: string }> {
    const { registry } = this.#options;
    const registered = registry.roleOf(peer.id);
    if (registered !== "none") {
      for (const service of registry.servicesOf(peer.id)) yield { role: registered, service };
    }
    for (const stream of peer.streams.values()) {
      if (!(stream instanceof RelayedStream) || stream.service === "") continue;
      yield { role: stream.agent === peer ? "agent" : "connector", service: stream.service };
    }
  }

  #close(peer: Peer, { code, why, service, role }: Withdrawal): void {
    const { plane, count } = this.#options;
    count("closedWithdrawn");
    plane.log("warn", "peer-revoked", `Closed a peer, its right was withdrawn: ${why}`, { peer: peer.label, role, service });
    plane.event({
      ...originOf(peer.connection),
      event_type: "registration_denied",
      details: { peer: peer.label, role, service, reason: `withdrawn: ${why}` },
    });
    peer.connection.close(code, code === CloseCode.limits ? `a right was withdrawn: ${why}` : why);
  }
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && bytesEqualAt(one, 0, other, 0, one.length);
}
