/**
 * Tells of the handshakes of a QUIC listener: those that were completed and those that failed, in counters, the log and security
 * events. Strangers cause them, so all but the counters is sampled, and an event that is not told is not put together.
 */
import { tlsConnectionEvent, type TlsFailure, tlsFailureEvents } from "../../base/mod.ts";
import type { CertificateSummary, Connection, Ending } from "../../core/quic/mod.ts";
import type { Plane } from "./plane.ts";
import type { SampledLog } from "./sampled_log.ts";

/** TLS alerts travel as 0x100 + alert (RFC 9001 §4.8). */
const CRYPTO_ERROR = 0x100;
const ALERT_MAX = 0xff;
const PROTOCOL_VERSION = 70;
const CERTIFICATE_REQUIRED = 116;
const DAY_MS = 86_400_000;
/** A client's certificate that ends within this time is warned of, if that is less than the last third of its life. */
const ENDS_SOON_MS = 30 * DAY_MS;
const LAST_SHARE = 1 / 3;

export type TlsMetric = "tlsConnections" | "tlsFailures" | "tlsVersion";

export interface HandshakeWatchOptions {
  readonly plane: Plane;
  readonly log: SampledLog;
  readonly count: (metric: TlsMetric, amount: number) => void;
}

/** Why a connection ended before anybody was known behind it. */
export interface FailedHandshake {
  readonly why: string;
  /** Of the certificate that was offered; "" without one. */
  readonly subject: string;
  /** We refused it; else the client did, left, or was not heard of any more. */
  readonly isRefusal: boolean;
}

export class HandshakeWatch {
  readonly #options: HandshakeWatchOptions;

  constructor(options: HandshakeWatchOptions) {
    this.#options = options;
  }

  /** The handshake of `connection` is done; who is behind it is not judged yet. */
  established(connection: Connection, certificate: CertificateSummary | null, authorities: number): void {
    const { log, count } = this.#options;
    count("tlsConnections", 1);
    count("tlsVersion", 1);
    log.eventOf("tls_connection", () =>
      tlsConnectionEvent({
        remote: connection.address.toString(),
        cipher: connection.engine.tlsDescription().cipher,
        serverName: connection.engine.serverName(),
        protocol: connection.engine.applicationProtocol(),
        certificate,
        certificates: certificate === null ? 0 : 1 + authorities,
      }));
    if (certificate !== null) this.#warnOfEnd(certificate);
  }

  /** To be called of every connection that ends. */
  closed(connection: Connection): void {
    if (connection.isEstablished) this.#options.count("tlsVersion", -1);
  }

  /** The connection ended with nobody known behind it: in its handshake, or because it was refused right after it. */
  failed(connection: Connection, ending: Ending): FailedHandshake {
    const refusal = connection.engine.verifyError();
    const alert = alertOf(ending);
    const why = refusal?.reason ?? reasonOf(ending, alert);
    const offered = refusal?.offered ?? null;
    const isTold = refusal !== null || alert !== null;
    const failed = { why, subject: offered?.subject ?? "", isRefusal: isTold && ending.by === "refused" };
    if (connection.isEstablished) return failed;
    const { log, count } = this.#options;
    count("tlsFailures", 1);
    if (!isTold) return failed;
    const failure: TlsFailure = {
      remote: connection.address.toString(),
      reason: why,
      isOldVersion: alert === PROTOCOL_VERSION && ending.by === "refused",
      offered,
    };
    for (const event of tlsFailureEvents(failure)) log.event(event);
    return failed;
  }

  #warnOfEnd({ subject, notBeforeMs, notAfterMs }: CertificateSummary): void {
    const { plane, log } = this.#options;
    const leftMs = notAfterMs - plane.platform.wallClockMs();
    if (leftMs >= ENDS_SOON_MS || leftMs >= (notAfterMs - notBeforeMs) * LAST_SHARE) return;
    const days = Math.floor(leftMs / DAY_MS);
    log.warn("peer-certificate-expiring", `A client's certificate ends soon: ${days} days left`, {
      subject,
      not_after: new Date(notAfterMs).toISOString(),
    });
  }
}

/** The alert that ended a handshake, on whichever side; null for another end. */
function alertOf({ by, info }: Ending): number | null {
  if (info === null || info.isApplication || by === "timeout") return null;
  const alert = info.code - CRYPTO_ERROR;
  return alert >= 0 && alert <= ALERT_MAX ? alert : null;
}

function reasonOf({ by, info }: Ending, alert: number | null): string {
  if (by === "refused" && alert === CERTIFICATE_REQUIRED) return "no client certificate";
  if (info !== null && info.reason !== "") return info.reason;
  if (alert !== null) return by === "peer" ? `the client sent the TLS alert ${alert}` : `TLS alert ${alert}`;
  return "no answer";
}
