/** What the server relays now, one row each: streams between an agent and a connector, and the flows of packets. */
import type { FlowRecord, Registry } from "../../core/registry/mod.ts";
import type { FlowReport } from "../control/mod.ts";
import type { Peer } from "./peer.ts";
import { RelayedStream } from "./stream_relay.ts";

/** Up to `max` streams. */
export function streamReports(peers: ReadonlyMap<number, Peer>, nowMs: number, max: number): FlowReport[] {
  const found: FlowReport[] = [];
  for (const peer of peers.values()) {
    for (const stream of peer.streams.values()) {
      if (found.length >= max) return found;
      // A stream stands with both of its peers: the agent's side shows it.
      if (stream instanceof RelayedStream && stream.agent === peer) found.push(streamReport(stream, nowMs));
    }
  }
  return found;
}

function streamReport(stream: RelayedStream, nowMs: number): FlowReport {
  return {
    service: stream.service,
    protocol: "stream",
    state: stream.state,
    agent: nameOf(stream.agent),
    connector: nameOf(stream.connector),
    source: "",
    destination: "",
    ageMs: nowMs - stream.openedMs,
    bytesToService: stream.bytesUp,
    bytesFromService: stream.bytesDown,
  };
}

/** The rows of the flow table. */
export function flowReports(
  records: readonly FlowRecord[],
  peers: ReadonlyMap<number, Peer>,
  registry: Registry,
  nowMs: number,
): FlowReport[] {
  return records.map((record) => {
    const id = registry.serviceIdBytes(record.service);
    return {
      service: id === null ? "" : new TextDecoder().decode(id),
      protocol: record.protocol,
      state: record.state,
      agent: nameOf(peers.get(record.agent)),
      connector: nameOf(peers.get(record.connector)),
      source: record.source,
      destination: record.destination,
      ageMs: nowMs - record.startedMs,
      bytesToService: record.bytesUp,
      bytesFromService: record.bytesDown,
    };
  });
}

/** The number is the one that `disconnect` takes. */
function nameOf(peer: Peer | null | undefined): FlowReport["agent"] {
  return { id: peer === null || peer === undefined ? "" : String(peer.id), name: peer?.identity?.commonName ?? "" };
}
