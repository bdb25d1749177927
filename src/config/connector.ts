/** The connector's settings: its server, and which services it offers from which backends. */

import * as z from "zod";
import { type HostPort, parseHostPort, parseServiceId, usageError } from "../base/mod.ts";
import { legacyHint, settingError } from "./problem.ts";
import { finishPacketTimes, type PacketTimes, packetTimeSettings } from "./packet_times.ts";
import { finishP2p, type P2pSettings, p2pSettings } from "./p2p.ts";
import { type CommonSettings, commonSettings, finishCommon } from "./process.ts";
import { formatSource, list, onOff, type Resolved, type RoleDefinition, type SettingTable, word } from "./setting.ts";
import { finishUplink, type UplinkSettings, uplinkSettings } from "./uplink.ts";
import { type BindAddress, bindAddress, isUnspecified, refuse, text } from "./value.ts";

/** One service and where it really runs. */
export interface ServiceBackend {
  readonly service: string;
  /** A DNS name or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
  /** `both`: what --forward names, for with earlier ztna-v1 connectors it is spoken to over either. */
  readonly protocol: "tcp" | "udp" | "both";
  /** How it is seen whether it is up. */
  readonly check: HealthCheck;
}

/** Not at all, by a TCP connection, or by the answer to an HTTP request for a path. */
export type HealthCheck = { readonly kind: "off" | "tcp" } | { readonly kind: "http"; readonly path: string };

/** An inner address under which agents know a service. */
export interface ServiceAddress {
  readonly service: string;
  readonly address: string;
  /** Null: any port. */
  readonly port: number | null;
}

/** What a connector is started with: plain data, it crosses isolates. */
export interface ConnectorSettings extends CommonSettings, UplinkSettings {
  readonly role: "connector";
  /** At least one. A service that is named several times has several backends, the first one preferred. */
  readonly services: readonly ServiceBackend[];
  readonly serviceAddresses: readonly ServiceAddress[];
  /** A registration that the server denies ends the role. */
  readonly exitsOnDenied: boolean;
  /** How long what agents began with packets may be silent. */
  readonly packetTimes: PacketTimes;
  /** Null: no agent connects directly, and nothing listens. */
  readonly p2p: P2pSettings | null;
}

/** A backend as it is written: `HOST:PORT`, `HOST:PORT/tcp` or `HOST:PORT/udp`. */
interface BackendEntry extends HostPort {
  /** Null when it is not said. */
  readonly protocol: "tcp" | "udp" | null;
}

/** `ID`, whose backend is `--forward`, or `ID=HOST:PORT[/udp]`. */
export interface ServiceEntry {
  readonly service: string;
  readonly backend: BackendEntry | null;
  readonly addresses: readonly BindAddress[];
  /** Null when it is not said. */
  readonly check: HealthCheck | null;
}

/** `off`, `tcp` or `/PATH` of every service, or `ID=...` of one. */
interface HealthEntry {
  readonly service: string | null;
  readonly check: HealthCheck;
}

/** `IP[:PORT]` of the only service, or `ID=IP[:PORT]`. */
interface ServiceAddressEntry extends BindAddress {
  readonly service: string | null;
}

/** The id's grammar is checked when `allow_legacy_service_ids` is known; a legacy id may have `=`, a backend cannot. */
const serviceText = text.transform((value, context): ServiceEntry => {
  const equals = value.lastIndexOf("=");
  if (equals < 0) return { service: value, backend: null, addresses: [], check: null };
  return { service: value.slice(0, equals), backend: parseBackend(value.slice(equals + 1), context), addresses: [], check: null };
});

const virtualIp = bindAddress.transform((value) => [value]);

/** A path has no spaces, which would end it in the request. */
const HEALTH_PATH = /^\/[\x21-\x7e]{0,1023}$/;

function parseHealth(value: string): HealthCheck | null {
  if (value === "off" || value === "tcp") return { kind: value };
  return HEALTH_PATH.test(value) ? { kind: "http", path: value } : null;
}

const HEALTH_WHY = "must be off, tcp, or a path that begins with /";
const health = text.transform((value, context) => parseHealth(value) ?? refuse(context, HEALTH_WHY));

