/** What the connector says about its streams, sessions, flows, bounds and backends, for status pages. */
import { endText, type IpEnds } from "../../core/wire/mod.ts";
import { formatEndpoint } from "../../io/mod.ts";
import type { BackendStatus, FlowReport, LimitReport } from "../control/mod.ts";
import type { BackendStream } from "./backend_stream.ts";
import type { DatagramEnd } from "./datagram_end.ts";
import { STREAMS_MAX } from "./limits.ts";
import type { DialTarget, ServiceTable } from "./services.ts";

const UNKNOWN = { id: "", name: "" };

/** Up to `max` of what moves: streams, then TCP sessions and UDP flows that came by packets. */
export function flowReports(streams: Iterable<BackendStream>, datagrams: DatagramEnd, nowMs: number, max: number): FlowReport[] {
  const found: FlowReport[] = [];
  for (const row of rows(streams, datagrams, nowMs)) {
    if (found.length >= max) break;
    found.push(row);
  }
  return found;
}

function* rows(streams: Iterable<BackendStream>, datagrams: DatagramEnd, nowMs: number): Iterable<FlowReport> {
  for (const stream of streams) {
    yield {
      service: stream.service,
      protocol: "stream",
      state: stream.state,
      agent: { id: "", name: stream.agent?.commonName ?? "" },
      connector: UNKNOWN,
      source: "",
      destination: targetText(stream.target),
      ageMs: Math.round(nowMs - stream.openedMs),
      bytesToService: stream.bytesToBackend,
      bytesFromService: stream.bytesFromBackend,
    };
  }
  for (const { session, service, bytesToBackend, bytesFromBackend } of datagrams.sessions()) {
    yield packetRow("tcp", session.state, service.id, session, nowMs - session.startedMs, bytesToBackend, bytesFromBackend);
  }
  for (const { flow, service, openedMs, bytesToBackend, bytesFromBackend } of datagrams.flows()) {
    yield packetRow("udp", "live", service.id, flow, nowMs - openedMs, bytesToBackend, bytesFromBackend);
  }
}

/** Of packets only inner addresses are known here: the server says no names with them. */
function packetRow(
  protocol: "tcp" | "udp",
  state: string,
  service: string,
  ends: { readonly ends: IpEnds; readonly localPort: number; readonly remotePort: number },
  ageMs: number,
  bytesToService: number,
  bytesFromService: number,
): FlowReport {
  return {
    service,
    protocol,
    state,
    agent: UNKNOWN,
    connector: UNKNOWN,
    source: formatEndpoint({ address: endText(ends.ends, "destination"), port: ends.remotePort }),
    destination: formatEndpoint({ address: endText(ends.ends, "source"), port: ends.localPort }),
    ageMs: Math.round(ageMs),
    bytesToService,
    bytesFromService,
  };
}

function targetText(target: DialTarget | undefined): string {
  return target === undefined ? "" : formatEndpoint({ address: target.address, port: target.port });
}

export function limitReports(streams: number, { stack, sessionCount, flowCount }: DatagramEnd): LimitReport[] {
  const { limits } = stack;
  return [
    { name: "streams", used: streams, max: STREAMS_MAX },
    { name: "tcp-sessions", used: sessionCount, max: limits.sessionsMax },
    { name: "udp-flows", used: flowCount, max: limits.udpFlowsMax },
    { name: "session-buffer-bytes", used: stack.bufferedBytes, max: limits.buffersTotalMaxBytes },
  ];
}

export function backendStatus(services: ServiceTable): BackendStatus[] {
  return services.all.flatMap(({ id, backends }) =>
    backends.map(({ host, port, health }) => ({ service: id, host, port, health }))
  );
}
