/** The metrics listener while it runs: binding after everything is checked, the proof, the requests, the new certificates. */
import {
  addToCell,
  type LimitStatus,
  type LogSink,
  messageOf,
  type SecurityEventInput,
  tlsConnectionEvent,
  tlsFailureEvents,
} from "../../base/mod.ts";
import type { MetricsAclRule } from "../../config/mod.ts";
import {
  type CertificateSummary,
  DEFAULT_TLS_LISTENER_LIMITS,
  errorResponse,
  type HttpHandler,
  type Poller,
  serveHttp,
  type TlsConnection,
  TlsListener,
  type TlsListenerLimits,
  type TlsRefusal,
} from "../../io/http/mod.ts";
import type { OpsMetrics } from "../metrics/mod.ts";
import type { OpsNative } from "../native.ts";
import { mayRead } from "./acl.ts";
import { ScrapeConnections, type TcpConnectionStatus } from "./connections.ts";
import { loadMetricsCredentials, type MetricsCredentials } from "./credentials.ts";
import { filesFingerprint } from "./file_watch.ts";
import { proveRefusal } from "./refusal_proof.ts";
import { describeMetricsSettings, type MetricsServerConfig } from "./settings.ts";

export interface MetricsServerOptions {
  readonly config: MetricsServerConfig;
  readonly acl: readonly MetricsAclRule[] | null;
  readonly native: OpsNative;
  readonly poller: Poller;
  /** Answers `/metrics`, `/healthz`, `/readyz`, `/health/*`. */
  readonly handler: HttpHandler;
  readonly log: LogSink;
  readonly record: (event: SecurityEventInput) => void;
  readonly counters: OpsMetrics;
  readonly limits?: TlsListenerLimits;
  /** How often the files are looked at. */
  readonly watchMs?: number;
}

export interface MetricsServer {
  /** With the port that was bound. */
  readonly config: MetricsServerConfig;
  readonly certificates: () => { readonly server: CertificateSummary; readonly authorities: readonly CertificateSummary[] };
  /** When the files were last read, and why they were refused then; "" when they hold. */
  readonly lastReload: () => { readonly atMs: number; readonly error: string };
  /** The scrapers that are connected, oldest first. */
  readonly connections: () => TcpConnectionStatus[];
  /** The listener's bounds and how far they are used. */
  readonly limits: () => LimitStatus[];
  /** Reads the files now. False when they are refused: the old ones stay in use and the log says why. */
  reload(): Promise<boolean>;
  close(): Promise<void>;
}

const WATCH_MS = 2_000;

/**
 * Reads and checks the files, binds, proves that an anonymous client is refused, then serves. Throws a PosternError before anything is
 * bound, or after it was unbound again.
 */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { native, log } = options;
  const fingerprint = await filesFingerprint(options.config);
  const credentials = await loadMetricsCredentials(options.config, native);
  let listener: TlsListener;
  try {
    listener = TlsListener.open(
      options.poller,
      options.config.listen,
      credentials.context,
      options.limits ?? DEFAULT_TLS_LISTENER_LIMITS,
    );
  } catch (error) {
    credentials.context[Symbol.dispose]();
    throw error;
  }
  const config = { ...options.config, listen: listener.address };
  const state = { isProving: true };
  const scrapes = new ScrapeConnections();
  listener.serve({
    onConnection: (connection) => scrapes.during(connection, (onRequest) => serveConnection(options, connection, onRequest)),
    onRefused: (refusal) => {
      if (!state.isProving) reportRefusal(options, refusal);
    },
  });
  try {
    await proveRefusal(listener.address, native);
  } catch (error) {
    await listener.close();
    throw error;
  }
  state.isProving = false;
  for (const message of describeMetricsSettings(config)) log({ level: "info", event: "metrics-listening", message, fields: {} });
  return watched(options, { config, listener, scrapes }, credentials, fingerprint);
}