/** A path may have `=`, and so may a legacy id; what begins with a slash has no id before it. */
const healthEntry = text.transform((value, context): HealthEntry => {
  const [, service = null, rest = value] = /^([^/].*?)=(off|tcp|\/.*)$/.exec(value) ?? [];
  const check = parseHealth(rest);
  return check === null ? refuse(context, `${HEALTH_WHY}, with ID= before it for one service`) : { service, check };
});

/** One entry of `services` in a file. */
const serviceObject = z.strictObject({
  id: text,
  backend: text.optional(),
  protocol: z.enum(["tcp", "udp"], { error: "must be tcp or udp" }).optional(),
  virtual_ip: virtualIp.optional(),
  virtualIp: virtualIp.optional(),
  health: health.optional(),
}, { error: "must be ID=HOST:PORT, or an object with id and backend" }).transform((value, context): ServiceEntry => {
  const backend = value.backend === undefined ? null : parseBackend(value.backend, context);
  return {
    service: value.id,
    backend: backend === null ? null : { ...backend, protocol: value.protocol ?? backend.protocol },
    addresses: value.virtual_ip ?? value.virtualIp ?? [],
    check: value.health ?? null,
  };
});

function parseBackend(value: string, context: z.RefinementCtx): BackendEntry {
  const suffix = /\/(tcp|udp)$/.exec(value);
  const backend = parseHostPort(suffix === null ? value : value.slice(0, suffix.index));
  if (!backend.ok) return refuse(context, `the backend ${backend.why}`);
  if (isUnspecified(backend.value.host)) return refuse(context, "the backend must name a host, not the unspecified address");
  return { ...backend.value, protocol: suffix === null ? null : suffix[1] === "udp" ? "udp" : "tcp" };
}

/** A legacy id may have `=`, an address cannot. */
const serviceAddress = text.transform((value, context): ServiceAddressEntry => {
  const equals = value.lastIndexOf("=");
  const parsed = bindAddress.safeParse(value.slice(equals + 1));
  if (!parsed.success) return refuse(context, parsed.error.issues[0]?.message ?? "must be an address");
  if (isUnspecified(parsed.data.address)) return refuse(context, "must not be the unspecified address");
  return { service: equals < 0 ? null : value.slice(0, equals), ...parsed.data };
});

const connectorTable = {
  ...uplinkSettings({ server: ["intermediate_server"], verifyPeer: [], caCert: [] }),
  service: list<readonly ServiceEntry[]>("ID[=HOST:PORT]", [{ service: "default", backend: null, addresses: [], check: null }], {
    isTypical: true,
    schema: z.union([
      z.array(z.union([serviceText, serviceObject])).min(1, { error: "must name a service" }),
      serviceText.transform((value) => [value]),
    ]),
    fallbackText: "default",
    example: ["web=127.0.0.1:8080"],
    summary:
      "A service to offer: ID with --forward, or ID=HOST:PORT[/udp] as often as needed; the same ID again is another backend",
    aliases: ["services"],
  }),
  forward: word<BackendEntry | null>("HOST:PORT", null, {
    schema: text.transform(parseBackend),
    example: "127.0.0.1:8080",
    fallbackText: "127.0.0.1:8080",
    summary: "The backend of a single --service ID, over TCP and UDP unless /tcp or /udp stands behind it",
  }),
  service_ip: list<readonly ServiceAddressEntry[]>("[ID=]IP[:PORT]", [], {
    schema: z.union([z.array(serviceAddress), serviceAddress.transform((value) => [value])]),
    example: ["web=10.100.0.2"],
    summary: "The address under which agents know a service, and its only port if one is given",
  }),
  health: list<readonly HealthEntry[]>("[ID=]off|tcp|/PATH", [], {
    schema: z.union([z.array(healthEntry), healthEntry.transform((value) => [value])]),
    example: ["web=/healthz"],
    summary:
      "How it is seen whether backends are up: by connecting (tcp, the default), by an HTTP request for a path, or not at all; of one service or of all",
  }),
  exit_on_denied: onOff(false, {
    summary: "End with exit code 1 when the server does not let us serve one of the services; otherwise it is tried again",
  }),
  ...packetTimeSettings,
  ...p2pSettings,
  ...commonSettings("connector"),
} satisfies SettingTable;

