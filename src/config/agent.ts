/** The agent's settings: its server, and which local ports lead to which services. */

import * as z from "zod";
import { parsePort, parseServiceId, usageError } from "../base/mod.ts";
import { legacyHint, settingError } from "./problem.ts";
import { type CommonSettings, commonSettings, finishCommon } from "./process.ts";
import { list, type Resolved, type RoleDefinition, type SettingTable, word } from "./setting.ts";
import { finishUplink, type UplinkSettings, uplinkSettings } from "./uplink.ts";
import { parseBindAddress, portNumber, refuse, text } from "./value.ts";

/** A local TCP listener whose connections go to a service. */
export interface LocalForward {
  /** The IP address to listen on. */
  readonly address: string;
  /** 0 is any free one; the `ready` event names it. */
  readonly port: number;
  readonly service: string;
}

/** What an agent is started with: plain data, it crosses isolates. */
export interface AgentSettings extends CommonSettings, UplinkSettings {
  readonly role: "agent";
  /** At least one; no address twice. */
  readonly forwards: readonly LocalForward[];
}

/** `PORT=SERVICE` or `ADDRESS:PORT=SERVICE`; without an address it is 127.0.0.1. */
const localForward = text.transform((value, context): LocalForward => {
  const equals = value.indexOf("=");
  if (equals < 0) return refuse(context, "must be [ADDRESS:]PORT=SERVICE");
  const listen = value.slice(0, equals);
  const service = value.slice(equals + 1);
  if (/^[0-9]+$/.test(listen)) {
    const alone = parsePort(listen, { zero: true });
    return alone.ok ? { address: "127.0.0.1", port: alone.value, service } : refuse(context, alone.why);
  }
  const parsed = parseBindAddress(listen);
  if (typeof parsed === "string") return refuse(context, parsed);
  if (parsed.port === null) return refuse(context, "needs a port: [ADDRESS:]PORT=SERVICE");
  return { address: parsed.address, port: parsed.port, service };
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
  forward: list<readonly LocalForward[]>("[ADDRESS:]PORT=SERVICE", [], {
    isTypical: true,
    schema: z.union([z.array(localForward), localForward.transform((value) => [value])]),
    example: ["127.0.0.1:9000=web"],
    summary: "A local TCP port that leads to a service; port 0 is any free one",
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
  planned: ["serviceId", "services"].map((key) => ({
    key,
    isOff: (value) => value === null || Array.isArray(value) && value.length === 0,
    hint: 'virtual addresses are not in this version: write forward: ["127.0.0.1:9000=SERVICE"]',
  })),
  finish: finishAgent,
};

function finishAgent(resolved: Resolved<AgentTable>): AgentSettings {
  const { values, sources } = resolved;
  const uplink = finishUplink(resolved, values.server_port);
  if (values.forward.length === 0) {
    throw usageError("the agent has nothing to forward", "name a local port and a service: --forward 127.0.0.1:9000=web");
  }
  const seen = new Set<string>();
  for (const { address, port, service } of values.forward) {
    const id = parseServiceId(service, { legacy: values.allow_legacy_service_ids });
    if (!id.ok) throw settingError(sources.forward, service, `the service id ${id.why}`, legacyHint(service));
    const key = `${address} ${port}`;
    if (port !== 0 && seen.has(key)) throw settingError(sources.forward, `${address}:${port}`, "is forwarded twice");
    seen.add(key);
  }
  return { role: "agent", ...finishCommon(values), ...uplink, forwards: values.forward };
}
