/**
 * The settings of seeing and steering, the same in every role: the metrics listener, the admin socket, alerts, the log file. Whether
 * the metrics listener runs at all is decided in `src/ops`, which knows the files; here is only what may be written.
 */

import * as z from "zod";
import { maskWebhookUrl, parseMetricsAddress, parseWebhookUrl, requireOneMetricsAddress } from "./ops_address.ts";
import { list, onOff, type SettingTable, type SettingValues, word } from "./setting.ts";
import { duration, numberFromText, path, text } from "./value.ts";

/** A certificate and what it may read. Exactly one of `san` and `cn` is set. */
export interface MetricsAclRule {
  /** A DNS name, URI or IP address of the subject alternative name, compared whole. */
  readonly san: string | null;
  /** The subject's common name, compared whole. */
  readonly cn: string | null;
  /** `/metrics`, `/health/*` for all below, `*` for everything. */
  readonly paths: readonly string[];
}

export interface OpsSettings {
  /** As written; null when nobody chose one. */
  readonly metricsAddr: string | null;
  readonly metricsPort: number | null;
  readonly metricsCertPath: string | null;
  readonly metricsKeyPath: string | null;
  readonly metricsCaPath: string | null;
  /** Null: every certificate of the CA may read everything. */
  readonly metricsAcl: readonly MetricsAclRule[] | null;
  /** The prefix of second names; null for none. */
  readonly metricsAlias: string | null;
  readonly hasAdminSocket: boolean;
  /** Null: the default place. */
  readonly adminSocketPath: string | null;
  /** Numbers of users and groups that may call beside root and this process's own user. */
  readonly adminUids: readonly number[];
  readonly adminGids: readonly number[];
  readonly alertWebhook: string | null;
  /** How many security events are kept, and for how long. */
  readonly eventsMax: number;
  readonly eventsKeepMs: number;
  readonly logFilePath: string | null;
}

const port = z.int({ error: "must be a port number" }).min(0, { error: "must be a port number" }).max(65535, {
  error: "must be a port number up to 65535",
});

const aclPath = text.regex(/^(?:\*|\/[A-Za-z0-9/_-]*\*?)$/, { error: "must be a path such as /metrics, /health/* or *" });

const aclRule = z.strictObject({
  san: text.optional(),
  cn: text.optional(),
  paths: z.array(aclPath).min(1, { error: "must name a path" }),
}).refine((rule) => (rule.san === undefined) !== (rule.cn === undefined), { error: "needs either san or cn" })
  .transform((rule): MetricsAclRule => ({ san: rule.san ?? null, cn: rule.cn ?? null, paths: rule.paths }));

/** Names that the metrics have anyway begin with these words; a second meaning under one name would be a lie. */
const metricsAlias = text.regex(/^(?!(?:postern|ztna|process)(?:_|$))[a-z](?:[a-z0-9_]{0,30}[a-z0-9])?$/, {
  error: "must be a prefix of a-z, 0-9 and _ that begins with a letter, up to 32 characters, and not postern, ztna or process",
});

const accountNumber = z.int({ error: "must be the number of a user or group" }).min(0).max(0xffff_fffe);
const accountNumbers = z.union([z.array(accountNumber), accountNumber.transform((value) => [value])]);
const numbersFromText = (value: string) => value.split(",").map((part) => numberFromText(part.trim()));

/** An event takes about 1 KiB at most. */
const EVENTS_FALLBACK = 10_000, EVENTS_LEAST = 100, EVENTS_MOST = 100_000;
const EVENTS_KEEP_FALLBACK_MS = 720 * 3_600_000;

/** Settings of every role. */
export function opsSettings() {
  return { ...metricsSettings(), ...adminSettings() } satisfies SettingTable;
}

