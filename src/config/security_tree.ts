/**
 * The `security:` tree that a configuration file may have beside or instead of the flat keys: TLS, client certificates, certificate
 * management, encryption, auditing, monitoring. Each of its keys is one row here: another name of a setting, a value that nothing
 * else is right for, or a feature that this version does not have, which a file may only switch off. Nothing is ignored in silence.
 */

import * as z from "zod";
import type { ConfigFile } from "./file.ts";
import type { ProblemList } from "./problem.ts";
import type { Role } from "./setting.ts";
import { duration, path, text } from "./value.ts";

/** The key of the tree in a file. */
export const SECURITY_KEY = "security";

type Meaning =
  /** The setting of each role that it is another name of; `valueOf` turns what stands there into what a file would hold. */
  | {
    readonly kind: "setting";
    readonly keys: Readonly<Record<Role, string | null>>;
    readonly valueOf: (value: unknown) => unknown;
  }
  /** There is one right value, and `why` says so when another is given. */
  | { readonly kind: "fixed"; readonly isRight: (value: unknown) => boolean; readonly why: string; readonly hint?: string }
  /** A feature that is not built: `isOff` says which values ask for nothing. */
  | { readonly kind: "planned"; readonly isOff: (value: unknown) => boolean; readonly hint: string }
  /** Says how a feature would work that another key switches on, or something that is so anyway. */
  | { readonly kind: "idle"; readonly why: string };

export interface TreeRow {
  /** `tls.cert_file`, below {@linkcode SECURITY_KEY}. */
  readonly path: string;
  readonly schema: z.ZodType;
  readonly meaning: Meaning;
}

const same = (value: unknown) => value;
const isFalse = (value: unknown) => value === false;
const isEmpty = (value: unknown) => value === "" || Array.isArray(value) && value.length === 0;

function setting(keys: Readonly<Record<Role, string | null>>, valueOf: (value: unknown) => unknown = same): Meaning {
  return { kind: "setting", keys, valueOf };
}

/** The same key in every role. */
function common(key: string, valueOf: (value: unknown) => unknown = same): Meaning {
  return setting({ server: key, connector: key, agent: key }, valueOf);
}

const OUTSIDE = "certificates that are renewed outside are read anew by themselves: write auto_renew: false and provider: manual";
const OF_RENEWAL: Meaning = { kind: "idle", why: "of cert_management.auto_renew" };
const OF_ENCRYPTION: Meaning = { kind: "idle", why: "of encryption.enabled" };

let rows: readonly TreeRow[] | null = null;

/** Every key of the tree, in the order of the manual. Made when somebody has such a tree: most never do. */
export function securityTree(): readonly TreeRow[] {
  return rows ??= [...transportRows(), ...materialRows(), ...watchRows()];
}

function transportRows(): TreeRow[] {
  const bool = z.boolean({ error: "must be true or false" });
  return [
    row("tls.enabled", bool, { kind: "fixed", isRight: (value) => value === true, why: "TLS cannot be turned off" }),
    row("tls.min_version", z.union([z.string(), z.number()], { error: 'must be "1.3"' }), {
      kind: "fixed",
      isRight: (value) => value === "1.3" || value === 1.3,
      why: 'must be "1.3": nothing older is spoken',
    }),
    row("tls.cert_file", path, setting({ server: "cert", connector: "client_cert", agent: "client_cert" })),
    row("tls.key_file", path, setting({ server: "key", connector: "client_key", agent: "client_key" })),
    row("tls.ca_file", path, common("ca_cert")),
    row("tls.session_cache_size", z.int({ error: "must be a whole number" }), {
      kind: "idle",
      why: "no session is ever resumed: each connection shows its certificate",
    }),
    row("mtls.enabled", bool, {
      kind: "fixed",
      isRight: (value) => value === true,
      why: "mutual TLS cannot be turned off as a whole",
      hint: "a server takes clients without certificates with require_client_cert: false",
    }),
    row("mtls.require_client_cert", bool, setting({ server: "require_client_cert", connector: null, agent: null })),
    row("mtls.verify_peer", bool, common("verify_peer")),
  ];
}

function materialRows(): TreeRow[] {
  const bool = z.boolean({ error: "must be true or false" });
  const count = z.int({ error: "must be a whole number" }).min(0, { error: "must not be negative" });
  return [
    row("cert_management.auto_renew", bool, { kind: "planned", isOff: isFalse, hint: OUTSIDE }),
    row("cert_management.renew_before", duration, OF_RENEWAL),
    row("cert_management.provider", z.enum(["vault", "acme", "manual"], { error: "must be vault, acme or manual" }), {
      kind: "planned",
      isOff: (value) => value === "manual",
      hint: OUTSIDE,
    }),
    row("cert_management.vault.address", text, OF_RENEWAL),
    row("cert_management.vault.token_file", path, OF_RENEWAL),
    row("cert_management.vault.pki_path", text, OF_RENEWAL),
    row("cert_management.vault.role", text, OF_RENEWAL),
    row("cert_management.vault.token_ttl", duration, OF_RENEWAL),
    row("cert_management.acme.enabled", bool, { kind: "planned", isOff: isFalse, hint: OUTSIDE }),
    row("cert_management.acme.domains", z.array(text), OF_RENEWAL),
    row("cert_management.acme.email", z.string({ error: "must be text" }), OF_RENEWAL),
    row("cert_management.acme.cache_dir", path, OF_RENEWAL),
    row("cert_management.acme.renew_before", duration, OF_RENEWAL),
    row("cert_management.acme.use_staging", bool, OF_RENEWAL),
    row("cert_management.acme.http_challenge_port", count, OF_RENEWAL),
    row("encryption.enabled", bool, {
      kind: "planned",
      isOff: isFalse,
      hint: "nothing is kept encrypted in this version: write false",
    }),
    row("encryption.algorithm", z.literal("AES-256-GCM", { error: "must be AES-256-GCM" }), OF_ENCRYPTION),
    row("encryption.key_derivation", z.enum(["argon2id", "pbkdf2"], { error: "must be argon2id or pbkdf2" }), OF_ENCRYPTION),
    row("encryption.key_length", count, OF_ENCRYPTION),
    row("encryption.argon2.time", count, OF_ENCRYPTION),
    row("encryption.argon2.memory", count, OF_ENCRYPTION),
    row("encryption.argon2.threads", count, OF_ENCRYPTION),
    row("encryption.pbkdf2.iterations", count, OF_ENCRYPTION),
  ];
}

