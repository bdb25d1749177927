/** The connector's settings: its server, and which services it offers from which backends. */

import { z } from "zod";
import { type HostPort, parseHostPort, parseServiceId, usageError } from "../base/mod.ts";
import { legacyHint, settingError } from "./problem.ts";
import { type CommonSettings, commonSettings, finishCommon } from "./process.ts";
import { formatSource, list, type Resolved, type RoleDefinition, type SettingTable, word } from "./setting.ts";
import { finishUplink, type UplinkSettings, uplinkSettings } from "./uplink.ts";
import { hostPort, isUnspecified, refuse, text } from "./value.ts";

/** One service and where it really runs. */
export interface ServiceBackend {
  readonly service: string;
  /** A DNS name or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
  readonly protocol: "tcp";
}

/** What a connector is started with: plain data, it crosses isolates. */
export interface ConnectorSettings extends CommonSettings, UplinkSettings {
  readonly role: "connector";
  /** At least one; no service twice. */
  readonly services: readonly ServiceBackend[];
}

/** `ID`, whose backend is `--forward`, or `ID=HOST:PORT`. */
export interface ServiceEntry {
  readonly service: string;
  readonly backend: HostPort | null;
}

/** The id's grammar is checked when `allow_legacy_service_ids` is known; a legacy id may have `=`, a backend cannot. */
const serviceText = text.transform((value, context): ServiceEntry => {
  const equals = value.lastIndexOf("=");
  if (equals < 0) return { service: value, backend: null };
  return { service: value.slice(0, equals), backend: parseBackend(value.slice(equals + 1), context) };
});

/** One entry of `services` in a file. */
const serviceObject = z.strictObject({
  id: text,
  backend: text.optional(),
  protocol: z.literal("tcp", { error: "must be tcp: other protocols are not in this version" }).optional(),
}, { error: "must be ID=HOST:PORT, or an object with id and backend" }).transform((value, context): ServiceEntry => ({
  service: value.id,
  backend: value.backend === undefined ? null : parseBackend(value.backend, context),
}));

function parseBackend(value: string, context: z.RefinementCtx): HostPort {
  const backend = parseHostPort(value);
  if (!backend.ok) return refuse(context, `the backend ${backend.why}`);
  if (isUnspecified(backend.value.host)) return refuse(context, "the backend must name a host, not the unspecified address");
  return backend.value;
}

const connectorTable = {
  ...uplinkSettings({ server: ["intermediate_server"], verifyPeer: [], caCert: [] }),
  service: list<readonly ServiceEntry[]>("ID[=HOST:PORT]", [{ service: "default", backend: null }], {
    isTypical: true,
    schema: z.union([
      z.array(z.union([serviceText, serviceObject])).min(1, { error: "must name a service" }),
      serviceText.transform((value) => [value]),
    ]),
    fallbackText: "default",
    example: ["web=127.0.0.1:8080"],
    summary: "A service to offer: ID with --forward, or ID=HOST:PORT as often as needed",
    aliases: ["services"],
  }),
  forward: word<HostPort | null>("HOST:PORT", null, {
    schema: hostPort,
    example: "127.0.0.1:8080",
    fallbackText: "127.0.0.1:8080",
    summary: "The backend of a single --service ID",
  }),
  ...commonSettings("connector"),
} satisfies SettingTable;

export type ConnectorTable = typeof connectorTable;

/** The connector's table of settings. */
export const CONNECTOR: RoleDefinition<ConnectorTable, ConnectorSettings> = {
  role: "connector",
  settings: connectorTable,
  positional: [],
  defaultFiles: ["/etc/postern/connector.yaml", "/etc/postern/connector.json", "/etc/ztna/connector.json", "./connector.json"],
  planned: [
    { key: "p2p", isOff: isNothing, hint: "remove it: this version has no direct connections" },
    { key: "metrics_port", isOff: (value) => value === 0, hint: "remove it, or say 0: this version has no metrics listener" },
  ],
  finish: finishConnector,
};

/** Null, false or an empty object. */
function isNothing(value: unknown): boolean {
  return value === null || value === false || typeof value === "object" && Object.keys(value).length === 0;
}

const DEFAULT_BACKEND: HostPort = { host: "127.0.0.1", port: 8080, kind: "ipv4" };

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
  const services = values.service.map(({ service, backend }): ServiceBackend => {
    const id = parseServiceId(service, { legacy: values.allow_legacy_service_ids });
    if (!id.ok) throw settingError(sources.service, service, `the service id ${id.why}`, legacyHint(service));
    if (seen.has(service)) throw settingError(sources.service, service, "is named twice");
    seen.add(service);
    const { host, port } = backend ?? values.forward ?? DEFAULT_BACKEND;
    return { service, host, port, protocol: "tcp" };
  });
  return { role: "connector", ...finishCommon(values), ...finishUplink(resolved, null), services };
}
