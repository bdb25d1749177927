/** Builds seeing and steering for one running role and takes it down again. The order of the parts is the order of this file. */
import { type CertificateStatus, messageOf, metricCells, PosternError, type SecurityEventInput } from "../base/mod.ts";
import { type OpsSettings, parseWebhookUrl } from "../config/mod.ts";
import type { CertificateSummary, Ipv6Address, Poller } from "../io/http/mod.ts";
import { type AdminServer, createAdminApi, createAnswers, processStartTime, startAdminServer, TokenStore } from "./admin/mod.ts";
import {
  type AlertSender,
  DEFAULT_ALERT_TIMEOUT_MS,
  DEFAULT_ALERT_TRIES,
  openAlerts,
  openEventStream,
  type SecurityEventStream,
} from "./events/mod.ts";
import { watchExpiry } from "./expiry_watch.ts";
import type { Log } from "./log/mod.ts";
import { OPS_METRICS, type OpsMetrics } from "./metrics/mod.ts";
import { type MetricsServer, type MetricsServerConfig, resolveMetricsServer, startMetricsServer } from "./metrics_server/mod.ts";
import type { OpsNative } from "./native.ts";
import { openNotifier, type ServiceNotifier } from "./process/mod.ts";
import { RoleReloads } from "./role_reloads.ts";
import { adminSocketPaths } from "./socket_path.ts";
import type { OpsSource } from "./source.ts";
import { askStatus, createWatch, type ReloadState, TrafficMeter, type Watch } from "./watch/mod.ts";

export interface OpsOptions {
  readonly source: OpsSource;
  readonly settings: OpsSettings;
  readonly log: Log;
  readonly native: OpsNative;
  readonly environment: (name: string) => string | undefined;
}

/** Seeing and steering while the role runs. */
export interface Ops {
  /** Takes a security event from anywhere in the role. Never throws. */
  readonly record: (event: SecurityEventInput) => void;
  readonly events: SecurityEventStream;
  /** As bound; null when the metrics listener is off. */
  readonly metricsAddress: Ipv6Address | null;
  /** Null when there is no admin socket. */
  readonly adminPath: string | null;
  /** The role is at work: tells the service manager and feeds its watchdog from now on. */
  ready(status: string): void;
  /** For SIGHUP and the admin API: log file, metrics certificates, then the role itself. Resolves to what changed. */
  reload(): Promise<readonly string[]>;
  /** The role has read its files anew, also by itself: `error` says why they were refused, "" that they hold. */
  reloaded(error: string): void;
  /** For SIGUSR1. */
  reopenLog(): void;
  /** The role begins to end. */
  stopping(): void;
  close(): Promise<void>;
}

/**
 * Checks everything, then binds the metrics listener and the admin socket. Call it before the role binds anything, so that a mistake in
 * the settings is found first; until {@linkcode Ops.ready} the process says that it is not ready. Throws a PosternError, with nothing
 * left behind.
 */
export async function startOps(options: OpsOptions): Promise<Ops> {
  const { settings, source, log } = options;
  const metrics = resolveMetricsServer(settings, source.role, fileExists);
  const parts = buildParts(options, settings.alertWebhook === null ? null : parseWebhookUrl(settings.alertWebhook));
  try {
    if (metrics.kind === "on") parts.metricsServer = await startMetrics(parts, metrics.config);
    else if (metrics.isUnconfigured) say(log, "metrics-off", METRICS_OFF);
    if (settings.hasAdminSocket) parts.adminServer = startAdmin(parts);
    parts.expiry = watchExpiry({
      certificates: () => certificatesOf(parts),
      revocationLists: () => source.revocationLists(),
      log: log.sink,
      record: parts.events.record,
      nowMs: Date.now,
    });
  } catch (error) {
    await closeParts(parts);
    throw error;
  }
  const reloads = new RoleReloads({
    certificates: () => source.certificates(),
    counters: parts.counters,
    record: parts.events.record,
  });
  return {
    record: parts.events.record,
    events: parts.events,
    metricsAddress: parts.metricsServer?.config.listen ?? null,
    adminPath: parts.adminServer?.path ?? null,
    ready: (status) => {
      parts.readyStatus = status;
      parts.notifier.ready(status);
      parts.notifier.startWatchdog(async () => await askStatus(source) !== null);
    },
    reload: () => reload(parts),
    reloaded: (error) => {
      noteReload(parts, error);
      reloads.note(error);
    },
    reopenLog: () => log.reopen(),
    stopping: () => parts.notifier.stopping(),
    close: () => closeParts(parts),
  };
}