function watchRows(): TreeRow[] {
  const bool = z.boolean({ error: "must be true or false" });
  const count = z.int({ error: "must be a whole number" }).min(0, { error: "must not be negative" });
  return [
    row("auditing.enabled", bool, {
      kind: "fixed",
      isRight: (value) => value === true,
      why: "security events cannot be turned off",
    }),
    row("auditing.max_events", count, common("events_max")),
    row("auditing.clear_old_events_after", text, common("events_keep")),
    row("auditing.export_path", z.string({ error: "must be text" }), {
      kind: "planned",
      isOff: isEmpty,
      hint: "`postern events --json` and the admin API have the events: remove it",
    }),
    row("auditing.alerts.enabled", bool, { kind: "idle", why: "alerts are sent where webhook_url is set" }),
    row(
      "auditing.alerts.webhook_url",
      z.string({ error: "must be text" }),
      common("alert_webhook", (url) => url === "" ? null : url),
    ),
    row("auditing.alerts.email_recipients", z.array(text), {
      kind: "planned",
      isOff: isEmpty,
      hint: "let what listens at webhook_url send mail",
    }),
    row("monitoring.metrics_port", count, common("metrics_port")),
    row("monitoring.prometheus.enabled", bool, {
      kind: "fixed",
      isRight: (value) => value === true,
      why: "is so whenever there is a metrics listener",
      hint: "metrics_port: 0 turns the listener off",
    }),
    row("monitoring.prometheus.path", text, {
      kind: "fixed",
      isRight: (value) => value === "/metrics",
      why: "must be /metrics: metrics stand nowhere else",
    }),
    row("monitoring.logging.level", text, common("log_level")),
    row(
      "monitoring.logging.format",
      z.enum(["json", "console"], { error: "must be json or console" }),
      common("log_format", (format) => format === "console" ? "text" : format),
    ),
  ];
}

function row(path: string, schema: z.ZodType, meaning: Meaning): TreeRow {
  return { path, schema, meaning };
}

/** The strict schema of the whole tree; every key is optional. */
export function securitySchema(): z.ZodType {
  return schemaOf(securityTree(), "");
}

function schemaOf(rows: readonly TreeRow[], prefix: string): z.ZodType {
  const shape: Record<string, z.ZodType> = {};
  for (const { path, schema } of rows) {
    const [name = "", ...rest] = path.slice(prefix.length).split(".");
    if (rest.length === 0) shape[name] = schema.optional();
    else {
      const inside = `${prefix}${name}.`;
      shape[name] ??= schemaOf(rows.filter((one) => one.path.startsWith(inside)), inside).optional();
    }
  }
  return z.strictObject(shape);
}

/** A setting that the tree gives: its key, what a file would hold, and where it stands. */
export interface TreeValue {
  readonly key: string;
  readonly raw: unknown;
  readonly path: readonly string[];
}

export interface TreeReading {
  readonly values: readonly TreeValue[];
  /** What stands there and changes nothing, a sentence each. */
  readonly warnings: readonly string[];
}

/** Reads the tree of a file whose shape was found right. `placeOf` names a place in it. */
export function readSecurityTree(
  role: Role,
  file: ConfigFile,
  problems: ProblemList,
  placeOf: (path: readonly PropertyKey[]) => string,
): TreeReading {
  const values: TreeValue[] = [], idle: string[] = [];
  if (!(SECURITY_KEY in file.value)) return { values, warnings: idle };
  const isAlerting = at(file.value, [SECURITY_KEY, "auditing", "alerts", "enabled"]) !== false;
  for (const { path: text, meaning } of securityTree()) {
    const path = [SECURITY_KEY, ...text.split(".")];
    const value = at(file.value, path);
    if (value === undefined) continue;
    if (meaning.kind === "fixed" && !meaning.isRight(value)) {
      problems.add({
        place: placeOf(path),
        value,
        why: meaning.why,
        ...(meaning.hint === undefined ? {} : { hint: meaning.hint }),
      });
    } else if (meaning.kind === "planned" && !meaning.isOff(value)) {
      problems.add({ place: placeOf(path), value, why: "is not in this version", hint: meaning.hint });
    } else if (meaning.kind === "idle" && text === "tls.session_cache_size" && value !== 0) {
      idle.push(`${placeOf(path)} has no effect: ${meaning.why}`);
    } else if (meaning.kind === "setting") {
      const key = meaning.keys[role];
      const raw = meaning.valueOf(value);
      if (key === "alert_webhook" && !isAlerting || raw === null) continue;
      if (key !== null) values.push({ key, raw, path });
      else if (value === true && at(file.value, [SECURITY_KEY, "tls", "cert_file"]) === undefined) {
        idle.push(`${placeOf(path)} has no effect here: it is the server that requires certificates`);
      }
    }
  }
  return { values, warnings: idle };
}

/** What stands at a path, or undefined. */
function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (inside, step) => typeof inside === "object" && inside !== null ? (inside as Record<string, unknown>)[step] : undefined,
    value,
  );
}
