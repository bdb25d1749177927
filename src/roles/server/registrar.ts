/**
 * What the server itself says in datagrams: the answers to registrations (WIRE 4) and the report of a client's address
 * (WIRE 3.6). Deny is the default: a registration needs the name in the certificate, then a place in the registry.
 */
import { authorize, type AuthorizeOptions, formatDenyReason, type Role } from "../../core/auth/mod.ts";
import { isLimitName } from "../../core/ratelimit/mod.ts";
import { formatRefusal, NackStatus, type Registry, type Replacement } from "../../core/registry/mod.ts";
import { decodeRegistration, decodeWithdrawal, encodeAck, encodeNack, encodeQad } from "../../core/wire/mod.ts";
import { AF_INET, SOCKADDR_SLOT_BYTES } from "../../io/mod.ts";
import { originOf, type Plane, type SampledLog } from "../control/mod.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer } from "./peer.ts";

/** Room for the server's own small datagrams. */
const REPLY_BYTES = 512;

const NACK_NAMES = {
  [NackStatus.invalid]: "invalid",
  [NackStatus.notAuthorised]: "not-authorised",
  [NackStatus.taken]: "taken",
  [NackStatus.rateLimited]: "rate-limited",
} as const;
type NackName = typeof NACK_NAMES[keyof typeof NACK_NAMES];

export interface RegistrarOptions {
  readonly registry: Registry;
  /** As they are at this moment. */
  readonly authorization: () => AuthorizeOptions;
  readonly serviceIds: { readonly legacy: boolean };
  readonly log: SampledLog;
  readonly count: (metric: ServerMetric) => void;
  /** A newer connection took a service from this one. */
  readonly onReplaced: (peer: number, service: string, nowMs: number) => void;
}

export class Registrar {
  readonly #plane: Plane;
  readonly #options: RegistrarOptions;
  readonly #replyAt: number;
  readonly #addressSlot: number;

  constructor(plane: Plane, options: RegistrarOptions) {
    this.#plane = plane;
    this.#options = options;
    this.#replyAt = plane.platform.layout.reserve(REPLY_BYTES);
    this.#addressSlot = plane.platform.layout.reserve(SOCKADDR_SLOT_BYTES);
  }

  /** A REGISTER frame of `length` bytes at `offset`: answered with ACK or NACK, or ignored when it is not whole. */
  register(peer: Peer, offset: number, length: number, nowMs: number): void {
    const { registry, authorization, serviceIds, count } = this.#options;
    const { bytes } = this.#plane.platform.engine.arena;
    const asked = decodeRegistration(bytes, offset, length, serviceIds);
    if (asked.kind === "malformed") return count("droppedMalformed");
    if (asked.kind === "invalid-id") {
      return this.#nack(peer, "invalid", "", asked.role, `the service id is malformed (${asked.why})`);
    }
    const { role, service } = asked;
    const limit = peer.limiter.allowRegistration(nowMs);
    if (limit !== null) return this.#nack(peer, "rate-limited", service, role, `too many registrations (${limit})`);
    const decision = authorize(peer.identity, role, service, authorization());
    if (!decision.allowed) return this.#nack(peer, "not-authorised", service, role, formatDenyReason(decision.why));
    const identity = peer.identity?.key ?? null;
    const source = peer.limiter.sourceKey;
    const outcome = role === "agent"
      ? registry.registerAgent(peer.id, service, identity, source)
      : registry.registerConnector(peer.id, service, { identity, source, label: peer.label, takesStreams: peer.isV2 }, nowMs);
    if (outcome.kind === "refused") {
      if (isLimitName(outcome.why)) peer.limiter.note(outcome.why);
      return this.#nack(peer, NACK_NAMES[outcome.status], service, role, formatRefusal(outcome.why));
    }
    if (outcome.replaced !== null) this.#noteReplacement(outcome.replaced, nowMs);
    if (decision.by === "legacy-certificate" && peer.warnsOf("legacy-certificate")) {
      this.#options.log.warn("registered", `${peer.label} registers with a certificate without a ZTNA name`, { role, service });
    }
    if (outcome.isNew) {
      this.#plane.log("info", "registered", `Registered ${role} for ${service}`, { peer: peer.label, role, service });
    }
    count("registrations");
    this.#reply(peer, encodeAck(bytes, this.#replyAt, service));
  }

  /** A WITHDRAW frame (WIRE 4.7): nothing new of the service goes to this connector, what runs goes on. */
  withdraw(peer: Peer, offset: number, length: number, nowMs: number): void {
    const { registry, count } = this.#options;
    const { bytes } = this.#plane.platform.engine.arena;
    const asked = decodeWithdrawal(bytes, offset, length);
    if (asked.kind === "malformed") return count("droppedMalformed");
    const { service } = asked;
    const limit = peer.limiter.allowRegistration(nowMs);
    if (limit !== null) return this.#nack(peer, "rate-limited", service, "connector", `too many registrations (${limit})`);
    if (!registry.withdraw(peer.id, service)) {
      return this.#nack(peer, "not-authorised", service, "connector", "it does not serve the service that it withdraws");
    }
    this.#plane.log("info", "withdrawn", `A connector withdrew ${service}`, { peer: peer.label, service });
    this.#reply(peer, encodeNack(bytes, this.#replyAt, "withdrawn", service));
  }

  /** Tells the client under which address the server sees it. */
  reportAddress(peer: Peer): void {
    const { bytes, view } = this.#plane.platform.engine.arena;
    const slot = this.#addressSlot;
    if (!peer.connection.engine.peerAddress(slot)) return;
    const isV4 = bytes[slot] === AF_INET;
    const length = encodeQad(bytes, this.#replyAt, bytes, slot + (isV4 ? 4 : 8), isV4 ? 4 : 16, view.getUint16(slot + 2));
    if (length > 0) this.#reply(peer, length);
  }

  #noteReplacement({ message, service, oldPeer, newPeer }: Replacement, nowMs: number): void {
    this.#plane.log("warn", "connector-replaced", message, { service });
    this.#plane.event({ event_type: "connector_replacement", details: { service, old: oldPeer, new: newPeer } });
    this.#options.onReplaced(oldPeer, service, nowMs);
  }

  #nack(peer: Peer, status: NackName, service: string, role: Role, why: string): void {
    this.#options.count("rejections");
    this.#options.log.warn("registration-refused", `Refused to register a ${role}: ${why}`, {
      peer: peer.label,
      role,
      service,
      status,
    });
    // One event for each peer and reason: the counter has them all.
    if (peer.warnsOf(`nack ${status}`)) {
      const event_type = status === "rate-limited" ? "rate_limited" : "registration_denied";
      this.#plane.event({ ...originOf(peer.connection), event_type, details: { peer: peer.label, role, service, reason: why } });
    }
    this.#reply(peer, encodeNack(this.#plane.platform.engine.arena.bytes, this.#replyAt, status, service));
  }

  #reply(peer: Peer, length: number): void {
    peer.connection.engine.datagramSend(this.#replyAt, length);
    peer.connection.touch();
  }
}