const METRICS_OFF = "The metrics listener is off: no certificate, key and CA are set and none lie in /etc/postern/metrics; " +
  "`--metrics-port 0` says that this is wanted";

interface Parts {
  readonly options: OpsOptions;
  readonly events: SecurityEventStream;
  readonly alerts: AlertSender;
  readonly counters: OpsMetrics;
  readonly meter: TrafficMeter;
  readonly notifier: ServiceNotifier;
  readonly watch: Watch;
  poller: Poller | null;
  metricsServer: MetricsServer | null;
  adminServer: AdminServer | null;
  expiry: { close(): void } | null;
  reloading: Promise<readonly string[]> | null;
  /** Null until the role is at work. */
  readyStatus: string | null;
  /** Of the role; the metrics listener knows its own. */
  lastReloadMs: number;
  lastReloadError: string;
}

function buildParts(options: OpsOptions, alertUrl: URL | null): Parts {
  const { source, native, log } = options;
  const takenOff = (why: string) => say(log, "alert-failed", `A follower of security events was taken off: ${why}`);
  const events = openEventStream(takenOff, Date.now, { max: options.settings.eventsMax, ageMaxMs: options.settings.eventsKeepMs });
  const alertSettings = alertUrl === null
    ? null
    : { url: alertUrl, timeoutMs: DEFAULT_ALERT_TIMEOUT_MS, tries: DEFAULT_ALERT_TRIES };
  const alerts = openAlerts(alertSettings, (why) => say(log, "alert-failed", `An alert was not delivered: ${why}`));
  events.subscribe(alerts.sink);
  const counters = metricCells(OPS_METRICS);
  const watch = createWatch({
    source,
    native,
    log,
    events,
    alerts,
    counters,
    certificates: () => certificatesOf(parts),
    reloadState: () => reloadState(parts),
    metricsAlias: options.settings.metricsAlias,
  });
  const parts: Parts = {
    options,
    events,
    alerts,
    counters,
    watch,
    meter: new TrafficMeter(() => source.traffic()),
    notifier: openNotifier(native.process, options.environment, (why) => say(log, "notify-failed", why)),
    poller: null,
    metricsServer: null,
    adminServer: null,
    expiry: null,
    reloading: null,
    readyStatus: null,
    lastReloadMs: Date.now(),
    lastReloadError: "",
  };
  return parts;
}

async function startMetrics(parts: Parts, config: MetricsServerConfig): Promise<MetricsServer> {
  const { native, log, settings } = parts.options;
  parts.poller ??= native.createPoller();
  return await startMetricsServer({
    config,
    acl: settings.metricsAcl,
    native,
    poller: parts.poller,
    handler: parts.watch.handler,
    log: log.sink,
    record: parts.events.record,
    counters: parts.counters,
  });
}

function startAdmin(parts: Parts): AdminServer | null {
  const { source, native, log, settings, environment } = parts.options;
  parts.poller ??= native.createPoller();
  const tokens = new TokenStore({
    startTime: (pid) => processStartTime(native.process, pid),
    clock: () => performance.now(),
    entropy: (bytes) => crypto.getRandomValues(bytes),
    note: (level, message) => log.sink({ level, event: "admin-token", message, fields: {} }),
  });
  const { events, meter } = parts;
  const answers = createAnswers({
    source,
    log,
    events,
    tokens,
    meter,
    certificates: () => certificatesOf(parts),
    connections: () => parts.metricsServer?.connections() ?? [],
    limits: () => [...parts.metricsServer?.limits() ?? [], ...parts.adminServer?.limits() ?? []],
    reload: () => reload(parts),
  });
  const access = { ownUid: Deno.uid() ?? 0, uids: settings.adminUids, gids: settings.adminGids };
  const { counters } = parts;
  const handlerFor = createAdminApi({
    access,
    tokens,
    answers,
    watch: parts.watch.handler,
    log: log.sink,
    record: events.record,
    counters,
  });
  const { adminSocketPath: chosen } = settings;
  return startAdminServer({
    paths: chosen === null ? adminSocketPaths(source.role, environment) : [chosen],
    isExplicit: chosen !== null,
    isShared: access.uids.length + access.gids.length > 0,
    poller: parts.poller,
    handlerFor,
    log: log.sink,
    counters,
  });
}

