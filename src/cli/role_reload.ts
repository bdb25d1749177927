/**
 * Reading anew while a role runs: on SIGHUP, when one of its files has changed, when a revocation list's time is over. Settings
 * and files are read as at the start; the role goes over to all of it or, if anything is wrong, to nothing.
 */

import { messageOf, PosternError } from "../base/mod.ts";
import { formatSource, type OpsSettings } from "../config/mod.ts";
import { type Log, parseFilter } from "../ops/log/mod.ts";
import type { Platform, RoleHandle, RoleStart } from "./platform.ts";
import { type CurrentRole, revocationOf } from "./role_source.ts";

/** What was read, and what of it must be watched. */
export interface LoadedRole extends CurrentRole {
  /** Every file that was read. */
  readonly paths: readonly string[];
}

export interface RoleReloaderOptions {
  readonly platform: Platform;
  readonly log: Log;
  /** Reads settings and files anew. Rejects with the words for what is wrong. */
  readonly load: () => Promise<LoadedRole>;
}

/** How one reading anew ended, whoever asked for it. */
export interface ReloadResult {
  /** Why it was refused; "" when the role went over to it. */
  readonly error: string;
  /** It came as far as the data plane, which counts what it takes and refuses itself. */
  readonly wasHandedOver: boolean;
}

const LOOK_INTERVAL_MS = 1_000;

export class RoleReloader {
  readonly #options: RoleReloaderOptions;
  #current: LoadedRole;
  #handle: RoleHandle | null = null;
  #onResult: (result: ReloadResult) => void = () => {};
  #running: Promise<void> | null = null;
  #isAskedAgain = false;
  #timer: ReturnType<typeof setInterval> | null = null;
  /** What the files looked like when they were read, and at the last look. */
  #read = "";
  #seen = "";

  constructor(options: RoleReloaderOptions, current: LoadedRole) {
    this.#options = options;
    this.#current = current;
  }

  /** What the role runs with. */
  get current(): CurrentRole {
    return this.#current;
  }

  /** Says from now on how each reading ended. */
  onResult(listener: (result: ReloadResult) => void): void {
    this.#onResult = listener;
  }

