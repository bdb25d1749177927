/**
 * A running role as seeing and steering looks at it: settings, material and counters are at hand, the data plane is asked. It
 * exists before the data plane does, so that a role that is still starting can be looked at.
 */
import {
  type CertificateStatus,
  type MetricSample,
  PosternError,
  readMetrics,
  type RevocationListStatus,
  type SettingStatus,
  type StatusExtent,
  type StatusSnapshot,
} from "../base/mod.ts";
import { formatSource, type Resolved, type RevocationMaterial, type SettingTable, type ValueSource } from "../config/mod.ts";
import type { OpsSource, Steering, TrafficTotals } from "../ops/mod.ts";
import { takeSnapshot, trafficTotals } from "../roles/control/mod.ts";
import { settingText } from "./setting_text.ts";
import type { Platform, RoleHandle, RoleStart } from "./platform.ts";

/** What the role runs with now; a reload replaces it. */
export interface CurrentRole {
  readonly start: RoleStart;
  readonly table: SettingTable;
  readonly resolved: Resolved<SettingTable>;
}

export interface RoleSourceOptions {
  readonly platform: Platform;
  readonly current: () => CurrentRole;
  /** Reads settings and files anew. Resolves to what changed; rejects with why it was refused. */
  readonly reload: () => Promise<readonly string[]>;
  /** Why the role is not ready though it runs, beside what can be seen of it. */
  readonly waits: () => readonly string[];
  /** Begins the graceful end. */
  readonly stop: (why: string) => void;
}

const RELOAD_FAILURES = "ztna_reload_failures_total";

export class RoleSource implements OpsSource {
  readonly role: RoleStart["settings"]["role"];
  readonly version: string;
  readonly steering: Steering;
  readonly #options: RoleSourceOptions;
  readonly #startedAtMs: number;
  #handle: RoleHandle | null = null;
  #isStopping = false;
  #refusedLoads = 0;
  /** What {@linkcode certificates} found for this start. */
  #read: { readonly start: RoleStart; readonly certificates: readonly CertificateStatus[] } | null = null;

  constructor(options: RoleSourceOptions) {
    this.#options = options;
    this.role = options.current().start.settings.role;
    this.version = options.platform.version;
    this.#startedAtMs = options.platform.nowMs();
    this.steering = {
      reload: options.reload,
      drain: () => {
        this.#running();
        options.stop("An operator asked");
        return Promise.resolve();
      },
      disconnect: (peerId) => this.#disconnect(peerId),
      denySerial: (serial) => this.#denySerial(serial),
    };
  }

  /** The data plane is at work. */
  began(handle: RoleHandle): void {
    this.#handle = handle;
  }

  /** The graceful end has begun. */
  ending(): void {
    this.#isStopping = true;
  }

  /** Files or settings were refused before the data plane heard of them. Its cells are its own, so that is counted here. */
  refusedToLoad(): void {
    this.#refusedLoads++;
  }

