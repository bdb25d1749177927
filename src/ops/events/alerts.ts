/**
 * Sends events that somebody must see to a webhook: POST, JSON, one at a time, with a timeout and a few tries. The queue is bounded;
 * what does not fit is counted. Recording an event never waits for any of this.
 *
 * The address is the operator's, but it is still looked at (SSRF): https, or http to this machine; no user name; no link-local,
 * multicast or unspecified address (a cloud's metadata service is one of these); redirects are not followed.
 */
import {
  Backoff,
  messageOf,
  metricCells,
  type MetricSample,
  parseIp,
  readMetrics,
  type SecurityEvent,
  type SecurityEventType,
} from "../../base/mod.ts";
import { isForbiddenWebhookAddress } from "../../config/mod.ts";

export interface AlertSettings {
  readonly url: URL;
  /** For one try, connection included. */
  readonly timeoutMs: number;
  readonly tries: number;
}

export const DEFAULT_ALERT_TIMEOUT_MS = 5_000;
export const DEFAULT_ALERT_TRIES = 3;
const QUEUE_MAX = 256;
/** For so long one alert that was given up, with none delivered since, says that the webhook fails. */
const FAILING_MS = 3_600_000;
const RETRY = { firstMs: 500, maxMs: 10_000 } as const;

/** Types that alert whatever their severity; errors and critical ones of any type do as well. */
const ALERT_TYPES: ReadonlySet<SecurityEventType> = new Set([
  "handshake_failure",
  "certificate_expired",
  "certificate_revoked",
  "weak_protocol",
  "auth_failure",
]);

const TABLE = {
  warning: alertsOf("warning"),
  error: alertsOf("error"),
  critical: alertsOf("critical"),
  failed: { name: "postern_alerts_failed_total", kind: "counter", help: "Alerts that no try delivered." },
  dropped: { name: "postern_alerts_dropped_total", kind: "counter", help: "Alerts left out because the queue was full." },
} as const;

function alertsOf(severity: string) {
  return {
    name: "postern_security_alerts_total",
    kind: "counter",
    help: "Security events that raised an alert, by severity.",
    labels: { severity },
  } as const;
}

export interface AlertStatus {
  readonly queued: number;
  readonly sent: number;
  /** Given up, since the start. */
  readonly failed: number;
  /** Of the last that was given up; "" for none. */
  readonly last_error: string;
  /** Whether the last one was given up, not longer than an hour ago. */
  readonly is_failing: boolean;
}

export interface AlertSender {
  /** A sink for the event stream. */
  readonly sink: (event: SecurityEvent) => void;
  metrics(): MetricSample[];
  status(): AlertStatus;
  /** Stops trying; what is queued is given up. */
  close(): void;
}

/** `onFailure` hears of each alert that was given up. */
export function openAlerts(
  settings: AlertSettings | null,
  onFailure: (why: string) => void,
  nowMs: () => number = () => performance.now(),
): AlertSender {
  const counts = metricCells(TABLE);
  const add = (name: keyof typeof TABLE) => counts.cells[counts.index[name]] = (counts.cells[counts.index[name]] ?? 0) + 1;
  const queue: SecurityEvent[] = [];
  const stop = new AbortController();
  let sent = 0, failed = 0, lastError = "", isSending = false, failedAtMs = -Infinity;

  const drain = async (target: AlertSettings) => {
    isSending = true;
    for (let event = queue.shift(); event !== undefined && !stop.signal.aborted; event = queue.shift()) {
      const why = await deliver(target, event, stop.signal);
      if (why === null) {
        sent++;
        failedAtMs = -Infinity;
      } else {
        failed++;
        failedAtMs = nowMs();
        lastError = why;
        add("failed");
        onFailure(why);
      }
    }
    isSending = false;
  };
  return {
    sink(event) {
      const { severity } = event;
      const matters = severity === "error" || severity === "critical" || ALERT_TYPES.has(event.event_type);
      if (!matters || severity === "info" || stop.signal.aborted) return;
      add(severity);
      if (settings === null) return;
      if (queue.length >= QUEUE_MAX) {
        add("dropped");
        return;
      }
      queue.push(event);
      if (!isSending) void drain(settings);
    },
    metrics: () => readMetrics(counts),
    status: () => ({
      queued: queue.length,
      sent,
      failed,
      last_error: lastError,
      is_failing: nowMs() - failedAtMs < FAILING_MS,
    }),
    close: () => stop.abort(),
  };
}

/** Null when a try got a 2xx answer, else why the last one did not. */
async function deliver(settings: AlertSettings, event: SecurityEvent, stop: AbortSignal): Promise<string | null> {
  const backoff = new Backoff(RETRY);
  let why = "stopped";
  for (let attempt = 0; attempt < settings.tries && !stop.aborted; attempt++) {
    if (attempt > 0) await pause(backoff.next(Math.random()), stop);
    const result = await post(settings, event, stop);
    if (result === null) return null;
    why = result;
  }
  return why;
}

async function post(settings: AlertSettings, event: SecurityEvent, stop: AbortSignal): Promise<string | null> {
  try {
    await refuseForbiddenName(settings.url.hostname);
    const response = await fetch(settings.url, {
      method: "POST",
      headers: { "content-type": "application/json", "user-agent": "postern" },
      body: JSON.stringify(event),
      redirect: "manual",
      signal: AbortSignal.any([stop, AbortSignal.timeout(settings.timeoutMs)]),
    });
    await response.body?.cancel();
    return response.ok ? null : `the webhook answered ${response.status}`;
  } catch (error) {
    return messageOf(error);
  }
}

/** A name that leads to an address that no webhook has. The name may still change between this look and the connection. */
async function refuseForbiddenName(hostname: string): Promise<void> {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (parseIp(host) !== null || host === "localhost") return;
  for (const type of ["A", "AAAA"] as const) {
    const addresses = await Deno.resolveDns(host, type).catch(() => []);
    for (const address of addresses) {
      const ip = parseIp(address);
      if (ip !== null && isForbiddenWebhookAddress(ip)) throw new Error(`${host} leads to ${address}, which no webhook has`);
    }
  }
}

function pause(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      stop.removeEventListener("abort", done);
      resolve();
    }
    stop.addEventListener("abort", done);
  });
}