  /** The role runs: from now on its files are watched. */
  async begin(handle: RoleHandle): Promise<void> {
    this.#handle = handle;
    this.#read = this.#seen = await this.#fingerprint();
    this.#timer = setInterval(() => void this.#look(), LOOK_INTERVAL_MS);
    if (this.#isAskedAgain) this.request("SIGHUP received");
  }

  end(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#handle = null;
  }

  /** Reads anew, once more if it is asked while it reads. `why` begins the line in the log. */
  request(why: string): void {
    if (this.#handle === null || this.#running !== null) this.#isAskedAgain = true;
    // The log has said it.
    else this.#begin(why).catch(() => {});
  }

  /** As {@linkcode request} for who waits: resolves to what changed, a sentence each; rejects with why it was refused. */
  async run(why: string): Promise<readonly string[]> {
    while (this.#running !== null) await this.#running;
    if (this.#handle === null) throw new PosternError("the role is not at work", { code: "reload" });
    return await this.#begin(why);
  }

  #begin(why: string): Promise<readonly string[]> {
    this.#isAskedAgain = false;
    const reading = this.#reload(why);
    this.#running = reading.then(() => {}, () => {}).finally(() => {
      this.#running = null;
      if (this.#isAskedAgain) this.request(why);
    });
    return reading;
  }

  async #reload(why: string): Promise<readonly string[]> {
    const { log, load } = this.#options;
    log.sink({ level: "info", event: "reloading", message: `${why} — reloading TLS certificates...`, fields: {} });
    this.#read = this.#seen = await this.#fingerprint();
    let wasHandedOver = false;
    try {
      const loaded = await load();
      const before = this.#current;
      const level = changedLevel(before, loaded);
      wasHandedOver = true;
      await this.#handle?.reload(loaded.start);
      if (level !== null) log.setLevel(level.text, level.source);
      this.#current = loaded;
      for (const notice of loaded.start.material.notices) if (notice.level === "warn") log.sink(notice);
      const kept = this.#noteUnchangeable(before.start, loaded.start);
      const { cert, key } = materialFiles(loaded.start);
      const names = `cert=${cert}, key=${key}`;
      // A field that is called `key` would be taken for one, and hidden.
      const fields = { cert_file: cert, key_file: key };
      this.#onResult({ error: "", wasHandedOver });
      log.sink({ level: "info", event: "reloaded", message: `TLS certificates reloaded (${names})`, fields });
      return [`TLS certificates reloaded (${names})`, ...(level === null ? [] : [`The log level is ${log.filter()}`]), ...kept];
    } catch (error) {
      this.#onResult({ error: messageOf(error), wasHandedOver });
      log.sink({
        level: "error",
        event: "reload-failed",
        message: `Failed to reload TLS certificates: ${messageOf(error)}. Keeping previous config.`,
        fields: {},
      });
      throw error;
    }
  }

  async #look(): Promise<void> {
    const looksLike = await this.#fingerprint();
    const wasStill = looksLike === this.#seen;
    this.#seen = looksLike;
    if (this.#handle === null || this.#running !== null) return;
    // Files that are still being written are left until they are done.
    if (looksLike !== this.#read) {
      if (wasStill) this.request("A file has changed");
      return;
    }
    const revocation = revocationOf(this.#current.start);
    if (revocation !== null && revocation.nextLookMs <= this.#options.platform.nowMs()) {
      this.request("A revocation list's time is over");
    }
  }

  async #fingerprint(): Promise<string> {
    const { platform } = this.#options;
    return (await Promise.all(this.#current.paths.map((path) => platform.fileFingerprint(path)))).join(" ");
  }

  #noteUnchangeable(before: RoleStart, after: RoleStart): readonly string[] {
    const changed = fixedSettings(before).flatMap(([name, text], at) => fixedSettings(after)[at]?.[1] === text ? [] : [name]);
    if (changed.length === 0) return [];
    const message = `Changed settings take effect at the next start: ${changed.join(", ")}`;
    this.#options.log.sink({ level: "warn", event: "settings-warning", message, fields: {} });
    return [message];
  }
}

/** The files that a role is started with. */
export function materialPaths({ settings }: RoleStart): string[] {
  const paths = settings.role === "server"
    ? [
      settings.certPath,
      settings.keyPath,
      settings.caCertPath,
      ...settings.crlPaths,
      settings.denyListPath,
      settings.retryKeyPath,
      ...settings.tokenKeyPaths,
    ]
    : [settings.clientCertPath, settings.clientKeyPath, settings.caCertPath, settings.tokenPath, settings.tokenKeyPath];
  if (settings.role === "connector" && settings.p2p !== null) {
    paths.push(settings.p2p.certPath, settings.p2p.keyPath, settings.p2p.caCertPath, ...settings.p2p.crlPaths);
  }
  return paths.filter((path) => path !== null);
}

function materialFiles({ settings }: RoleStart): { readonly cert: string; readonly key: string } {
  if (settings.role === "server") return { cert: settings.certPath, key: settings.keyPath };
  return { cert: settings.clientCertPath ?? "-", key: settings.clientKeyPath ?? "-" };
}

/** The log level that was read, if it is another than was read before: what an operator has set meanwhile stays otherwise. */
function changedLevel(before: LoadedRole, after: LoadedRole): { readonly text: string; readonly source: string } | null {
  const text = after.start.settings.logLevel ?? "";
  if (text === (before.start.settings.logLevel ?? "")) return null;
  const source = formatSource(after.resolved.sources["log_level"] ?? { kind: "default" });
  // What cannot be read is refused before anything has changed.
  parseFilter(text, source);
  return { text, source };
}

/** What a role cannot change while it runs, by the name of its setting. */
function fixedSettings({ settings }: RoleStart): (readonly [name: string, text: string])[] {
  const common: [string, unknown][] = [
    ["cid_rotation_secs", settings.cidRotationMs],
    ["congestion_control", settings.congestionControl],
    ["allow_legacy_service_ids", settings.allowLegacyServiceIds],
    ["name", settings.name],
    ["log_format", settings.logFormat],
    ...opsSettings(settings.ops),
  ];
  const own: [string, unknown][] = settings.role === "server"
    ? [["bind", settings.listen], ["allow_connector_takeover", settings.allowConnectorTakeover], [
      "external_ip",
      settings.externalIp,
    ], ["workers", settings.workers]]
    : [
      ["server", settings.servers],
      ["server_name", settings.serverName],
      ["pin_sha256", settings.pins],
      ["packet_queue", settings.packetQueueMax],
    ];
  const more: [string, unknown][] = settings.role === "connector"
    ? [
      ["exit_on_denied", settings.exitsOnDenied],
      ["tcp_idle_timeout", settings.packetTimes.tcpIdleMs],
      ["tcp_drain_timeout", settings.packetTimes.tcpDrainMs],
      ["tcp_keepalive", settings.packetTimes.tcpKeepaliveMs],
      ["udp_idle_timeout", settings.packetTimes.udpIdleMs],
      ["p2p_bind", settings.p2p?.binds ?? null],
      ["external_ip", settings.p2p?.externalIp ?? null],
    ]
    : settings.role === "agent"
    ? [["forward", settings.forwards]]
    : [];
  return [...common, ...own, ...more].map(([name, value]) => [name, JSON.stringify(value)]);
}

/** How the process is seen and steered, by the name of its setting. */
function opsSettings(ops: OpsSettings): [string, unknown][] {
  return [
    ["metrics_addr", ops.metricsAddr],
    ["metrics_port", ops.metricsPort],
    ["metrics_cert", ops.metricsCertPath],
    ["metrics_key", ops.metricsKeyPath],
    ["metrics_ca", ops.metricsCaPath],
    ["metrics_acl", ops.metricsAcl],
    ["metrics_alias", ops.metricsAlias],
    ["unix_socket", ops.hasAdminSocket],
    ["unix_socket_path", ops.adminSocketPath],
    ["admin_uid", ops.adminUids],
    ["admin_gid", ops.adminGids],
    ["alert_webhook", ops.alertWebhook],
    ["events_max", ops.eventsMax],
    ["events_keep", ops.eventsKeepMs],
    ["log_file", ops.logFilePath],
  ];
}