  async status(extent?: StatusExtent): Promise<StatusSnapshot> {
    const handle = this.#handle;
    const plane = handle === null ? null : await handle.host.status(extent);
    return takeSnapshot({
      settings: this.#options.current().start.settings,
      version: this.version,
      addresses: handle?.host.addresses ?? [],
      startedAtMs: this.#startedAtMs,
      nowMs: this.#options.platform.nowMs(),
      isStopping: this.#isStopping,
      troubles: [...this.#troubles(), ...this.#options.waits()],
      metrics: handle?.host.metrics ?? null,
      plane,
    });
  }

  metrics(): readonly MetricSample[] {
    if (this.#handle === null) return [];
    return readMetrics(this.#handle.host.metrics).map((sample) =>
      sample.definition.name === RELOAD_FAILURES ? { ...sample, value: sample.value + this.#refusedLoads } : sample
    );
  }

  traffic(): TrafficTotals {
    return this.#handle === null ? { bytes: 0, datagrams: 0 } : trafficTotals(this.#handle.host.metrics);
  }

  certificates(): readonly CertificateStatus[] {
    const { start } = this.#options.current();
    if (this.#read?.start !== start) this.#read = { start, certificates: certificatesOf(start, this.#options.platform) };
    return this.#read.certificates;
  }

  revocationLists(): readonly RevocationListStatus[] {
    const lists = revocationOf(this.#options.current().start)?.lists ?? [];
    return lists.flatMap(({ path, issuer, nextUpdateMs }) => nextUpdateMs === null ? [] : [{ path, issuer, nextUpdateMs }]);
  }

  configuration(): readonly SettingStatus[] {
    const { table, resolved } = this.#options.current();
    return Object.keys(table).map((key) => ({
      key,
      value: settingText(table, key, resolved.given[key]),
      source: sourceText(resolved.sources[key] ?? { kind: "default" }),
    }));
  }

  async #disconnect(peerId: string): Promise<boolean> {
    const { host } = this.#running();
    const peer = Number(peerId);
    return String(peer) === peerId && await host.disconnect(peer);
  }

  #denySerial(serial: string): Promise<number> {
    const { settings } = this.#options.current().start;
    if (settings.role !== "server" && (settings.role !== "connector" || settings.p2p === null)) {
      throw new PosternError(`the ${this.role} judges no certificates of clients`, { code: "deny", hint: "say it to the server" });
    }
    return this.#running().host.deny({ serial, issuer: null });
  }

  #running(): RoleHandle {
    if (this.#handle !== null) return this.#handle;
    throw new PosternError("the role has not begun yet", { code: "starting", hint: "try again in a moment" });
  }

  #troubles(): string[] {
    const identity = this.certificates().find(({ purpose }) => purpose === "identity");
    if (identity === undefined || identity.notAfterMs > this.#options.platform.nowMs()) return [];
    return [`its certificate ended on ${new Date(identity.notAfterMs).toISOString()}`];
  }
}

/** The revocation lists of a role that clients connect to; null for another. */
export function revocationOf({ material }: RoleStart): RevocationMaterial | null {
  return material.server?.revocation ?? material.p2p?.revocation ?? null;
}

/** `flag --port`, `environment POSTERN_PORT`, `file server.json:3 port`, `default`. */
function sourceText(source: ValueSource): string {
  const kinds = { flag: "flag ", variable: "environment ", file: "file ", position: "", default: "" } as const;
  return kinds[source.kind] + formatSource(source);
}

/** The identity and the authorities that were named. The system's own bundle is not shown: it is not ours to renew. */
function certificatesOf(start: RoleStart, platform: Platform): CertificateStatus[] {
  const { settings, material } = start;
  const lists = revocationOf(start)?.lists ?? [];
  const status = (purpose: string, path: string) => (summary: ReturnType<Platform["readCertificates"]>[number]) => {
    const { subject, issuer, serial, notBeforeMs, notAfterMs, isSelfSigned } = summary;
    const ofIssuer = lists.filter((list) => list.issuer === issuer);
    const isRevoked = ofIssuer.length === 0 ? null : ofIssuer.some((list) => list.serials.includes(serial));
    return { purpose, path, subject, issuer, serial, notBeforeMs, notAfterMs, isSelfSigned, isRevoked };
  };
  const own = settings.role === "server" ? settings.certPath : settings.clientCertPath ?? "";
  const { identity, trustPem } = material;
  const leaf = identity === null ? [] : platform.readCertificates(identity.certificateChainPem).slice(0, 1);
  const authorities = trustPem === null || settings.caCertPath === null ? [] : platform.readCertificates(trustPem);
  const all = [...leaf.map(status("identity", own)), ...authorities.map(status("ca", settings.caCertPath ?? ""))];
  if (settings.role !== "connector" || settings.p2p === null || material.p2p === undefined) return all;
  const shown = platform.readCertificates(material.p2p.identity.certificateChainPem).slice(0, 1);
  return [...all, ...shown.map(status("p2p", settings.p2p.certPath))];
}
