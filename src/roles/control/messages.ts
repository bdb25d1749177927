/**
 * What the two isolates of a role say to each other. The control plane (main) starts the data plane (worker) with a
 * {@linkcode PlaneStart}; commands go down through a ring in shared memory, messages come up by `postMessage`.
 */
import type { LogRecord, SecurityEventInput, StatusExtent } from "../../base/mod.ts";
import type { DenyEntry } from "../../core/auth/mod.ts";
import type { RateLimits } from "../../core/ratelimit/mod.ts";
import type { IpEndpoint } from "../../io/mod.ts";
import type { CongestionControl } from "../../core/quic/mod.ts";
import type { CommandChannel } from "./command_ring.ts";
import type { PlaneStatus } from "./plane_status.ts";
import type { WorkerGroup } from "./worker_group.ts";

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
  /** A connector without an identity may take a service over from another one without. */
  readonly allowConnectorTakeover: boolean;
  readonly revocation: RevocationPlan;
  /** The first seals. Empty: a random one that ends with the process. Null: clients are taken in without Retry. */
  readonly retryKeys: readonly RetryKeyPlan[] | null;
  /** 32 bytes; the tokens of stateless resets follow from it. Null: a random one that ends with the process. */
  readonly resetKey: Uint8Array | null;
  /** SubjectPublicKeyInfo (DER, Ed25519) of those who may issue registration tokens. With any, TLS requires no certificate. */
  readonly tokenIssuers: readonly Uint8Array[];
  readonly limits: RateLimits;
  /** How often a connection gets a new connection ID of ours. */
  readonly cidRotationMs: number;
  /** Default: the role's own choice. */
  readonly congestionControl?: CongestionControl;
  /** Data planes that share the addresses. Absent: as many as the machine is good for, where a host starts them. */
  readonly workers?: number;
}

/** Certificates that count no more though their authority is trusted. */
export interface RevocationPlan {
  /** For handshakes: the engine judges by them. Null without any. */
  readonly crlPem: Uint8Array | null;
  /** A list past its next update still counts. */
  readonly toleratesStale: boolean;
  /** For those who are connected: what the lists and the operator name. */
  readonly denied: readonly DenyEntry[];
}

