/** From settings and loaded material to the plan that crosses to the data plane: names are resolved, paths are bytes. */
import type {
  AgentSettings,
  ConnectorSettings,
  P2pSettings,
  RoleMaterial,
  ServerSettings,
  UplinkSettings,
} from "../../config/mod.ts";
import type { CommonSettings } from "../../config/mod.ts";
import { localAddresses } from "../../io/mod.ts";
import type { AgentPlan, ConnectorPlan, P2pPlan, RolePlan, ServerTarget, ServicePlan, UplinkPlan } from "./messages.ts";
import { revocationPlan, serverPlan } from "./server_plan.ts";
import { tlsOf } from "./tls_material.ts";

export type RoleSettings = ServerSettings | ConnectorSettings | AgentSettings;

/** Looks a name up; rejects when it has no address. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** Rejects when the server's name cannot be resolved. A backend's name may fail: its opens are refused until it can. */
export async function createPlan(settings: RoleSettings, material: RoleMaterial, resolve: Resolve): Promise<RolePlan> {
  switch (settings.role) {
    case "server":
      return serverPlan(settings, material);
    case "connector":
      return await connectorPlan(settings, material, resolve);
    case "agent":
      return await agentPlan(settings, material, resolve);
  }
}

async function connectorPlan(settings: ConnectorSettings, material: RoleMaterial, resolve: Resolve): Promise<ConnectorPlan> {
  const services = settings.services.map(async ({ service, host, port, protocol, check }): Promise<ServicePlan> => {
    const addresses = await resolve(host).catch((): readonly string[] => []);
    return { service, host, port, addresses, check, protocols: protocol === "both" ? ["tcp", "udp"] : [protocol] };
  });
  return {
    role: "connector",
    uplink: await uplinkPlan(settings, material, resolve),
    services: await Promise.all(services),
    destinations: settings.serviceAddresses,
    exitsOnDenied: settings.exitsOnDenied,
    packetTimes: settings.packetTimes,
    ...(settings.p2p === null || material.p2p === undefined ? {} : { p2p: p2pPlan(settings, settings.p2p, material.p2p) }),
  };
}

function p2pPlan(
  { congestionControl }: CommonSettings,
  { binds, externalIp }: P2pSettings,
  material: NonNullable<RoleMaterial["p2p"]>,
): P2pPlan {
  const { identity, trustPem, revocation } = material;
  return {
    binds,
    tls: { certificatePem: identity.certificateChainPem, keyPem: identity.privateKeyPem, trustPem },
    revocation: revocationPlan(revocation, ""),
    externalIp,
    congestionControl,
    hostAddresses: binds.flatMap(({ address }) =>
      address === "0.0.0.0" ? localAddresses("ipv4") : address === "::" ? localAddresses("ipv6") : [address]
    ),
  };
}

async function agentPlan(settings: AgentSettings, material: RoleMaterial, resolve: Resolve): Promise<AgentPlan> {
  const forwards = settings.forwards.map(({ address, port, ...target }) => ({ listen: { address, port }, ...target }));
  return {
    role: "agent",
    uplink: await uplinkPlan(settings, material, resolve),
    forwards,
    proxies: settings.proxies.map((listen) => ({ listen })),
    addresses: settings.virtualAddresses,
    ...(settings.tun === null ? {} : { tun: { name: settings.tun } }),
    ...(settings.p2p ? { direct: { hostAddresses: [...localAddresses("ipv4"), ...localAddresses("ipv6")] } } : {}),
  };
}

async function uplinkPlan(
  settings: UplinkSettings & CommonSettings,
  material: RoleMaterial,
  resolve: Resolve,
): Promise<UplinkPlan> {
  return {
    servers: await serverTargets(settings, resolve),
    verifyPeer: settings.verifyPeer,
    pins: settings.pins,
    tls: tlsOf(material),
    allowLegacyServiceIds: settings.allowLegacyServiceIds,
    cidRotationMs: settings.cidRotationMs,
    congestionControl: settings.congestionControl,
    packetQueueMax: settings.packetQueueMax,
    ...(material.token === null ? {} : { token: material.token }),
  };
}

/** Rejects with the first one's reason when none of the servers has an address. */
async function serverTargets(settings: UplinkSettings, resolve: Resolve): Promise<readonly ServerTarget[]> {
  const { servers, verifyPeer, serverName } = settings;
  const looked = await Promise.allSettled(servers.map(({ host }) => resolve(host)));
  const first = looked[0];
  if (first?.status === "rejected" && looked.every(({ status }) => status === "rejected")) throw first.reason;
  return servers.map(({ host, port }, at): ServerTarget => {
    const found = looked[at];
    const addresses = found?.status === "fulfilled" ? found.value : [];
    return { host, port, addresses, expectedName: verifyPeer ? serverName ?? host : null };
  });
}
