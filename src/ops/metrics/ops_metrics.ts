/** What the control plane counts about itself: its two listeners, its log, its certificates. */
import { type MetricCells, type MetricDefinition, tlsMetrics } from "../../base/mod.ts";

const listener = (name: "metrics" | "admin") => ({ listener: name });

function refused(reason: string) {
  return {
    name: "postern_metrics_refused_total",
    kind: "counter",
    help: "Connections to the metrics listener that were turned away before a request, by reason.",
    labels: { reason },
  } as const;
}

export const OPS_METRICS = {
  ...tlsMetrics("metrics"),
  reloads: {
    name: "postern_reloads_total",
    kind: "counter",
    help: "Times that the role's settings and files were read anew and taken.",
  },
  reloadFailures: {
    name: "postern_reload_failures_total",
    kind: "counter",
    help: "Times that the role's settings and files were read anew and refused.",
  },
  rotations: rotated("metrics"),
  rotationsIdentity: rotated("identity"),
  rotationsP2p: rotated("p2p"),
  rotationFailures: notRotated("metrics"),
  rotationFailuresIdentity: notRotated("identity"),
  refusedNoCertificate: refused("no-certificate"),
  refusedCertificate: refused("bad-certificate"),
  refusedProtocol: refused("protocol"),
  refusedTimeout: refused("timeout"),
  refusedLimit: refused("limit"),
  requestsMetrics: requests("metrics"),
  requestsAdmin: requests("admin"),
  deniedMetrics: denied("metrics"),
  deniedAdmin: denied("admin"),
  openMetrics: open("metrics"),
  openAdmin: open("admin"),
  logLines: { name: "postern_log_lines_total", kind: "counter", help: "Log lines written." },
  logDropped: { name: "postern_log_dropped_total", kind: "counter", help: "Log records left out by sampling." },
  logFailed: { name: "postern_log_failed_total", kind: "counter", help: "Log lines that could not be written." },
} as const satisfies Readonly<Record<string, MetricDefinition>>;

export type OpsMetrics = MetricCells<typeof OPS_METRICS>;

function rotated(purpose: string) {
  return {
    name: "postern_certificate_rotations_total",
    kind: "counter",
    help: "Certificates that were replaced while running, by purpose.",
    labels: { purpose },
  } as const;
}

function notRotated(purpose: string) {
  return {
    name: "postern_certificate_rotation_failures_total",
    kind: "counter",
    help: "New certificates that were refused, by purpose; identity stands for all files of the role.",
    labels: { purpose },
  } as const;
}

/** Seconds until a certificate ends; below zero when it has. One sample for each certificate in use. */
export function certificateExpiry(purpose: string): MetricDefinition {
  return {
    name: "postern_certificate_expiry_seconds",
    kind: "gauge",
    help: "Time until a certificate in use ends, by purpose; below zero when it has ended.",
    labels: { purpose },
  };
}

function requests(name: "metrics" | "admin") {
  return {
    name: "postern_http_requests_total",
    kind: "counter",
    help: "HTTP requests, by listener.",
    labels: listener(name),
  } as const;
}

function denied(name: "metrics" | "admin") {
  return {
    name: "postern_http_denied_total",
    kind: "counter",
    help: "HTTP requests that were not allowed, by listener.",
    labels: listener(name),
  } as const;
}

function open(name: "metrics" | "admin") {
  return {
    name: "postern_http_connections",
    kind: "gauge",
    help: "Open connections, by listener.",
    labels: listener(name),
  } as const;
}
