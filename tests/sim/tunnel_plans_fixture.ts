/** The plans of a simulated gateway: one server, its certificates, and clients that reach it under one name. */
import { RATE_LIMITS } from "../../src/core/ratelimit/mod.ts";
import type { AgentPlan, ConnectorPlan, ServerPlan, TlsMaterial, UplinkPlan } from "../../src/roles/control/mod.ts";
import { SIM_AUTHORITY, simCertificatePem, simTrustPem } from "./memory_handshake_fixture.ts";

export const SERVER_NAME = "gateway.test";
export const SERVER_PORT = 4433;
export const BACKEND_ADDRESS = "10.9.0.1";

const CID_ROTATION_MS = 300_000;

/** Material of the memory engine (a key is needed, but nobody looks at it); another authority's when `authority` is given. */
export function simMaterial(commonName: string, dnsNames: readonly string[], authority = SIM_AUTHORITY): TlsMaterial {
  return {
    certificatePem: simCertificatePem({ commonName, dnsNames, authority }),
    keyPem: new Uint8Array([1]),
    trustPem: simTrustPem(),
  };
}

export interface ServerPlanOptions {
  readonly bind?: string;
  /** Clients show by Retry that they receive at their address. */
  readonly retries?: boolean;
  readonly cidRotationMs?: number;
}

export function serverPlan(tls: TlsMaterial, options: ServerPlanOptions = {}): ServerPlan {
  const { bind = "0.0.0.0", retries = false, cidRotationMs = CID_ROTATION_MS } = options;
  const retryKeys = retries ? [{ id: 0, key: new Uint8Array(32).fill(5) }] : null;
  return {
    role: "server",
    binds: [{ address: bind, port: SERVER_PORT }],
    tls,
    verifyPeer: true,
    requireClientCert: true,
    allowLegacyCerts: false,
    allowAnonymous: [],
    allowLegacyServiceIds: false,
    allowConnectorTakeover: false,
    revocation: { crlPem: null, toleratesStale: false, denied: [] },
    retryKeys,
    resetKey: new Uint8Array(32).fill(7),
    tokenIssuers: [],
    limits: RATE_LIMITS,
    cidRotationMs,
  };
}

export function uplinkPlan(tls: TlsMaterial, serverAddress: string, cidRotationMs = CID_ROTATION_MS): UplinkPlan {
  return {
    servers: [{ host: SERVER_NAME, port: SERVER_PORT, addresses: [serverAddress], expectedName: SERVER_NAME }],
    verifyPeer: true,
    tls,
    allowLegacyServiceIds: false,
    cidRotationMs,
    packetQueueMax: 4_096,
  };
}

export interface SimService {
  readonly id: string;
  readonly port: number;
  /** False: the connector does not look whether the backend accepts, so that it keeps a service that nobody can reach. */
  readonly isLookedAt?: boolean;
}

export function connectorPlan(uplink: UplinkPlan, services: readonly SimService[]): ConnectorPlan {
  return {
    role: "connector",
    uplink,
    services: services.map(({ id, port, isLookedAt = true }) => ({
      service: id,
      host: BACKEND_ADDRESS,
      port,
      addresses: [BACKEND_ADDRESS],
      check: { kind: isLookedAt ? "tcp" : "off" },
    })),
  };
}

/** Every service has a listener of its own, on the port of its backend. */
export function agentPlan(uplink: UplinkPlan, services: readonly SimService[]): AgentPlan {
  return {
    role: "agent",
    uplink,
    forwards: services.map(({ id, port }) => ({ listen: { address: "127.0.0.1", port }, service: id })),
  };
}
