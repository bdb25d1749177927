/** What the connector says about its sessions and backends, for status pages. */
import { endText } from "../../core/wire/mod.ts";
import { formatEndpoint } from "../../io/mod.ts";
import type { BackendStatus, SessionStatus } from "../control/mod.ts";
import type { DatagramEnd } from "./datagram_end.ts";
import type { ServiceTable } from "./services.ts";

/** All TCP sessions that came by packets. */
export function sessionStatus(datagrams: DatagramEnd, nowMs: number): SessionStatus[] {
  return [...datagrams.sessions()].map(({ session, service, target, bytesToBackend, bytesFromBackend }) => ({
    id: session.id,
    service: service.id,
    state: session.state,
    source: formatEndpoint({ address: endText(session.ends, "destination"), port: session.remotePort }),
    destination: formatEndpoint({ address: endText(session.ends, "source"), port: session.localPort }),
    backend: target === undefined ? "" : formatEndpoint({ address: target.address, port: target.port }),
    ageMs: Math.round(nowMs - session.startedMs),
    bytesToBackend,
    bytesFromBackend,
  }));
}

export function backendStatus(services: ServiceTable): BackendStatus[] {
  return services.all.flatMap(({ id, backends }) =>
    backends.map(({ host, port, health }) => ({ service: id, host, port, health }))
  );
}
