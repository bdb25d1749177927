/**
 * Who may connect: asked by the endpoint before anything is kept of a client, and once a connection stands it holds the limits
 * that the connection lives under.
 */
import type { AcceptPolicy, Connection, RetryTokenProblem } from "../../core/quic/mod.ts";
import { type LimitName, type PeerLimiter, type RateLimits, ServerLimiter, sourcePrefixKey } from "../../core/ratelimit/mod.ts";
import { AF_INET, formatEndpoint, readSockaddr } from "../../io/mod.ts";
import type { Plane } from "./plane.ts";

/** Of a sockaddr slot: port, IPv4 address, IPv6 address. */
const PORT_AT = 2, IPV4_AT = 4, IPV6_AT = 8;

/** Told of a client that was not let in; `from` is its address and port. Who writes it samples it. */
export interface AdmissionNotes {
  onRefused(limit: LimitName, from: string): void;
  onTokenRefused(why: RetryTokenProblem, from: string): void;
}

export class Admission implements AcceptPolicy {
  readonly limiter: ServerLimiter;
  readonly #plane: Plane;
  readonly #notes: AdmissionNotes | null;
  readonly #limiters = new Map<Connection, PeerLimiter>();
  /** Admitted, and not yet a connection: between two calls of the endpoint. */
  #next: PeerLimiter | null = null;

  constructor(plane: Plane, limits: RateLimits, notes: AdmissionNotes | null = null) {
    this.#plane = plane;
    this.#notes = notes;
    this.limiter = new ServerLimiter(limits, plane.platform.reactor.nowMs);
  }

  addressOf(slot: number): Uint8Array {
    const { bytes } = this.#plane.platform.engine.arena;
    const isV4 = bytes[slot] === AF_INET;
    const address = new Uint8Array(isV4 ? 6 : 18);
    address.set(bytes.subarray(slot + PORT_AT, slot + PORT_AT + 2));
    const at = slot + (isV4 ? IPV4_AT : IPV6_AT);
    address.set(bytes.subarray(at, at + address.length - 2), 2);
    return address;
  }

  admit(slot: number, nowMs: number): boolean {
    const { bytes } = this.#plane.platform.engine.arena;
    const isV4 = bytes[slot] === AF_INET;
    const admission = this.limiter.admit(sourcePrefixKey(bytes, slot + (isV4 ? IPV4_AT : IPV6_AT), isV4 ? 4 : 16), nowMs);
    if (admission.kind === "refused") {
      this.#notes?.onRefused(admission.by, this.#nameOf(slot));
      return false;
    }
    this.#next = admission.peer;
    return true;
  }

  onAccepted(connection: Connection | null): void {
    const peer = this.#next;
    this.#next = null;
    if (peer === null) return;
    if (connection === null) this.limiter.release(peer);
    else this.#limiters.set(connection, peer);
  }

  onTokenRefused(why: RetryTokenProblem, slot: number): void {
    this.#notes?.onTokenRefused(why, this.#nameOf(slot));
  }

  /** The limits of a live connection; null for one that was never admitted. */
  limiterOf(connection: Connection): PeerLimiter | null {
    return this.#limiters.get(connection) ?? null;
  }

  /** The connection is over. */
  release(connection: Connection): void {
    const peer = this.#limiters.get(connection);
    if (peer === undefined) return;
    this.#limiters.delete(connection);
    this.limiter.release(peer);
  }

  #nameOf(slot: number): string {
    const endpoint = readSockaddr(this.#plane.platform.engine.arena, slot);
    return endpoint === null ? "?" : formatEndpoint(endpoint);
  }
}
