/** Verdicts about the process, its TLS, its certificates and its security, as the JSON that is published. Pure but for the asking. */
import {
  type CertificateStatus,
  type RevocationListStatus,
  STATUS_SUMMARY,
  type StatusExtent,
  type StatusSnapshot,
} from "../../base/mod.ts";
import type { AlertSender, SecurityEventStream } from "../events/mod.ts";
import type { OpsSource } from "../source.ts";

/** `ok` and `degraded` are answered with 200, `failing` with 503. */
export type HealthState = "ok" | "degraded" | "failing";

const STATUS_TIMEOUT_MS = 2_000;
const DAY_MS = 86_400_000;
export const EXPIRY_WARNING_DAYS = 30;
const CRL_WARNING_MS = DAY_MS;
const LAST_EVENTS = 10;

/** TLS 1.3 suites in the order of the bundled library. */
const CIPHER_SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const GROUPS = ["X25519MLKEM768", "X25519", "P-256", "P-384"];

/** The role's snapshot, without what it would list one by one, or null when the data plane does not answer in time. */
export async function askStatus(
  source: OpsSource,
  extent: StatusExtent = STATUS_SUMMARY,
  timeoutMs = STATUS_TIMEOUT_MS,
): Promise<StatusSnapshot | null> {
  let timer: number | undefined;
  const late = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), timeoutMs));
  try {
    return await Promise.race([source.status(extent), late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

export interface ReloadState {
  readonly lastReloadMs: number;
  /** "" when the last one was good. */
  readonly lastReloadError: string;
}

export function tlsHealth(reload: ReloadState) {
  const status: HealthState = reload.lastReloadError === "" ? "ok" : "degraded";
  return {
    status,
    min_version: "1.3",
    cipher_suites: CIPHER_SUITES,
    groups: GROUPS,
    mtls: true,
    last_reload: new Date(reload.lastReloadMs).toISOString(),
    last_reload_error: reload.lastReloadError,
  };
}

export function certificateHealth(
  certificates: readonly CertificateStatus[],
  lists: readonly RevocationListStatus[],
  nowMs: number,
) {
  const states = [
    ...certificates.map((certificate) => certificateState(certificate, nowMs)),
    ...lists.map((list): HealthState => list.nextUpdateMs - nowMs < CRL_WARNING_MS ? "degraded" : "ok"),
  ];
  const status: HealthState = states.includes("failing") ? "failing" : states.includes("degraded") ? "degraded" : "ok";
  return {
    status,
    certificates: certificates.map((certificate) => ({
      role: certificate.purpose,
      subject: certificate.subject,
      issuer: certificate.issuer,
      serial: certificate.serial,
      not_before: new Date(certificate.notBeforeMs).toISOString(),
      not_after: new Date(certificate.notAfterMs).toISOString(),
      days_left: daysLeft(certificate, nowMs),
      self_signed: certificate.isSelfSigned,
      revoked: certificate.isRevoked,
    })),
    revocation_lists: lists.map((list) => ({
      issuer: list.issuer,
      next_update: new Date(list.nextUpdateMs).toISOString(),
    })),
  };
}

/** Whole days until the end, below zero after it. */
export function daysLeft(certificate: CertificateStatus, nowMs: number): number {
  return Math.floor((certificate.notAfterMs - nowMs) / DAY_MS);
}

function certificateState(certificate: CertificateStatus, nowMs: number): HealthState {
  if (certificate.notAfterMs <= nowMs || certificate.notBeforeMs > nowMs || certificate.isRevoked === true) return "failing";
  // An authority signs itself by nature; an identity that does was made for trying out.
  const isAuthority = certificate.purpose.endsWith("ca");
  if (daysLeft(certificate, nowMs) < EXPIRY_WARNING_DAYS || (certificate.isSelfSigned && !isAuthority)) return "degraded";
  return "ok";
}

export function securityHealth(events: SecurityEventStream, alerts: AlertSender) {
  const alert = alerts.status();
  const status: HealthState = alert.is_failing ? "degraded" : "ok";
  return { status, stats: events.statistics(), last_events: events.query({ limit: LAST_EVENTS }), alerts: alert };
}