function metricsSettings() {
  return {
    metrics_addr: word<string | null>("[IPv6]:PORT", null, {
      schema: text,
      example: "[::1]:9090",
      summary: "Where metrics and health are served: HTTPS, TLS 1.3, client certificates only, IPv6 only",
    }),
    metrics_port: word<number | null>("PORT", null, {
      schema: port,
      fromText: numberFromText,
      example: 0,
      summary: "Short for --metrics-addr [::1]:PORT; 0 turns the metrics listener off",
    }),
    metrics_cert: word<string | null>("FILE", null, {
      schema: path,
      example: "/etc/postern/metrics/server.crt",
      summary: "The metrics listener's certificate (PEM, with its chain)",
    }),
    metrics_key: word<string | null>("FILE", null, {
      schema: path,
      example: "/etc/postern/metrics/server.key",
      summary: "The private key (PEM) of --metrics-cert",
    }),
    metrics_ca: word<string | null>("FILE", null, {
      schema: path,
      example: "/etc/postern/metrics/ca.crt",
      summary: "The authorities (PEM) whose client certificates may read metrics",
    }),
    metrics_acl: list<readonly MetricsAclRule[] | null>("", null, {
      schema: z.array(aclRule),
      isFileOnly: true,
      example: [{ san: "prometheus.example.com", paths: ["*"] }, { cn: "viewer", paths: ["/healthz", "/health/*"] }],
      summary: "Which client certificate may read which path; when it is there, everything else is refused",
    }),
    metrics_alias: word<string | null>("PREFIX", null, {
      schema: metricsAlias,
      example: "dwcp",
      summary: "Show the TLS, certificate and security metrics a second time, as PREFIX_...: for dashboards of other gateways",
    }),
  } satisfies SettingTable;
}

/** The admin socket, security events, the log file. */
function adminSettings() {
  return {
    unix_socket: onOff(true, {
      summary: "Serve the admin API on a Unix socket",
      offSummary: "No admin API: `postern status`, `reload` and their like cannot reach this process",
    }),
    unix_socket_path: word<string | null>("PATH", null, {
      schema: path,
      example: "/run/postern/server.sock",
      summary: "The admin socket; by default in $XDG_RUNTIME_DIR/postern or /run/postern",
    }),
    admin_uid: list<readonly number[]>("UID", [], {
      schema: accountNumbers,
      fromText: numbersFromText,
      example: [1000],
      summary: "Further users (by number) that may use the admin API",
    }),
    admin_gid: list<readonly number[]>("GID", [], {
      schema: accountNumbers,
      fromText: numbersFromText,
      example: [27],
      summary: "Groups (by number) whose members may use the admin API",
    }),
    alert_webhook: word<string | null>("URL", null, {
      schema: text,
      example: "https://alerts.example.com/postern",
      summary: "Where security events that matter are posted as JSON",
      shownAs: maskWebhookUrl,
    }),
    events_max: word<number>("COUNT", EVENTS_FALLBACK, {
      schema: z.int({ error: "must be a whole number" }).min(EVENTS_LEAST, { error: `must be at least ${EVENTS_LEAST}` }).max(
        EVENTS_MOST,
        { error: `must be at most ${EVENTS_MOST}` },
      ),
      fromText: numberFromText,
      summary: "How many security events are kept in memory; when there are more, the oldest of the least severe go",
    }),
    events_keep: word<number>("DURATION", EVENTS_KEEP_FALLBACK_MS, {
      schema: duration,
      fallbackText: "720h",
      example: "720h",
      summary: "Security events older than this are not shown any more",
    }),
    log_file: word<string | null>("FILE", null, {
      schema: path,
      example: "/var/log/postern/server.log",
      summary: "Write the log here (mode 0600) and not to standard error; SIGHUP and SIGUSR1 reopen it",
    }),
  } satisfies SettingTable;
}

/** The part of a role's settings object. Throws a usage error for addresses that a start would refuse. */
export function finishOps(values: SettingValues<ReturnType<typeof opsSettings>>): OpsSettings {
  requireOneMetricsAddress(values.metrics_addr, values.metrics_port);
  if (values.metrics_addr !== null) parseMetricsAddress(values.metrics_addr);
  if (values.alert_webhook !== null) parseWebhookUrl(values.alert_webhook);
  return {
    metricsAddr: values.metrics_addr,
    metricsPort: values.metrics_port,
    metricsCertPath: values.metrics_cert,
    metricsKeyPath: values.metrics_key,
    metricsCaPath: values.metrics_ca,
    metricsAcl: values.metrics_acl,
    metricsAlias: values.metrics_alias,
    hasAdminSocket: values.unix_socket,
    adminSocketPath: values.unix_socket_path,
    adminUids: values.admin_uid,
    adminGids: values.admin_gid,
    alertWebhook: values.alert_webhook,
    eventsMax: values.events_max,
    eventsKeepMs: values.events_keep,
    logFilePath: values.log_file,
  };
}