export interface RetryKeyPlan {
  /** 0 to 255. */
  readonly id: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

/** One of the servers that a client may use. */
export interface ServerTarget {
  readonly host: string;
  readonly port: number;
  /** Its resolved addresses, best first; may be empty until they are known. */
  readonly addresses: readonly string[];
  /** The name or IP address that its certificate must have; null only with verification off. */
  readonly expectedName: string | null;
}

/** How a client reaches and verifies its server. */
export interface UplinkPlan {
  /** At least one, best first, and at least one of them with an address. */
  readonly servers: readonly ServerTarget[];
  readonly verifyPeer: boolean;
  /** SHA-256 of the public keys that the server may have, base64. Absent or empty: any. */
  readonly pins?: readonly string[];
  readonly tls: TlsMaterial;
  readonly allowLegacyServiceIds: boolean;
  /** How often the connection gets a new connection ID of ours. */
  readonly cidRotationMs: number;
  /** Packets that wait for connections which cannot send them, and received ones of a connection that wait to be read. */
  readonly packetQueueMax: number;
  /** Default: the role's own choice. */
  readonly congestionControl?: CongestionControl;
  /** What is shown instead of a certificate. Absent: nothing. */
  readonly token?: TokenPlan;
}

/** A registration token and the key of its holder (WIRE 8). */
export interface TokenPlan {
  readonly token: Uint8Array;
  /** SubjectPublicKeyInfo and PKCS #8, DER, Ed25519. */
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

export interface ServicePlan {
  readonly service: string;
  readonly host: string;
  readonly port: number;
  /** Resolved addresses of the backend, best first; may be empty until they are known. */
  readonly addresses: readonly string[];
  /** What is spoken there. Default: TCP only. */
  readonly protocols?: readonly ("tcp" | "udp")[];
  /** Default: by a TCP connection. */
  readonly check?: HealthCheck;
}

/** How it is seen whether a backend is up: not at all, by a TCP connection, or by the answer to an HTTP request on one. */
export type HealthCheck = { readonly kind: "off" | "tcp" } | { readonly kind: "http"; readonly path: string };

/** An inner address under which agents know a service, at one port or (null) at all. */
export interface DestinationPlan {
  readonly service: string;
  readonly address: string;
  readonly port: number | null;
}

/** How long what agents began with packets may be silent, in milliseconds. */
export interface PacketTimesPlan {
  readonly tcpIdleMs: number;
  readonly tcpDrainMs: number;
  readonly tcpKeepaliveMs: number;
  readonly udpIdleMs: number;
}

/** How a connector takes direct connections of agents (WIRE 6.10). */
export interface P2pPlan {
  /** At most one address of a family; the connection to the server uses the same sockets. */
  readonly binds: readonly IpEndpoint[];
  /** What it shows, and whose certificates of agents it trusts. */
  readonly tls: TlsMaterial;
  readonly revocation: RevocationPlan;
  /** The address that a NAT maps to it, port for port. Null: the one that the server sees. */
  readonly externalIp: string | null;
  /** Addresses of this machine that are told to agents. */
  readonly hostAddresses: readonly string[];
  /** Default: the role's own choice. */
  readonly congestionControl?: CongestionControl;
}

export interface ConnectorPlan {
  readonly role: "connector";
  readonly uplink: UplinkPlan;
  /** A service that is named several times has several backends, the first one preferred. */
  readonly services: readonly ServicePlan[];
  /** A service that is not named here is reached under any address of 10.100.0.0/24. */
  readonly destinations?: readonly DestinationPlan[];
  /** A registration that the server denies ends the role. */
  readonly exitsOnDenied?: boolean;
  /** Default: those of the network stack. */
  readonly packetTimes?: PacketTimesPlan;
  /** Absent: nobody is let in directly, and nothing listens. */
  readonly p2p?: P2pPlan;
}

/** A local port that leads to a service. */
export interface ForwardPlan {
  readonly listen: IpEndpoint;
  readonly service: string;
  /** Default: TCP. */
  readonly protocol?: "tcp" | "udp";
  /** The port of the service's inner address; default: the local one. */
  readonly servicePort?: number | null;
}

/** A port for SOCKS5 and HTTP CONNECT. */
export interface ProxyPlan {
  readonly listen: IpEndpoint;
}

/** One connection and nothing else: when it is over, so is the agent. */
export interface ConnectPlan {
  /** What names the service, as a proxy's clients write it. */
  readonly host: string;
  /** The port of the service's inner address. */
  readonly port: number;
  /** A connected, non-blocking stream socket of this process: the client. */
  readonly fd: number;
}

export interface AgentPlan {
  readonly role: "agent";
  readonly uplink: UplinkPlan;
  readonly forwards: readonly ForwardPlan[];
  readonly proxies?: readonly ProxyPlan[];
  readonly connect?: ConnectPlan;
  /** Inner addresses of services, one of each version of IP at most; who has no IPv4 one gets a free one. */
  readonly addresses?: readonly { readonly service: string; readonly address: string }[];
  /** Absent: there is no TUN device. */
  readonly tun?: TunPlan;
  /** Absent: everything goes by the server. */
  readonly direct?: DirectPlan;
}

/** Direct paths to connectors (WIRE 6). */
export interface DirectPlan {
  /** Addresses of this machine that connectors are told. */
  readonly hostAddresses: readonly string[];
}

/** A network interface of the agent's machine, which leads to its services. */
export interface TunPlan {
  /** A `%d` in it becomes the next free number. */
  readonly name: string;
}

export type RolePlan = ServerPlan | ConnectorPlan | AgentPlan;

/** The first message to the worker: what takes time and needs no settings is made while the control plane still loads. */
export interface PlanePrepare {
  readonly type: "prepare";
  readonly role: RolePlan["role"];
}

/** The second message to the worker. */
export interface PlaneStart {
  readonly type: "start";
  readonly plan: RolePlan;
  readonly commands: CommandChannel;
  readonly cells: SharedArrayBuffer;
  /** Of `LogGate`: records that nobody wants or that come too fast are not sent up. */
  readonly logGate: SharedArrayBuffer;
  /** Absent: it is the only one. */
  readonly group?: WorkerGroup;
}

/** An address that the data plane bound. */
export interface BoundAddress {
  /** What listens there, for people: `quic`, `forward web`. */
  readonly name: string;
  readonly transport: "udp" | "tcp";
  readonly address: string;
  readonly port: number;
}

export type PlaneMessage =
  /** The worker waits for its start. The checked native library, as a path that this process can open; null when it cannot be had. */
  | { readonly type: "prepared"; readonly nativePath: string | null }
  | { readonly type: "log"; readonly record: LogRecord }
  | { readonly type: "ready"; readonly addresses: readonly BoundAddress[] }
  | {
    readonly type: "failed";
    readonly message: string;
    readonly hint: string | null;
    readonly code: string;
    readonly exitCode: 1 | 2;
  }
  /** A network interface is there: `server` answers questions about names in `domain`. */
  | { readonly type: "tun"; readonly link: string; readonly server: string; readonly domain: string }
  | { readonly type: "status"; readonly id: number; readonly status: PlaneStatus }
  /** The answer to a command with that number: a count where there is one to tell, or why it was refused. */
  | { readonly type: "answer"; readonly id: number; readonly count: number; readonly error: string | null }
  | { readonly type: "event"; readonly event: SecurityEventInput }
  /** All services that have a connector now; sent when that changes. */
  | { readonly type: "served"; readonly services: readonly string[] }
  /** A name should be looked up again; the answer is a `resolved` command. */
  | { readonly type: "resolve"; readonly host: string }
  | { readonly type: "stopped" };

export type PlaneCommand =
  /** End gracefully: finish what runs, within the drain time, then close. */
  | { readonly type: "stop" }
  /** Answered with the state of the data plane and up to so many peers and flows. */
  | { readonly type: "status"; readonly id: number } & StatusExtent
  | { readonly type: "resolved"; readonly host: string; readonly addresses: readonly string[] }
  /** Answered with the number of connections that it ends: 1, or 0 when there is none of that number. */
  | { readonly type: "disconnect"; readonly id: number; readonly peer: number }
  /** Use what may change while it runs of this plan: material, revocation, limits, who may what. Answered. */
  | { readonly type: "reload"; readonly id: number; readonly plan: RolePlan }
  /** Refuse this certificate from now on, until the process ends. Answered with the number of connections that it ends. */
  | { readonly type: "deny"; readonly id: number; readonly entry: DenyEntry };
