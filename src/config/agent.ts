/** The agent's settings: its server, and which local ports lead to which services. */

import * as z from "zod";
import { parsePort, parseServiceId, usageError } from "../base/mod.ts";
import { legacyHint, settingError } from "./problem.ts";
import { type CommonSettings, commonSettings, finishCommon } from "./process.ts";
import { list, onOff, type Resolved, type RoleDefinition, type SettingTable, word } from "./setting.ts";
import { finishUplink, type UplinkSettings, uplinkSettings } from "./uplink.ts";
import { canonicalIp, isLoopback, isUnspecified, parseBindAddress, portNumber, refuse, text } from "./value.ts";

/** A local port that leads to a service. */
export interface LocalForward {
  /** The IP address to listen on. */
  readonly address: string;
  /** 0 is any free one; the `ready` event names it. */
  readonly port: number;
  readonly service: string;
  readonly protocol: "tcp" | "udp";
  /** The port of the service's inner address that packets are sent to; null: the local port. */
  readonly servicePort: number | null;
}

/** An inner address of a service: one of IPv4 and one of IPv6 at most. */
export interface VirtualAddress {
  readonly service: string;
  readonly address: string;
}

/** What an agent is started with: plain data, it crosses isolates. */
export interface AgentSettings extends CommonSettings, UplinkSettings {
  readonly role: "agent";
  /** Ports for SOCKS5 and HTTP CONNECT; at least one of these or a forward. */
  readonly proxies: readonly { readonly address: string; readonly port: number }[];
  /** No address twice for one protocol. */
  readonly forwards: readonly LocalForward[];
  /** No service and no address twice. */
  readonly virtualAddresses: readonly VirtualAddress[];
  /** The name of a network interface that leads to the services; null: there is none. */
  readonly tun: string | null;
  /** Whether it looks for direct paths to connectors. */
  readonly p2p: boolean;
}

/** UDP forwards of one agent: each has a part of the data plane's memory. */
const UDP_FORWARDS_MAX = 64;
const PROXY_FORM = "[ADDRESS:]PORT";
const PROXIES_MAX = 8;
const FORWARD_FORM = "[ADDRESS:]PORT=SERVICE[:PORT][/udp]";

/** `PORT=SERVICE` or `ADDRESS:PORT=SERVICE` (without an address it is 127.0.0.1), and what may stand behind the service. */
const localForward = text.transform((value, context): LocalForward => {
  const equals = value.indexOf("=");
  if (equals < 0) return refuse(context, `must be ${FORWARD_FORM}`);
  const listen = parseListen(value.slice(0, equals), FORWARD_FORM);
  if (typeof listen === "string") return refuse(context, listen);
  const target = /^(.*?)(?::([0-9]+))?(?:\/(tcp|udp))?$/s.exec(value.slice(equals + 1));
  const [, service = "", portText, protocol] = target ?? [];
  const servicePort = portText === undefined ? null : parsePort(portText);
  if (servicePort !== null && !servicePort.ok) return refuse(context, `the service's port ${servicePort.why}`);
  return { ...listen, service, protocol: protocol === "udp" ? "udp" : "tcp", servicePort: servicePort?.value ?? null };
});

/** Where to listen: `PORT` of 127.0.0.1, or `ADDRESS:PORT`; or why that is none. */
function parseListen(value: string, form: string): { readonly address: string; readonly port: number } | string {
  if (/^[0-9]+$/.test(value)) {
    const alone = parsePort(value, { zero: true });
    return alone.ok ? { address: "127.0.0.1", port: alone.value } : alone.why;
  }
  const parsed = parseBindAddress(value);
  if (typeof parsed === "string") return parsed;
  return parsed.port === null ? `needs a port: ${form}` : { address: parsed.address, port: parsed.port };
}

const proxyListen = z.union([text, z.int().min(0).max(65535)], { error: `must be ${PROXY_FORM}` }).transform((value, context) => {
  const listen = parseListen(String(value), PROXY_FORM);
  return typeof listen === "string" ? refuse(context, listen) : listen;
});

