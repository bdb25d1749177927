/**
 * What the two isolates of a role say to each other. The control plane (main) starts the data plane (worker) with a
 * {@linkcode PlaneStart}; commands go down through a ring in shared memory, messages come up by `postMessage`.
 */
import type { LogRecord } from "../../base/mod.ts";
import type { IpEndpoint } from "../../io/mod.ts";
import type { CertificateSummary } from "../../core/quic/mod.ts";
import type { CommandChannel } from "./command_ring.ts";

/** PEM texts of one end. */
export interface TlsMaterial {
  readonly certificatePem: Uint8Array | null;
  readonly keyPem: Uint8Array | null;
  readonly trustPem: Uint8Array | null;
}

/** What the server's data plane needs to know. */
export interface ServerPlan {
  readonly role: "server";
  readonly binds: readonly IpEndpoint[];
  readonly tls: TlsMaterial;
  /** Whether client certificates are asked for and verified at all. */
  readonly verifyPeer: boolean;
  readonly requireClientCert: boolean;
  readonly allowLegacyCerts: boolean;
  /** `agent:ID` and `connector:ID` that clients without a certificate may use. */
  readonly allowAnonymous: readonly string[];
  readonly allowLegacyServiceIds: boolean;
}

/** How a client reaches and verifies its server. */
export interface UplinkPlan {
  readonly serverHost: string;
  readonly serverPort: number;
  /** Resolved addresses of the server, best first; at least one. */
  readonly serverAddresses: readonly string[];
  /** The name or IP address that the server's certificate must have; null only with verification off. */
  readonly expectedName: string | null;
  readonly verifyPeer: boolean;
  readonly tls: TlsMaterial;
  readonly allowLegacyServiceIds: boolean;
}

export interface ServicePlan {
  readonly service: string;
  readonly host: string;
  readonly port: number;
  /** Resolved addresses of the backend, best first; may be empty until they are known. */
  readonly addresses: readonly string[];
}

export interface ConnectorPlan {
  readonly role: "connector";
  readonly uplink: UplinkPlan;
  readonly services: readonly ServicePlan[];
}

export interface ForwardPlan {
  readonly listen: IpEndpoint;
  readonly service: string;
}

export interface AgentPlan {
  readonly role: "agent";
  readonly uplink: UplinkPlan;
  readonly forwards: readonly ForwardPlan[];
}

export type RolePlan = ServerPlan | ConnectorPlan | AgentPlan;

/** The first message to the worker. */
export interface PlaneStart {
  readonly plan: RolePlan;
  /** The checked native library, as a path that this process can open. */
  readonly nativePath: string;
  readonly commands: CommandChannel;
  readonly cells: SharedArrayBuffer;
}

/** An address that the data plane bound. */
export interface BoundAddress {
  /** What listens there, for people: `quic`, `forward web`. */
  readonly name: string;
  readonly transport: "udp" | "tcp";
  readonly address: string;
  readonly port: number;
}

/** One live connection, for status pages. */
export interface PeerStatus {
  readonly id: number;
  readonly role: string;
  readonly name: string | null;
  readonly certificate: CertificateSummary | null;
  readonly protocol: string;
  readonly services: readonly string[];
  readonly streams: number;
  readonly group: string;
  readonly cipher: string;
  readonly rttMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsLost: number;
}

/** The state of the data plane, taken at one moment. */
export interface PlaneStatus {
  readonly peers: readonly PeerStatus[];
  readonly services: readonly {
    readonly id: string;
    readonly state: string;
    readonly agents: number;
    readonly connectors: number;
  }[];
  readonly uplink: { readonly state: string; readonly since: number } | null;
  readonly streams: number;
}

export type PlaneMessage =
  | { readonly type: "log"; readonly record: LogRecord }
  | { readonly type: "ready"; readonly addresses: readonly BoundAddress[] }
  | {
    readonly type: "failed";
    readonly message: string;
    readonly hint: string | null;
    readonly code: string;
    readonly exitCode: 1 | 2;
  }
  | { readonly type: "status"; readonly id: number; readonly status: PlaneStatus }
  /** A name should be looked up again; the answer is a `resolved` command. */
  | { readonly type: "resolve"; readonly host: string }
  | { readonly type: "stopped" };

export type PlaneCommand =
  /** End gracefully: finish what runs, within the drain time, then close. */
  | { readonly type: "stop" }
  | { readonly type: "status"; readonly id: number }
  | { readonly type: "resolved"; readonly host: string; readonly addresses: readonly string[] }
  | { readonly type: "disconnect"; readonly peer: number };
