/** A server's plan: what its settings and material come to for the data plane, numbers and bytes only. */
import { PosternError } from "../../base/mod.ts";
import type { LimitKey, LimitSetting, RevocationMaterial, RoleMaterial, ServerSettings } from "../../config/mod.ts";
import { type DenyEntry, parseDenyList } from "../../core/auth/mod.ts";
import { METERED, RATE_LIMITS, type RateLimits } from "../../core/ratelimit/mod.ts";
import type { RevocationPlan, ServerPlan } from "./messages.ts";
import { tlsOf } from "./tls_material.ts";

/** Throws a PosternError when a list of denied serials cannot be read. */
export function serverPlan(settings: ServerSettings, material: RoleMaterial): ServerPlan {
  const keys = material.server?.addressKeys ?? null;
  return {
    role: "server",
    binds: settings.listen.map(({ address, port }) => ({ address, port })),
    tls: tlsOf(material),
    verifyPeer: settings.verifyPeer,
    requireClientCert: settings.requireClientCert,
    allowLegacyCerts: settings.allowLegacyCerts,
    allowAnonymous: settings.allowAnonymous.map(({ role, service }) => `${role}:${service}`),
    allowLegacyServiceIds: settings.allowLegacyServiceIds,
    allowConnectorTakeover: settings.allowConnectorTakeover,
    revocation: revocationPlan(material.server?.revocation ?? null, settings.denyListPath ?? ""),
    retryKeys: settings.retry ? keys?.retry ?? [] : null,
    resetKey: keys?.reset ?? null,
    tokenIssuers: material.server?.tokenIssuers ?? [],
    limits: rateLimits(settings.limits),
    cidRotationMs: settings.cidRotationMs,
    congestionControl: settings.congestionControl,
    ...(settings.workers === null ? {} : { workers: settings.workers }),
  };
}

/** The limits that were set over our own. */
export function rateLimits(settings: readonly LimitSetting[]): RateLimits {
  const count = (key: LimitKey, fallback: number) => lastOf(settings, key)?.amount ?? fallback;
  const rate = (key: LimitKey, fallback: RateLimits["handshakes"]["all"]) => {
    const set = lastOf(settings, key);
    if (set === undefined) return fallback;
    return set.amount === null ? null : { perSecond: set.amount, burst: set.burst ?? set.amount };
  };
  const { connections, services, flows, sessions, handshakes } = RATE_LIMITS;
  const metered = METERED.map((name) => [name, {
    connection: rate(`${name}-per-connection`, RATE_LIMITS[name].connection),
    source: rate(`${name}-per-source`, RATE_LIMITS[name].source),
    all: rate(`${name}-per-all`, RATE_LIMITS[name].all),
  }]);
  return {
    ...RATE_LIMITS,
    connections: {
      source: count("connections-per-source", connections.source),
      all: count("connections-per-all", connections.all),
    },
    services: {
      connection: count("services-per-connection", services.connection),
      source: count("services-per-source", services.source),
      identity: count("services-per-identity", services.identity),
    },
    flows: {
      connection: count("flows-per-connection", flows.connection),
      identity: count("flows-per-identity", flows.identity),
      anonymous: count("flows-per-anonymous", flows.anonymous),
    },
    sessions: {
      connection: count("sessions-per-connection", sessions.connection),
      identity: count("sessions-per-identity", sessions.identity),
    },
    handshakes: { source: rate("handshakes-per-source", handshakes.source), all: rate("handshakes-per-all", handshakes.all) },
    ...Object.fromEntries(metered),
  };
}

function lastOf(settings: readonly LimitSetting[], key: LimitKey): LimitSetting | undefined {
  return settings.findLast(({ name }) => name === key);
}

/** Whom the lists name. Throws a PosternError when the list of denied serials, at `denyListPath`, cannot be read. */
export function revocationPlan(material: RevocationMaterial | null, denyListPath: string): RevocationPlan {
  if (material === null) return { crlPem: null, toleratesStale: false, denied: [] };
  const denied: DenyEntry[] = material.lists.flatMap(({ issuer, serials }) => serials.map((serial) => ({ serial, issuer })));
  if (material.denyListText !== null) {
    const list = parseDenyList(material.denyListText);
    if (list.kind === "malformed") {
      throw new PosternError(`Deny list ${denyListPath}:${list.line}: ${list.why}`, {
        code: "deny-list",
        hint: "one entry a line: a serial number in hexadecimal, then optionally the issuer's name",
      });
    }
    denied.push(...list.entries);
  }
  return { crlPem: material.crlPem, toleratesStale: material.toleratesStale, denied };
}
