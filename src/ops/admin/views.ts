/** Snapshots as the JSON that `schemas.ts` describes: snake_case names, RFC 3339 times, durations in seconds. Pure. */
import type * as z from "zod";
import type { FlowStatus, LimitStatus, PeerStatus, StatusSnapshot } from "../../base/mod.ts";
import type { TcpConnectionStatus } from "../metrics_server/mod.ts";
import type { certificatesSchema, connectionSchema, flowSchema, peerSchema, statusSchema } from "./schemas.ts";

export interface StatusExtras {
  readonly pid: number;
  readonly logLevel: string;
  readonly throughput: { readonly bytes_per_second: number; readonly datagrams_per_second: number };
  readonly certificates: z.infer<typeof certificatesSchema>["certificates"];
  readonly connections: readonly TcpConnectionStatus[];
  /** Of the listeners beside the role's own. */
  readonly limits: readonly LimitStatus[];
}

/** The status page shows this many peers and flows; `/v1/peers` and `/v1/flows` have all. */
export const STATUS_PEERS_MAX = 100;
export const STATUS_FLOWS_MAX = 100;

export function statusView(snapshot: StatusSnapshot, extras: StatusExtras, nowMs: number): z.infer<typeof statusSchema> {
  return {
    role: snapshot.role,
    name: snapshot.name,
    version: snapshot.version,
    pid: extras.pid,
    phase: snapshot.phase,
    reasons: [...snapshot.reasons],
    started: isoTime(snapshot.startedAtMs),
    uptime: seconds(nowMs - snapshot.startedAtMs),
    log_level: extras.logLevel,
    listeners: snapshot.listeners.map(({ protocol, address }) => ({ protocol, address })),
    sockets: snapshot.sockets.map((socket) => ({
      address: socket.address,
      buffer_wanted: socket.bufferWantedBytes,
      receive_buffer: socket.receiveBufferBytes,
      send_buffer: socket.sendBufferBytes,
      sends_trains: socket.sendsTrains,
      receives_trains: socket.receivesTrains,
    })),
    congestion_control: snapshot.congestionControl,
    uplinks: snapshot.uplinks.map((uplink) => ({
      server: uplink.server,
      state: uplink.state,
      protocol: uplink.protocol,
      connected: isoTime(uplink.connectedAtMs),
      rtt_ms: uplink.rttMs,
      attempts: uplink.attempts,
      last_error: uplink.lastError,
      servers: uplink.servers.map(({ server, isCurrent, health, failures, failedAtMs, lastError }) => ({
        server,
        current: isCurrent,
        health,
        failures,
        failed: isoTime(failedAtMs),
        last_error: lastError,
      })),
    })),
    services: snapshot.services.map((service) => ({ ...service })),
    peers: snapshot.peers.slice(0, STATUS_PEERS_MAX).map((peer) => peerView(peer, nowMs)),
    peers_total: snapshot.peersTotal,
    connections: extras.connections.map((connection) => connectionView(connection, nowMs)),
    flows: snapshot.flows.slice(0, STATUS_FLOWS_MAX).map((flow) => flowView(flow, nowMs)),
    flows_total: snapshot.flowsTotal,
    limits: [...snapshot.limits, ...extras.limits].map(({ name, used, max }) => ({ name, used, max })),
    throughput: extras.throughput,
    drops: snapshot.drops.map(({ reason, count }) => ({ reason, count })),
    certificates: extras.certificates,
  };
}

export function peerView(peer: PeerStatus, nowMs: number): z.infer<typeof peerSchema> {
  return {
    id: peer.id,
    role: peer.role,
    common_name: peer.commonName,
    serial: peer.serial,
    fingerprint: peer.fingerprint,
    certificate_not_after: isoTime(peer.certificateNotAfterMs),
    authorized: [...peer.authorized],
    services: [...peer.services],
    remote_addr: peer.remoteAddr,
    transport: peer.transport,
    protocol: peer.protocol,
    tls_version: peer.tlsVersion,
    cipher_suite: peer.cipherSuite,
    group: peer.group,
    established: isoTime(peer.establishedAtMs),
    last_activity: isoTime(peer.lastActivityMs),
    duration: seconds(nowMs - peer.establishedAtMs),
    idle_duration: seconds(nowMs - peer.lastActivityMs),
    bytes_sent: peer.bytesSent,
    bytes_received: peer.bytesReceived,
    rtt_ms: peer.rttMs,
    packets_lost: peer.packetsLost,
  };
}

export function connectionView(connection: TcpConnectionStatus, nowMs: number): z.infer<typeof connectionSchema> {
  return {
    listener: connection.listener,
    common_name: connection.certificate?.commonName ?? "",
    serial: connection.certificate?.serial ?? "",
    fingerprint: connection.certificate?.fingerprint ?? "",
    remote_addr: connection.remoteAddr,
    transport: "tcp",
    tls_version: connection.tlsVersion,
    cipher_suite: connection.cipherSuite,
    group: connection.group,
    established: isoTime(connection.establishedAtMs),
    last_activity: isoTime(connection.lastActivityMs),
    duration: seconds(nowMs - connection.establishedAtMs),
    idle_duration: seconds(nowMs - connection.lastActivityMs),
    bytes_sent: connection.bytesSent,
    bytes_received: connection.bytesReceived,
    requests: connection.requests,
  };
}

export function flowView(flow: FlowStatus, nowMs: number): z.infer<typeof flowSchema> {
  return {
    service: flow.service,
    protocol: flow.protocol,
    state: flow.state,
    agent: flow.agent,
    agent_id: flow.agentId,
    connector: flow.connector,
    connector_id: flow.connectorId,
    source: flow.source,
    destination: flow.destination,
    started: isoTime(flow.startedAtMs),
    duration: seconds(nowMs - flow.startedAtMs),
    bytes_to_service: flow.bytesToService,
    bytes_from_service: flow.bytesFromService,
  };
}

function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 100) / 10);
}
