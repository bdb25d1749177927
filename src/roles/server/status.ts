/** A snapshot of the server's peers and services, taken on request and never on the packet path. */
import type { Registry } from "../../core/registry/mod.ts";
import type { PeerStatus, PlaneStatus } from "../control/mod.ts";
import type { Peer } from "./peer.ts";

export function serverStatus(peers: ReadonlyMap<number, Peer>, registry: Registry, streams: number, nowMs: number): PlaneStatus {
  return {
    peers: [...peers.values()].map((peer) => peerStatus(peer, registry, nowMs)),
    services: registry.services().map(({ id, agents, connectors }) => ({
      id,
      state: connectors.length > 0 ? "served" : "no-connector",
      agents,
      connectors: connectors.length,
    })),
    uplink: null,
    streams,
  };
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
