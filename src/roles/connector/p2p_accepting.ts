/**
 * How clients come to us directly: each must have shown by Retry that it receives at its address, whom the handshake trusts, and
 * with which keys is answered that without any state.
 */
import type { AcceptOptions, EngineProfile } from "../../core/quic/mod.ts";
import { RetryTokens } from "../../core/quic/mod.ts";
import { ALPN_V1, ALPN_V2 } from "../../core/wire/mod.ts";
import type { Admission, P2pPlan, Plane } from "../control/mod.ts";
import { UPLINK_TRANSPORT } from "../uplink/mod.ts";
import * as limits from "./limits.ts";

const KEY_BYTES = 32;

/** How the endpoint takes connections in. The keys end with the process. */
export function p2pAccepting(plane: Plane, policy: Admission): AcceptOptions {
  const { crypto, entropy, wallClockMs } = plane.platform;
  return {
    policy,
    retry: new RetryTokens([{ id: 0, aead: crypto.aes256Gcm(randomKey(plane)) }], entropy),
    epochMs: wallClockMs,
    handshakeMs: limits.P2P_HANDSHAKE_MS,
    retriesPerSecondMax: limits.P2P_RETRIES_PER_SECOND_MAX,
    resetsPerSecondMax: limits.P2P_RESETS_PER_SECOND_MAX,
  };
}

/** The key of stateless resets ends with the process too. */
export function p2pResetHmac(plane: Plane): (data: Uint8Array) => Uint8Array {
  return plane.platform.crypto.hmacSha256(randomKey(plane));
}

/** Throws a PosternError when the material does not fit together. TLS itself demands the client's certificate. */
export function createP2pProfile(plane: Plane, { tls, revocation, congestionControl }: P2pPlan): EngineProfile {
  const { certificatePem, keyPem, trustPem } = tls;
  const { crlPem, toleratesStale } = revocation;
  return plane.platform.engine.createProfile({
    side: "server",
    identity: certificatePem !== null && keyPem !== null ? { certificateChainPem: certificatePem, privateKeyPem: keyPem } : null,
    verify: { kind: "require", trustPem: trustPem ?? new Uint8Array(0), crlPem, toleratesStaleCrl: toleratesStale },
    protocols: [ALPN_V2, ALPN_V1],
    transport: { ...UPLINK_TRANSPORT, congestionControl: congestionControl ?? UPLINK_TRANSPORT.congestionControl },
  });
}

function randomKey(plane: Plane): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  plane.platform.entropy(key);
  return key;
}