function watched(
  options: MetricsServerOptions,
  { config, listener, scrapes }: {
    readonly config: MetricsServerConfig;
    readonly listener: TlsListener;
    readonly scrapes: ScrapeConnections;
  },
  first: MetricsCredentials,
  firstFingerprint: string,
): MetricsServer {
  let current = first, fingerprint = firstFingerprint;
  let lastReload = { atMs: Date.now(), error: "" };
  let running: Promise<boolean> | null = null;
  const load = async (seen: string): Promise<boolean> => {
    fingerprint = seen;
    try {
      const next = await loadMetricsCredentials(config, options.native);
      listener.replaceContext(next.context);
      if (next.server.fingerprint !== current.server.fingerprint) addToCell(options.counters, options.counters.index.rotations);
      current = next;
      lastReload = { atMs: Date.now(), error: "" };
      noteReload(options, next.server);
      return true;
    } catch (error) {
      lastReload = { atMs: Date.now(), error: messageOf(error) };
      noteFailedReload(options, messageOf(error));
      return false;
    }
  };
  const reload = (onlyChanged: boolean): Promise<boolean> => {
    running ??= (async () => {
      const seen = await filesFingerprint(config);
      return onlyChanged && seen === fingerprint ? true : await load(seen);
    })().finally(() => running = null);
    return running;
  };
  const timer = setInterval(() => void reload(true), options.watchMs ?? WATCH_MS);
  Deno.unrefTimer(timer);
  return {
    config,
    certificates: () => ({ server: current.server, authorities: current.authorities }),
    lastReload: () => lastReload,
    connections: () => scrapes.list(),
    limits: () => {
      const { handshakes, handshakesMax, open, openMax } = listener.load;
      return [
        { name: "metrics_handshakes", used: handshakes, max: handshakesMax },
        { name: "metrics_connections", used: open, max: openMax },
      ];
    },
    reload: async () => {
      // A look that is under way may have begun before the change.
      await running;
      return await reload(false);
    },
    close: async () => {
      clearInterval(timer);
      await running;
      await listener.close();
    },
  };
}

async function serveConnection(
  options: MetricsServerOptions,
  connection: TlsConnection,
  onRequest: () => void,
): Promise<void> {
  const { counters, record } = options;
  const { index } = counters;
  addToCell(counters, index.tlsConnections);
  addToCell(counters, index.tlsVersion);
  addToCell(counters, index.openMetrics);
  record(tlsConnectionEvent({
    remote: connection.remote,
    cipher: connection.cipher,
    serverName: "",
    protocol: "http/1.1",
    certificate: connection.certificate,
    certificates: 1,
  }));
  const handler: HttpHandler = (request, signal) => {
    onRequest();
    addToCell(counters, index.requestsMetrics);
    if (mayRead(options.acl, connection.certificate, request.path)) return options.handler(request, signal);
    addToCell(counters, index.deniedMetrics);
    record({
      event_type: "metrics_denied",
      details: { path: request.path, subject: connection.certificate?.subject ?? "" },
      remote_addr: connection.remote,
    });
    return errorResponse(
      403,
      "acl",
      "this certificate may not read this path",
      "metrics_acl in the configuration lists who may read what",
    );
  };
  const onFailure = (error: unknown) =>
    options.log({ level: "error", event: "request-failed", message: `A metrics request failed: ${messageOf(error)}`, fields: {} });
  await serveHttp(connection.stream, handler, onFailure);
  addToCell(counters, index.tlsVersion, -1);
  addToCell(counters, index.openMetrics, -1);
}

const REFUSAL_CELLS = {
  "no-certificate": "refusedNoCertificate",
  "bad-certificate": "refusedCertificate",
  "protocol": "refusedProtocol",
  "timeout": "refusedTimeout",
  "limit": "refusedLimit",
  "left": null,
} as const;

function reportRefusal({ counters, record, log }: MetricsServerOptions, refusal: TlsRefusal): void {
  const { index } = counters;
  const cell = REFUSAL_CELLS[refusal.reason];
  if (cell !== null) addToCell(counters, index[cell]);
  if (refusal.reason !== "limit") addToCell(counters, index.tlsFailures);
  log({
    level: "debug",
    event: "metrics-refused",
    message: `The metrics listener refused a client: ${refusal.detail}`,
    fields: { reason: refusal.reason, remote: refusal.remote },
  });
  if (refusal.reason === "left" || refusal.reason === "limit") return;
  const { remote, offered, detail } = refusal;
  const isOldVersion = refusal.reason === "protocol" && detail.includes("unsupported protocol");
  for (const event of tlsFailureEvents({ remote, reason: detail, offered, isOldVersion })) record(event);
}

function noteReload({ record, log }: MetricsServerOptions, server: CertificateSummary): void {
  record({ event_type: "certificate_reloaded", details: { purpose: "metrics", subject: server.subject, serial: server.serial } });
  log({
    level: "info",
    event: "metrics-reloaded",
    message: "The metrics listener uses its new certificates",
    fields: { serial: server.serial, not_after: new Date(server.notAfterMs).toISOString() },
  });
}

function noteFailedReload({ counters, record, log }: MetricsServerOptions, why: string): void {
  addToCell(counters, counters.index.rotationFailures);
  record({ event_type: "certificate_reload_failed", details: { purpose: "metrics", error: why } });
  log({
    level: "error",
    event: "metrics-reload-failed",
    message: `The metrics listener keeps its old certificates: ${why}`,
    fields: {},
  });
}
