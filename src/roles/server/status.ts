/** A snapshot of the server's peers and services, taken on request and never on the packet path. */
import type { StatusExtent } from "../../base/mod.ts";
import { FLOW_LIMITS, type FlowTable, type Registry, REGISTRY_LIMITS } from "../../core/registry/mod.ts";
import type { UdpSocket } from "../../io/mod.ts";
import { type LimitReport, type PeerStatus, type PlaneStatus, socketReports } from "../control/mod.ts";
import { flowReports, streamReports } from "./flows.ts";
import { SERVER_ENDPOINT } from "./limits.ts";
import type { ServerParts } from "./parts.ts";
import type { Peer } from "./peer.ts";

export function serverStatus(
  peers: ReadonlyMap<number, Peer>,
  sockets: readonly UdpSocket[],
  parts: ServerParts,
  flows: FlowTable,
  { peersMax, flowsMax }: StatusExtent,
  nowMs: number,
): PlaneStatus {
  const { registry, streams } = parts;
  const moving = streamReports(peers, nowMs, flowsMax);
  return {
    peers: peers.values().take(peersMax).map((peer) => peerStatus(peer, registry, nowMs)).toArray(),
    peersTotal: peers.size,
    services: registry.services().map(({ id, agents, connectors }) => ({
      id,
      state: connectors.length > 0 ? "served" : "no-connector",
      agents,
      connectors: connectors.length,
    })),
    sockets: socketReports(sockets),
    congestionControl: parts.rules.congestionControl,
    uplink: null,
    flows: [...moving, ...flowReports(flows.list(nowMs, flowsMax - moving.length), peers, registry, nowMs)],
    flowsTotal: streams.active + flows.size,
    limits: limitReports(parts, flows),
  };
}

function limitReports(parts: ServerParts, flows: FlowTable): LimitReport[] {
  const { limiter } = parts.admission;
  return [
    { name: "connections", used: limiter.connections, max: limiter.connectionsMax },
    { name: "handshakes", used: parts.endpoint.handshakes + (parts.remote?.handshakes ?? 0), max: SERVER_ENDPOINT.handshakesMax },
    { name: "sources", used: limiter.sources, max: limiter.sourcesMax },
    { name: "services", used: parts.registry.serviceCount, max: REGISTRY_LIMITS.servicesMax },
    { name: "registered-peers", used: parts.registry.registered, max: REGISTRY_LIMITS.peersMax },
    { name: "packet-flows", used: flows.size, max: FLOW_LIMITS.flowsMax },
  ];
}

function peerStatus(peer: Peer, registry: Registry, nowMs: number): PeerStatus {
  const { engine, address, establishedMs, heardMs } = peer.connection;
  const stats = engine.stats();
  return {
    id: peer.id,
    role: registry.roleOf(peer.id),
    name: peer.identity?.commonName ?? null,
    certificate: peer.certificate,
    protocol: peer.protocol,
    authorized: [...peer.identity?.authorizations ?? []].sort(),
    services: registry.servicesOf(peer.id),
    streams: peer.streams.size,
    ...engine.tlsDescription(),
    remoteAddress: address.toString(),
    ageMs: nowMs - establishedMs,
    idleMs: nowMs - heardMs,
    rttMs: stats.rttMs,
    bytesSent: stats.bytesSent,
    bytesReceived: stats.bytesReceived,
    packetsLost: stats.packetsLost,
  };
}
