/**
 * Step 4: from a connection whose handshake has ended to a peer, or to a refusal that both ends' logs can explain. Certificates
 * are verified by then; here is what their absence, their names and the lists of denied ones mean.
 */
import { identityFrom } from "../../core/auth/mod.ts";
import type { Connection, Ending } from "../../core/quic/mod.ts";
import { ALPN_V2, CloseCode, V1_REFUSAL_REASON, V1_REFUSAL_TRANSPORT_CODE } from "../../core/wire/mod.ts";
import { type Admission, type HandshakeWatch, originOf, type Plane, type SampledLog } from "../control/mod.ts";
import type { ServerMetric } from "./metrics.ts";
import { Peer } from "./peer.ts";

export interface IdentificationOptions {
  readonly plane: Plane;
  readonly admission: Admission;
  readonly log: SampledLog;
  readonly handshakes: HandshakeWatch;
  /** As it is at this moment. */
  readonly requiresCertificate: () => boolean;
  /** Whether a token may stand for a certificate. */
  readonly takesTokens: () => boolean;
  readonly count: (metric: ServerMetric) => void;
}

/** Tells of a connection that ended with nobody known behind it. */
export function noteRefusedConnection(
  { plane, log, handshakes, count }: Pick<IdentificationOptions, "plane" | "log" | "handshakes" | "count">,
  connection: Connection,
  ending: Ending,
): void {
  count("refusedConnections");
  const { why, subject, isRefusal } = handshakes.failed(connection, ending);
  const fields = { by: ending.by, code: ending.info?.code ?? 0, subject };
  if (isRefusal) log.warn("connection-refused", `A handshake failed: ${why}`, fields);
  else plane.log("debug", "connection-refused", `A handshake failed: ${why}`, fields);
}

export class Identification {
  readonly #options: IdentificationOptions;

  constructor(options: IdentificationOptions) {
    this.#options = options;
  }

  /** The peer behind a connection; null when it was refused and is being closed. */
  identify(connection: Connection): Peer | null {
    const { plane, admission, handshakes, requiresCertificate, takesTokens, count } = this.#options;
    const limiter = admission.limiterOf(connection);
    const certificate = connection.engine.peerCertificate();
    const authorities = connection.engine.peerAuthorities();
    handshakes.established(connection, certificate, authorities.length);
    const identity = certificate === null ? null : identityFrom(certificate);
    if (identity !== null && identity.kind === "problem") return this.#refuse(connection, V1_REFUSAL_REASON.unusable);
    const isV2 = connection.engine.applicationProtocol() === ALPN_V2;
    const mustProve = identity === null && requiresCertificate();
    // ztna-v1 knows no token.
    if (mustProve && !(isV2 && takesTokens())) return this.#refuse(connection, V1_REFUSAL_REASON.missing);
    if (limiter === null) return this.#refuse(connection, "not admitted");
    const peer = new Peer(connection, certificate, identity, limiter, !mustProve);
    peer.authorities = authorities.map(({ issuer, serial }) => ({ issuer, serial }));
    count("established");
    const { group, cipher } = connection.engine.tlsDescription();
    plane.log("debug", "connection-opened", "A client connected", { peer: peer.label, protocol: peer.protocol, group, cipher });
    return peer;
  }

  /** A connection ended whose peer was never identified, or was refused. */
  noteRefused(connection: Connection, ending: Ending): void {
    noteRefusedConnection(this.#options, connection, ending);
  }

  #refuse(connection: Connection, reason: string): null {
    const { log } = this.#options;
    log.warn("connection-refused", `Refused a client: ${reason}`, { connection: connection.id });
    log.event({ ...originOf(connection), event_type: "auth_failure", details: { username: "", reason } });
    // WIRE 2.9: earlier peers know the transport's code.
    const isV2 = connection.engine.applicationProtocol() === ALPN_V2;
    if (isV2) connection.engine.close(true, CloseCode.certificateMissing, reason);
    else connection.engine.close(false, V1_REFUSAL_TRANSPORT_CODE, reason);
    connection.touch();
    return null;
  }
}
