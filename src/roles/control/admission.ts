/**
 * Who may connect: asked by the endpoint before anything is kept of a client, and once a connection stands it holds the limits
 * that the connection lives under.
 */
import type { AcceptPolicy, Arena, Connection, RetryTokenProblem } from "../../core/quic/mod.ts";
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
    return socketAddressBytes(this.#plane.platform.engine.arena, slot);
  }

  admit(slot: number, nowMs: number): boolean {
    this.#next = this.reserve(slot, nowMs);
    return this.#next !== null;
  }

  /** Lets one more connection in from the address in the slot, under the limits that are returned; null: it may not. */
  reserve(slot: number, nowMs: number): PeerLimiter | null {
    const { arena } = this.#plane.platform.engine;
    const { bytes } = arena;
    const isV4 = bytes[slot] === AF_INET;
    const admission = this.limiter.admit(sourcePrefixKey(bytes, slot + (isV4 ? IPV4_AT : IPV6_AT), isV4 ? 4 : 16), nowMs);
    if (admission.kind === "admitted") return admission.peer;
    this.#notes?.onRefused(admission.by, socketAddressText(arena, slot));
    return null;
  }

  /** A connection that was let in stands at last. */
  adopt(connection: Connection, peer: PeerLimiter): void {
    this.#limiters.set(connection, peer);
  }

  onAccepted(connection: Connection | null): void {
    const peer = this.#next;
    this.#next = null;
    if (peer === null) return;
    if (connection === null) this.limiter.release(peer);
    else this.#limiters.set(connection, peer);
  }

  onTokenRefused(why: RetryTokenProblem, slot: number): void {
    this.#notes?.onTokenRefused(why, socketAddressText(this.#plane.platform.engine.arena, slot));
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
}

/** Port and address of a sockaddr slot, in a form that all servers with the same token keys use. */
export function socketAddressBytes({ bytes }: Arena, slot: number): Uint8Array {
  const isV4 = bytes[slot] === AF_INET;
  const address = new Uint8Array(isV4 ? 6 : 18);
  address.set(bytes.subarray(slot + PORT_AT, slot + PORT_AT + 2));
  const at = slot + (isV4 ? IPV4_AT : IPV6_AT);
  address.set(bytes.subarray(at, at + address.length - 2), 2);
  return address;
}

/** The same for people. */
export function socketAddressText(arena: Arena, slot: number): string {
  const endpoint = readSockaddr(arena, slot);
  return endpoint === null ? "?" : formatEndpoint(endpoint);
}
