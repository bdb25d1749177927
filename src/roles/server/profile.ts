/** The engine's profile for clients of the server: our certificate, whom we trust, what we speak. */
import type { CongestionControl, EngineProfile } from "../../core/quic/mod.ts";
import { ALPN_V1, ALPN_V2 } from "../../core/wire/mod.ts";
import type { Plane, ServerPlan } from "../control/mod.ts";
import { SERVER_TRANSPORT } from "./limits.ts";

/** Throws a PosternError when the material does not fit together. */
export function createServerProfile(plane: Plane, plan: ServerPlan): EngineProfile {
  const { certificatePem, keyPem, trustPem } = plan.tls;
  const { crlPem, toleratesStale } = plan.revocation;
  const trust = { trustPem: trustPem ?? new Uint8Array(0), crlPem, toleratesStaleCrl: toleratesStale };
  return plane.platform.engine.createProfile({
    side: "server",
    identity: certificatePem !== null && keyPem !== null ? { certificateChainPem: certificatePem, privateKeyPem: keyPem } : null,
    verify: plan.verifyPeer ? { kind: tlsRequires(plan) ? "require" : "if-given", ...trust } : { kind: "off" },
    protocols: [ALPN_V2, ALPN_V1],
    transport: { ...SERVER_TRANSPORT, congestionControl: congestionControlOf(plan) },
  });
}

/** What is chosen, else our own. */
export function congestionControlOf(plan: ServerPlan): CongestionControl {
  return plan.congestionControl ?? SERVER_TRANSPORT.congestionControl;
}

/** Who may bring a token instead is judged after the handshake (WIRE 8.4). */
function tlsRequires(plan: ServerPlan): boolean {
  return plan.requireClientCert && plan.tokenIssuers.length === 0;
}