/** One at a time; who asks while one runs gets its result. */
function reload(parts: Parts): Promise<readonly string[]> {
  parts.reloading ??= reloadAll(parts).finally(() => parts.reloading = null);
  return parts.reloading;
}

async function reloadAll(parts: Parts): Promise<readonly string[]> {
  const { log } = parts.options;
  if (parts.readyStatus !== null) parts.notifier.reloading();
  log.reopen();
  const changes = ["the log file was opened again"];
  try {
    if (parts.metricsServer !== null) {
      if (!await parts.metricsServer.reload()) {
        throw new PosternError("the metrics listener's new files were refused; the old certificates stay in use", {
          code: "metrics-material",
          hint: "the log has the reason; nothing else was read anew",
        });
      }
      changes.push("the metrics listener's certificates were read");
    }
    changes.push(...await reloadRole(parts));
    return changes;
  } finally {
    if (parts.readyStatus !== null) parts.notifier.ready(parts.readyStatus);
  }
}

async function reloadRole(parts: Parts): Promise<readonly string[]> {
  try {
    const changes = await parts.options.source.steering.reload();
    noteReload(parts, "");
    return changes;
  } catch (error) {
    noteReload(parts, messageOf(error));
    throw error;
  }
}

function noteReload(parts: Parts, error: string): void {
  parts.lastReloadMs = Date.now();
  parts.lastReloadError = error;
}

/** Of the role and the metrics listener together: the latest time, and what is wrong with either. */
function reloadState({ lastReloadMs, lastReloadError, metricsServer }: Parts): ReloadState {
  const metrics = metricsServer?.lastReload();
  return {
    lastReloadMs: Math.max(lastReloadMs, metrics?.atMs ?? 0),
    lastReloadError: lastReloadError !== "" || metrics === undefined || metrics.error === ""
      ? lastReloadError
      : `the metrics listener: ${metrics.error}`,
  };
}

async function closeParts(parts: Parts): Promise<void> {
  parts.expiry?.close();
  await parts.adminServer?.close();
  await parts.metricsServer?.close();
  await parts.poller?.close();
  parts.alerts.close();
  parts.meter[Symbol.dispose]();
  parts.notifier.close();
}

/** The role's certificates and those of the metrics listener. */
function certificatesOf({ options, metricsServer }: Parts): CertificateStatus[] {
  const all = [...options.source.certificates()];
  if (metricsServer === null) return all;
  const { server, authorities } = metricsServer.certificates();
  const { certPath, caPath } = metricsServer.config;
  all.push(certificateStatus("metrics", certPath, server));
  for (const authority of authorities) all.push(certificateStatus("metrics-ca", caPath, authority));
  return all;
}

/** A certificate as it is shown; `purpose` ends in `ca` for an authority. */
export function certificateStatus(purpose: string, path: string, certificate: CertificateSummary): CertificateStatus {
  const { subject, issuer, serial, notBeforeMs, notAfterMs, isSelfSigned } = certificate;
  return { purpose, path, subject, issuer, serial, notBeforeMs, notAfterMs, isSelfSigned, isRevoked: null };
}

function say(log: Log, event: "alert-failed" | "notify-failed" | "metrics-off", message: string): void {
  log.sink({ level: "warn", event, message, fields: {} });
}

function fileExists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    // Whatever lies there but cannot be looked at was meant to be used.
    return !(error instanceof Deno.errors.NotFound);
  }
}