export type ConnectorTable = typeof connectorTable;

/** The connector's table of settings. */
export const CONNECTOR: RoleDefinition<ConnectorTable, ConnectorSettings> = {
  role: "connector",
  settings: connectorTable,
  positional: [],
  defaultFiles: ["/etc/postern/connector.yaml", "/etc/postern/connector.json", "/etc/ztna/connector.json", "./connector.json"],
  planned: [],
  finish: finishConnector,
};

const DEFAULT_BACKEND: BackendEntry = { host: "127.0.0.1", port: 8080, kind: "ipv4", protocol: null };

function finishConnector(resolved: Resolved<ConnectorTable>): ConnectorSettings {
  const { values, sources } = resolved;
  const alone = values.service.filter((entry) => entry.backend === null);
  if (alone.length > 0 && values.service.length > 1) {
    throw settingError(sources.service, alone[0]?.service, "has no backend", "write ID=HOST:PORT for each of several services");
  }
  if (alone.length === 0 && values.forward !== null) {
    throw usageError(
      `${formatSource(sources.forward)} and ${formatSource(sources.service)} both name a backend`,
      "use either --service ID --forward HOST:PORT, or --service ID=HOST:PORT as often as needed",
    );
  }
  const seen = new Set<string>();
  const checkOf = healthChecks(resolved);
  const services = values.service.map(({ service, backend, check }): ServiceBackend => {
    const id = parseServiceId(service, { legacy: values.allow_legacy_service_ids });
    if (!id.ok) throw settingError(sources.service, service, `the service id ${id.why}`, legacyHint(service));
    const { host, port, protocol } = backend ?? values.forward ?? DEFAULT_BACKEND;
    const kind = protocol ?? (backend === null ? "both" : "tcp");
    const entry: ServiceBackend = { service, host, port, protocol: kind, check: check ?? checkOf(service) };
    const key = JSON.stringify([service, host, port, kind]);
    if (seen.has(key)) throw settingError(sources.service, service, "is named twice with the same backend");
    seen.add(key);
    return entry;
  });
  const uplink = finishUplink(resolved, null);
  return {
    role: "connector",
    ...finishCommon(values),
    ...uplink,
    services,
    serviceAddresses: finishAddresses(resolved),
    exitsOnDenied: values.exit_on_denied,
    packetTimes: finishPacketTimes(resolved),
    p2p: finishP2p(resolved, uplink.caCertPath),
  };
}

/** The check of a service that does not say its own. What is said of one service wins over what is said of all. */
function healthChecks({ values, sources }: Resolved<ConnectorTable>): (service: string) => HealthCheck {
  const ids = new Set(values.service.map(({ service }) => service));
  const stranger = values.health.find(({ service }) => service !== null && !ids.has(service))?.service ?? null;
  if (stranger !== null) throw settingError(sources.health, stranger, "is not a service of this connector");
  return (id) =>
    (values.health.findLast(({ service }) => service === id) ?? values.health.findLast(({ service }) => service === null))?.check ??
      { kind: "tcp" };
}

function finishAddresses({ values, sources }: Resolved<ConnectorTable>): ServiceAddress[] {
  const ids = new Set(values.service.map(({ service }) => service));
  const [only] = ids;
  const ofObjects = values.service.flatMap(({ service, addresses }) => addresses.map((address) => ({ service, ...address })));
  const named = values.service_ip.map(({ service, address, port }): ServiceAddress => {
    if (service === null && ids.size === 1 && only !== undefined) return { service: only, address, port };
    if (service === null) throw settingError(sources.service_ip, address, "does not say whose", "write ID=IP for several services");
    if (!ids.has(service)) throw settingError(sources.service_ip, service, "is not a service of this connector");
    return { service, address, port };
  });
  const all = [...ofObjects, ...named];
  for (const { service, address } of all) {
    const other = all.find((one) => one.address === address && one.service !== service);
    if (other !== undefined) throw settingError(sources.service_ip, address, `is both ${service}'s and ${other.service}'s`);
  }
  return all;
}
