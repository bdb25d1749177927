/**
 * What a role tells about itself when somebody looks: one plain snapshot, made on request. The admin API and the commands show it
 * with snake_case names. All lists are bounded by who fills them; a total beside a list says how much there is.
 */

export type RoleName = "server" | "connector" | "agent";

/**
 * `degraded` means that it cannot do its work now though it runs: the uplink is lost, the certificate has ended. A service that nobody
 * serves at the moment is no such thing; that stands in the service's own state.
 */
export type Phase = "starting" | "ready" | "degraded" | "draining" | "stopping";

export interface ListenerStatus {
  readonly protocol: string;
  readonly address: string;
}

/** A UDP socket that connections go by. */
export interface SocketStatus {
  readonly address: string;
  /** What was asked of the kernel for each of its two buffers, and what it granted, in bytes of packets. */
  readonly bufferWantedBytes: number;
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  /** Whether trains of packets are handed to the kernel as one (segmentation offload), and taken from it so (receive offload). */
  readonly sendsTrains: boolean;
  readonly receivesTrains: boolean;
}

/** A connector's or agent's connection to its server. */
export interface UplinkStatus {
  readonly server: string;
  readonly state: "connecting" | "connected" | "waiting" | "failed" | "closed";
  /** The negotiated protocol, `ztna-v2`; "" while there is none. */
  readonly protocol: string;
  readonly connectedAtMs: number | null;
  readonly rttMs: number | null;
  readonly attempts: number;
  /** Why it is not connected; "" when it is. */
  readonly lastError: string;
  /** Every server that it may use, in the order of the settings. */
  readonly servers: readonly ServerHealthStatus[];
}

export interface ServerHealthStatus {
  /** Host and port as the settings have them. */
  readonly server: string;
  readonly isCurrent: boolean;
  readonly health: "works" | "failed" | "untried";
  /** Since it worked last. */
  readonly failures: number;
  readonly failedAtMs: number | null;
  /** "" while it has not failed. */
  readonly lastError: string;
}

export interface ServiceStatus {
  readonly id: string;
  /** An agent's: how far its registration is, or what the last open was answered. `withdrawn`: the server took back what it had given. */
  readonly state: "registered" | "pending" | "denied" | "withdrawn" | "unserved" | "open";
  /** Why, where more is known than the state says: `not-authorised`; else "". */
  readonly why: string;
  /** Server: live connectors and agents of the service. Clients: their own registration counts as one. */
  readonly connectors: number;
  readonly agents: number;
  /** Client side: where it goes (backend) or where it is offered (listener); "" on the server. */
  readonly endpoint: string;
  /** An agent's with direct paths: how its next stream goes, `relay` or `direct` with the connector's address and the time there and back. */
  readonly route?: string;
}

/** An authenticated connection. */
export interface PeerStatus {
  /** Names the peer in `disconnect`; unique while the process runs. */
  readonly id: string;
  readonly role: string;
  readonly commonName: string;
  /** Lower-case hexadecimal; "" without a certificate. */
  readonly serial: string;
  readonly fingerprint: string;
  readonly certificateNotAfterMs: number | null;
  /** What its certificate or token lets it be: `agent:web`, `connector:*`. */
  readonly authorized: readonly string[];
  /** What it has registered. */
  readonly services: readonly string[];
  readonly remoteAddr: string;
  readonly transport: "quic";
  readonly protocol: string;
  readonly tlsVersion: string;
  readonly cipherSuite: string;
  readonly group: string;
  readonly establishedAtMs: number;
  readonly lastActivityMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly rttMs: number | null;
  readonly packetsLost: number;
}

/** Something that moves now between an agent and a service. */
export interface FlowStatus {
  readonly service: string;
  readonly protocol: "tcp" | "udp" | "icmp" | "stream";
  /** Of a stream how far it is, of a TCP session the state as RFC 9293 names it, of a flow of packets `live` or `over`. */
  readonly state: string;
  /** Common names; "" where this role does not know it. */
  readonly agent: string;
  readonly connector: string;
  /** On the server the ids of these peers, for `disconnect`; else "". */
  readonly agentId: string;
  readonly connectorId: string;
  /** Inner addresses of packets; of a stream at the connector the backend. "" where there is none. */
  readonly source: string;
  readonly destination: string;
  readonly startedAtMs: number;
  readonly bytesToService: number;
  readonly bytesFromService: number;
}

/** A bound and how far it is used. */
export interface LimitStatus {
  readonly name: string;
  readonly used: number;
  readonly max: number;
}

/** What was dropped or denied, by reason, since the start. */
export interface DropStatus {
  readonly reason: string;
  readonly count: number;
}

/** How much of what there is one by one a snapshot lists: who only asks whether all is well pays for none of it. */
export interface StatusExtent {
  readonly peersMax: number;
  readonly flowsMax: number;
}

export const STATUS_SUMMARY: StatusExtent = { peersMax: 0, flowsMax: 0 };

export interface StatusSnapshot {
  readonly role: RoleName;
  readonly name: string;
  readonly version: string;
  readonly phase: Phase;
  /** Why it is not ready, a sentence each; empty when it is. */
  readonly reasons: readonly string[];
  readonly startedAtMs: number;
  readonly listeners: readonly ListenerStatus[];
  readonly sockets: readonly SocketStatus[];
  /** How its own connections find out what a path takes: `cubic`; "" before it has begun. */
  readonly congestionControl: string;
  readonly uplinks: readonly UplinkStatus[];
  readonly services: readonly ServiceStatus[];
  readonly peers: readonly PeerStatus[];
  readonly peersTotal: number;
  readonly flows: readonly FlowStatus[];
  readonly flowsTotal: number;
  readonly limits: readonly LimitStatus[];
  readonly drops: readonly DropStatus[];
}

/** A certificate that this process uses. */
export interface CertificateStatus {
  /** What it is for: `identity`, `ca`, `metrics`, `metrics-ca`, … */
  readonly purpose: string;
  readonly path: string;
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly isSelfSigned: boolean;
  /** Null: no revocation list is set. */
  readonly isRevoked: boolean | null;
}

/** A revocation list in use. */
export interface RevocationListStatus {
  readonly path: string;
  readonly issuer: string;
  readonly nextUpdateMs: number;
}

/** One effective setting for `GET /v1/config`; secrets are masked by who fills it. */
export interface SettingStatus {
  readonly key: string;
  readonly value: string;
  /** `default`, `file /etc/postern/server.json:3`, `environment POSTERN_PORT`, `flag --port`. */
  readonly source: string;
}
