/**
 * Who may connect to us directly, asked before anything is kept of a client: it must have shown by Retry that it receives at its
 * address, and there are limits for each source and in all. Also whom the handshake trusts, and what is answered without any state.
 */
import type { AcceptOptions, AcceptPolicy, Connection, EngineProfile } from "../../core/quic/mod.ts";
import { RetryTokens } from "../../core/quic/mod.ts";
import { type PeerLimiter, ServerLimiter, sourcePrefixKey } from "../../core/ratelimit/mod.ts";
import { ALPN_V1, ALPN_V2 } from "../../core/wire/mod.ts";
import { AF_INET } from "../../io/mod.ts";
import type { P2pPlan, Plane } from "../control/mod.ts";
import { UPLINK_TRANSPORT } from "../uplink/mod.ts";
import * as limits from "./limits.ts";

/** Of a sockaddr slot: port, IPv4 address, IPv6 address. */
const PORT_AT = 2, IPV4_AT = 4, IPV6_AT = 8;
const KEY_BYTES = 32;

export class P2pAdmission implements AcceptPolicy {
  readonly #plane: Plane;
  readonly #limiter: ServerLimiter;
  readonly #limiters = new Map<Connection, PeerLimiter>();
  /** Admitted, and not yet a connection: between two calls of the endpoint. */
  #next: PeerLimiter | null = null;

  constructor(plane: Plane) {
    this.#plane = plane;
    this.#limiter = new ServerLimiter(limits.P2P_RATE_LIMITS, plane.platform.reactor.nowMs);
  }

  /** How the endpoint takes connections in. The keys end with the process. */
  acceptOptions(): AcceptOptions {
    const { crypto, entropy, wallClockMs } = this.#plane.platform;
    return {
      policy: this,
      retry: new RetryTokens([{ id: 0, aead: crypto.aes256Gcm(this.#randomKey()) }], entropy),
      epochMs: wallClockMs,
      handshakeMs: limits.P2P_HANDSHAKE_MS,
      retriesPerSecondMax: limits.P2P_RETRIES_PER_SECOND_MAX,
      resetsPerSecondMax: limits.P2P_RESETS_PER_SECOND_MAX,
    };
  }

  resetHmac(): (data: Uint8Array) => Uint8Array {
    return this.#plane.platform.crypto.hmacSha256(this.#randomKey());
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
    const admission = this.#limiter.admit(sourcePrefixKey(bytes, slot + (isV4 ? IPV4_AT : IPV6_AT), isV4 ? 4 : 16), nowMs);
    if (admission.kind === "refused") return false;
    this.#next = admission.peer;
    return true;
  }

  onAccepted(connection: Connection | null): void {
    const peer = this.#next;
    this.#next = null;
    if (peer === null) return;
    if (connection === null) this.#limiter.release(peer);
    else this.#limiters.set(connection, peer);
  }

  onTokenRefused(): void {
    // The endpoint counts it.
  }

  limiterOf(connection: Connection): PeerLimiter | null {
    return this.#limiters.get(connection) ?? null;
  }

  release(connection: Connection): void {
    const peer = this.#limiters.get(connection);
    if (peer === undefined) return;
    this.#limiters.delete(connection);
    this.#limiter.release(peer);
  }

  #randomKey(): Uint8Array {
    const key = new Uint8Array(KEY_BYTES);
    this.#plane.platform.entropy(key);
    return key;
  }
}

/** Throws a PosternError when the material does not fit together. TLS itself demands the client's certificate. */
export function createP2pProfile(plane: Plane, { tls }: P2pPlan): EngineProfile {
  const { certificatePem, keyPem, trustPem } = tls;
  return plane.platform.engine.createProfile({
    side: "server",
    identity: certificatePem !== null && keyPem !== null ? { certificateChainPem: certificatePem, privateKeyPem: keyPem } : null,
    verify: { kind: "require", trustPem: trustPem ?? new Uint8Array(0), crlPem: null },
    protocols: [ALPN_V2, ALPN_V1],
    transport: UPLINK_TRANSPORT,
  });
}
