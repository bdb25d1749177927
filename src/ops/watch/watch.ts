/** The handler behind the paths that both listeners have. */
import { type CertificateStatus, type MetricDefinition, type MetricSample, readMetrics, type RoleName } from "../../base/mod.ts";
import {
  errorResponse,
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
  jsonResponse,
  textResponse,
} from "../../io/http/mod.ts";
import type { AlertSender, SecurityEventStream } from "../events/mod.ts";
import type { Log } from "../log/mod.ts";
import {
  aliasSamples,
  certificateExpiry,
  chooseFormat,
  EXPOSITION_TYPES,
  formatExposition,
  type OpsMetrics,
  processMetrics,
} from "../metrics/mod.ts";
import type { OpsNative } from "../native.ts";
import type { OpsSource } from "../source.ts";
import { askStatus, certificateHealth, type HealthState, type ReloadState, securityHealth, tlsHealth } from "./health.ts";

export interface WatchOptions {
  readonly source: OpsSource;
  readonly native: OpsNative;
  readonly log: Log;
  readonly events: SecurityEventStream;
  readonly alerts: AlertSender;
  readonly counters: OpsMetrics;
  /** The role's certificates and those of the metrics listener. */
  readonly certificates: () => readonly CertificateStatus[];
  readonly reloadState: () => ReloadState;
  /** The prefix of second names of metrics; null for none. */
  readonly metricsAlias: string | null;
}

export interface Watch {
  /** Answers the paths of this module; 404 for others, 405 for other methods than GET and HEAD. */
  readonly handler: HttpHandler;
  /** Everything a scrape shows, in order. */
  samples(): MetricSample[];
}

export const WATCH_PATHS = ["/metrics", "/healthz", "/readyz", "/health/tls", "/health/certs", "/health/security"] as const;
type WatchPath = typeof WATCH_PATHS[number];

export function createWatch(options: WatchOptions): Watch {
  const samples = () => collectSamples(options);
  const answers: Readonly<Record<WatchPath, (request: HttpRequest) => Promise<HttpResponse> | HttpResponse>> = {
    "/metrics": (request) => {
      const format = chooseFormat(request.headers.get("accept"));
      return textResponse(formatExposition(samples(), format), EXPOSITION_TYPES[format]);
    },
    "/healthz": async () => {
      const status = await askStatus(options.source);
      return status === null ? notHealthy("the data plane does not answer") : textResponse("ok\n");
    },
    "/readyz": async () => {
      const status = await askStatus(options.source);
      if (status === null) return notHealthy("the data plane does not answer");
      if (status.phase === "ready") return textResponse("ready\n");
      return notHealthy([status.phase, ...status.reasons].join("; "));
    },
    "/health/tls": () => healthResponse(tlsHealth(options.reloadState())),
    "/health/certs": () => healthResponse(certificateHealth(options.certificates(), options.source.revocationLists(), Date.now())),
    "/health/security": () => healthResponse(securityHealth(options.events, options.alerts)),
  };
  const handler: HttpHandler = (request) => {
    const path = WATCH_PATHS.find((known) => known === request.path);
    if (path === undefined) return errorResponse(404, "not-found", "there is nothing here", `paths are ${WATCH_PATHS.join(", ")}`);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return errorResponse(405, "method", "only GET and HEAD work here", null, { allow: "GET, HEAD" });
    }
    return answers[path](request);
  };
  return { handler, samples };
}

function collectSamples(options: WatchOptions): MetricSample[] {
  const { source, native, log, events, alerts, counters } = options;
  const { cells, index } = counters;
  const written = log.statistics();
  cells[index.logLines] = written.written;
  cells[index.logDropped] = written.dropped;
  cells[index.logFailed] = written.failed;
  const nowMs = Date.now();
  const expiry = options.certificates().map((certificate) => ({
    definition: certificateExpiry(certificate.purpose),
    value: Math.round((certificate.notAfterMs - nowMs) / 1000),
  }));
  const samples = [
    { definition: buildInfo(source.role, source.version), value: 1 },
    ...source.metrics(),
    ...readMetrics(counters),
    ...lowest(expiry),
    ...events.metrics(),
    ...alerts.metrics(),
    ...processMetrics(native.process),
  ];
  if (options.metricsAlias !== null) samples.push(...aliasSamples(samples, options.metricsAlias));
  return samples;
}

/** Of several certificates with one purpose (a chain, a bundle) the one that ends first. */
function lowest(samples: readonly MetricSample[]): MetricSample[] {
  const byPurpose = new Map<string, MetricSample>();
  for (const sample of samples) {
    const purpose = sample.definition.labels?.["purpose"] ?? "";
    const before = byPurpose.get(purpose);
    if (before === undefined || sample.value < before.value) byPurpose.set(purpose, sample);
  }
  return [...byPurpose.values()];
}

function buildInfo(role: RoleName, version: string): MetricDefinition {
  return {
    name: "postern_build_info",
    kind: "gauge",
    help: "Always 1; role and version are its labels.",
    labels: { role, version },
  };
}

function notHealthy(why: string): HttpResponse {
  return textResponse(`${why}\n`, "text/plain; charset=utf-8", 503);
}

function healthResponse(body: { readonly status: HealthState }): HttpResponse {
  return jsonResponse(body, body.status === "failing" ? 503 : 200);
}