/** `SERVICE=ADDRESS`, or an object of both as earlier agents have it. A legacy id may have `=`, an address cannot. */
const virtualAddress = z.union([text, z.strictObject({ id: text, virtualIp: text })]).transform(
  (value, context): VirtualAddress => {
    const equals = typeof value === "string" ? value.lastIndexOf("=") : 0;
    const [service, address] = typeof value === "string"
      ? [value.slice(0, Math.max(0, equals)), value.slice(equals + 1)]
      : [value.id, value.virtualIp];
    if (equals < 0) return refuse(context, "must be SERVICE=ADDRESS");
    const canonical = canonicalIp(address);
    if (canonical === null) return refuse(context, "must be an IP address");
    return isUnspecified(canonical) ? refuse(context, "must not be the unspecified address") : { service, address: canonical };
  },
);

/** As the kernel takes it: IFNAMSIZ is 16. */
const interfaceName = text.refine((value) => /^[a-zA-Z][a-zA-Z0-9_.-]*(?:%d)?$/.test(value) && value.length <= 15, {
  error: "must be 1 to 15 letters, digits, _, . or -, beginning with a letter",
});

const agentTable = {
  ...uplinkSettings({ server: ["serverHost"], verifyPeer: ["verifyPeer"], caCert: ["caCertPath"] }),
  server_port: word<number | null>("PORT", null, {
    schema: portNumber(),
    isFileOnly: true,
    example: 4433,
    summary: "The server's port, where the file gives its host alone",
    aliases: ["serverPort"],
  }),
  forward: list<readonly LocalForward[]>(FORWARD_FORM, [], {
    isTypical: true,
    schema: z.union([z.array(localForward), localForward.transform((value) => [value])]),
    example: ["127.0.0.1:9000=web"],
    summary:
      "A local port, TCP or with /udp behind it UDP, that leads to a service; port 0 is any free one. The service's port is for packets only: without one it is the local port",
  }),
  proxy: list<AgentSettings["proxies"]>(PROXY_FORM, [], {
    isTypical: true,
    schema: z.union([z.array(proxyListen), proxyListen.transform((value) => [value])]),
    example: ["127.0.0.1:1080"],
    summary:
      "A local port for SOCKS5 and HTTP CONNECT, whose clients name services (web or web.ztna) instead of hosts; port 0 is any free one",
  }),
  allow_remote_clients: onOff(false, {
    summary:
      "Listen on other addresses than those of this machine alone: whoever reaches the port reaches the service as this agent",
  }),
  service_ip: list<readonly VirtualAddress[]>("SERVICE=IP", [], {
    schema: z.union([z.array(virtualAddress), virtualAddress.transform((value) => [value])]),
    example: ["web=10.100.0.2"],
    summary:
      "The address of a service in packets, where its connector names one; others get the next free one of 10.100.0.0/24. An IPv6 address beside it is for --tun",
    aliases: ["services"],
  }),
  tun: word<string | null>("NAME", null, {
    schema: interfaceName,
    example: "postern0",
    summary:
      "Make a network interface of this name (with %d in it: of the next free number), through which this machine's programs reach the services of --service-ip and --forward by address, and as SERVICE.ztna; needs CAP_NET_ADMIN",
  }),
  p2p: onOff(false, {
    summary:
      "Connect to connectors themselves where that is possible, which tells them the addresses of this machine; whatever cannot go there goes by the server",
  }),
  ...commonSettings("agent"),
} satisfies SettingTable;

export type AgentTable = typeof agentTable;

/** The agent's table of settings. */
export const AGENT: RoleDefinition<AgentTable, AgentSettings> = {
  role: "agent",
  settings: agentTable,
  positional: [],
  defaultFiles: ["/etc/postern/agent.yaml", "/etc/postern/agent.json"],
  planned: [{
    key: "serviceId",
    // Files of earlier agents name it beside its address among the services, and then it says nothing new.
    isOff: (value, { services }) => value === null || Array.isArray(services) && services.some((one) => one?.id === value),
    hint: 'services are named where they are used: write forward: ["127.0.0.1:9000=SERVICE"]',
  }],
  finish: finishAgent,
};

