/** The state of a data plane as it tells it when somebody looks: durations instead of points in time, since its clock is monotonic. */
import type { SocketStatus } from "../../base/mod.ts";
import type { CertificateSummary } from "../../core/quic/mod.ts";

/** One live connection, for status pages. */
export interface PeerStatus {
  readonly id: number;
  readonly role: string;
  readonly name: string | null;
  readonly certificate: CertificateSummary | null;
  readonly protocol: string;
  /** What its certificate or token lets it be: `agent:web`, `connector:*`. */
  readonly authorized: readonly string[];
  readonly services: readonly string[];
  readonly streams: number;
  readonly group: string;
  readonly cipher: string;
  /** `ip:port`, where its packets come from. */
  readonly remoteAddress: string;
  /** Since the handshake, and since it was last heard of. */
  readonly ageMs: number;
  readonly idleMs: number;
  readonly rttMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsLost: number;
}

/** How one of a client's servers does. */
export interface ServerReport {
  /** Host and port as the settings have them. */
  readonly server: string;
  /** Connected, or being dialled. */
  readonly isCurrent: boolean;
  readonly health: "works" | "failed" | "untried";
  /** Dials and connections that failed since it worked last, and how long ago the last one did. */
  readonly failures: number;
  readonly failedForMs: number | null;
  readonly lastError: string;
}

/** A client's connection to its server. */
export interface UplinkReport {
  /** The states of `uplink_state.ts`. */
  readonly state: string;
  /** Address and port that were dialled last. */
  readonly server: string;
  /** Empty while there is no connection. */
  readonly protocol: string;
  /** Null while it is not up. */
  readonly upForMs: number | null;
  readonly rttMs: number | null;
  /** Dials since it was up last. */
  readonly attempts: number;
  /** Why the last connection or dial ended; empty once it is up. */
  readonly lastError: string;
  /** In the order of the settings. */
  readonly servers: readonly ServerReport[];
}

/** The state of the data plane, taken at one moment. */
export interface PlaneStatus {
  /** As many as were asked for, and how many there are. */
  readonly peers: readonly PeerStatus[];
  readonly peersTotal: number;
  readonly services: readonly {
    readonly id: string;
    readonly state: string;
    readonly agents: number;
    readonly connectors: number;
    /** Why, where a client knows more than its state says. */
    readonly why?: string;
    /** An agent's: how its next stream to the service goes. */
    readonly route?: string;
  }[];
  /** Those that connections go by. */
  readonly sockets?: readonly SocketStatus[];
  readonly congestionControl?: string;
  readonly uplink: UplinkReport | null;
  /** More connections to the server: on ztna-v1 each service has one of its own. */
  readonly furtherUplinks?: readonly UplinkReport[];
  /** What moves now, as many rows as were asked for, and how many there are. */
  readonly flows: readonly FlowReport[];
  readonly flowsTotal: number;
  /** The role's bounds and how far they are used. */
  readonly limits: readonly LimitReport[];
  /** The connector's backends. */
  readonly backends?: readonly BackendStatus[];
}

/** A bound and how much of it is in use. */
export interface LimitReport {
  readonly name: string;
  readonly used: number;
  readonly max: number;
}

/** One end of a flow: both are "" where it is not known or nobody yet. */
export interface FlowPeer {
  /** The number of its connection at this server. */
  readonly id: string;
  /** Its common name. */
  readonly name: string;
}

/** One stream, TCP session or flow of packets that a role moves now. */
export interface FlowReport {
  readonly service: string;
  readonly protocol: "stream" | "tcp" | "udp" | "icmp";
  /**
   * Of a stream how far it is (`header`, `opening`, `dialling`, ..., `joined`, `half-closed`), of a TCP session the state as RFC 9293
   * names it (`pending` while the backend is dialled), of a flow of packets `live` or, at the server, `over`.
   */
  readonly state: string;
  readonly agent: FlowPeer;
  readonly connector: FlowPeer;
  /** Address and port of who asked and of what was asked for, as far as this role sees them: inner ones of packets, else those of sockets. */
  readonly source: string;
  readonly destination: string;
  readonly ageMs: number;
  readonly bytesToService: number;
  readonly bytesFromService: number;
}

export interface BackendStatus {
  readonly service: string;
  readonly host: string;
  readonly port: number;
  readonly health: "unknown" | "up" | "down";
}
