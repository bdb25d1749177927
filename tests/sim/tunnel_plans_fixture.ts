/** The plans of a simulated gateway: one server, its certificates, and clients that reach it under one name. */
import type { AgentPlan, ConnectorPlan, ServerPlan, TlsMaterial, UplinkPlan } from "../../src/roles/control/mod.ts";
import { SIM_AUTHORITY, simCertificatePem, simTrustPem } from "./memory_handshake_fixture.ts";

export const SERVER_NAME = "gateway.test";
export const SERVER_PORT = 4433;
export const BACKEND_ADDRESS = "10.9.0.1";

/** Material of one end. A key is needed, but nobody looks at it. */
export type MaterialOf = (commonName: string, dnsNames: readonly string[]) => TlsMaterial;

/** Certificates of the memory engine; another authority's when `authority` is given. */
export function simMaterial(commonName: string, dnsNames: readonly string[], authority = SIM_AUTHORITY): TlsMaterial {
  return {
    certificatePem: simCertificatePem({ commonName, dnsNames, authority }),
    keyPem: new Uint8Array([1]),
    trustPem: simTrustPem(),
  };
}

export function serverPlan(tls: TlsMaterial, bind = "0.0.0.0"): ServerPlan {
  return {
    role: "server",
    binds: [{ address: bind, port: SERVER_PORT }],
    tls,
    verifyPeer: true,
    requireClientCert: true,
    allowLegacyCerts: false,
    allowAnonymous: [],
    allowLegacyServiceIds: false,
  };
}

export function uplinkPlan(tls: TlsMaterial, serverAddress: string): UplinkPlan {
  return {
    serverHost: SERVER_NAME,
    serverPort: SERVER_PORT,
    serverAddresses: [serverAddress],
    expectedName: SERVER_NAME,
    verifyPeer: true,
    tls,
    allowLegacyServiceIds: false,
  };
}

export interface SimService {
  readonly id: string;
  readonly port: number;
}

export function connectorPlan(tls: TlsMaterial, serverAddress: string, services: readonly SimService[]): ConnectorPlan {
  return {
    role: "connector",
    uplink: uplinkPlan(tls, serverAddress),
    services: services.map(({ id, port }) => ({ service: id, host: BACKEND_ADDRESS, port, addresses: [BACKEND_ADDRESS] })),
  };
}

/** Every service has a listener of its own, on the port of its backend. */
export function agentPlan(tls: TlsMaterial, serverAddress: string, services: readonly SimService[]): AgentPlan {
  return {
    role: "agent",
    uplink: uplinkPlan(tls, serverAddress),
    forwards: services.map(({ id, port }) => ({ listen: { address: "127.0.0.1", port }, service: id })),
  };
}