/** The settings of an agent for one connection: where the server is and what is shown there. Its ports are another's. */
export const CONNECT: RoleDefinition<AgentTable, AgentSettings> = {
  ...AGENT,
  finish: ({ values, ...rest }) => settingsOf({ ...rest, values: { ...values, forward: [], proxy: [], tun: null } }),
};

/** The settings of an agent for looking at its way to the server: it need not have anything to forward. */
export const DOCTOR: RoleDefinition<AgentTable, AgentSettings> = { ...AGENT, finish: settingsOf };

function finishAgent(resolved: Resolved<AgentTable>): AgentSettings {
  const { values, sources } = resolved;
  if (values.forward.length === 0 && values.proxy.length === 0 && values.tun === null) {
    throw usageError(
      "the agent has nothing to forward",
      "name a local port and a service: --forward 127.0.0.1:9000=web, or a port for SOCKS5 and HTTP CONNECT: --proxy 127.0.0.1:1080",
    );
  }
  if (values.tun !== null && values.forward.length + values.service_ip.length === 0) {
    throw settingError(sources.tun, values.tun, "leads to no service", "name one and its address: --service-ip web=10.100.0.2");
  }
  return settingsOf(resolved);
}

function settingsOf(resolved: Resolved<AgentTable>): AgentSettings {
  const { values, sources } = resolved;
  const uplink = finishUplink(resolved, values.server_port);
  if (values.p2p && (!uplink.verifyPeer || uplink.clientCertPath === null)) {
    throw settingError(
      sources.p2p,
      values.p2p,
      "needs certificates on both sides",
      "add --client-cert and --client-key, and leave the verification of peers on: a connector admits agents by certificates only",
    );
  }
  checkForwards(resolved);
  const seen = new Set<string>();
  for (const { service, address } of values.service_ip) {
    checkServiceId(resolved, "service_ip", service);
    for (const key of [`${service} ${address.includes(":")}`, address]) {
      if (seen.has(key)) throw settingError(sources.service_ip, key === address ? address : service, "stands there twice");
      seen.add(key);
    }
  }
  return {
    role: "agent",
    ...finishCommon(values),
    ...uplink,
    proxies: values.proxy,
    forwards: values.forward,
    virtualAddresses: values.service_ip,
    tun: values.tun,
    p2p: values.p2p,
  };
}

function checkForwards(resolved: Resolved<AgentTable>): void {
  const { values, sources } = resolved;
  const seen = new Set<string>();
  for (const { address, port, service, protocol } of values.forward) {
    checkServiceId(resolved, "forward", service);
    checkListen(resolved, "forward", address);
    const key = `${address} ${port} ${protocol}`;
    if (port !== 0 && seen.has(key)) throw settingError(sources.forward, `${address}:${port}`, "is forwarded twice");
    seen.add(key);
  }
  for (const { address, port } of values.proxy) {
    checkListen(resolved, "proxy", address);
    if (port !== 0 && seen.has(`${address} ${port} tcp`)) {
      throw settingError(sources.proxy, `${address}:${port}`, "is used twice");
    }
    seen.add(`${address} ${port} tcp`);
  }
  if (values.proxy.length > PROXIES_MAX) throw settingError(sources.proxy, values.proxy.length, `are more than ${PROXIES_MAX}`);
  if (values.forward.filter(({ protocol }) => protocol === "udp").length > UDP_FORWARDS_MAX) {
    throw settingError(sources.forward, "/udp", `stands there more than ${UDP_FORWARDS_MAX} times`);
  }
}

function checkServiceId({ values, sources }: Resolved<AgentTable>, key: "forward" | "service_ip", service: string): void {
  const id = parseServiceId(service, { legacy: values.allow_legacy_service_ids });
  if (!id.ok) throw settingError(sources[key], service, `the service id ${id.why}`, legacyHint(service));
}

/** Beyond this machine we listen only when told so. */
function checkListen({ values, sources }: Resolved<AgentTable>, key: "forward" | "proxy", address: string): void {
  if (values.allow_remote_clients || isLoopback(address)) return;
  const hint = "whoever reaches the port reaches the service as this agent: if that is wanted, add --allow-remote-clients";
  throw settingError(sources[key], address, "is not an address of this machine alone", hint);
}
