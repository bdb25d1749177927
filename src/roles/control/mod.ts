/**
 * How the two isolates of a role talk. `plan` makes what the data plane is started with, `host` starts and steers it from the
 * control plane, `command_ring` is the way down, `messages` what is said, `plane` the data plane's side. `admission` says whom a
 * role that listens lets in, `peer_watch` whether they may stay, `departures` in which order datagrams leave. `handshake_watch`
 * tells of handshakes, `sampled_log` writes what strangers can cause, `socket_report` tells what the kernel does for a socket.
 */
export { Admission, type AdmissionNotes, socketAddressBytes, socketAddressText } from "./admission.ts";
export * from "./command_ring.ts";
export { originOf } from "./event_origin.ts";
export { type DepartureLimits, Departures, FarBacklog } from "./departures.ts";
export * from "./graceful_end.ts";
export { HandshakeWatch } from "./handshake_watch.ts";
export * from "./host.ts";
export * from "./messages.ts";
export { PeerWatch, type WatchedPeer } from "./peer_watch.ts";
export * from "./plan.ts";
export * from "./plane.ts";
export * from "./plane_status.ts";
export { SampledLog } from "./sampled_log.ts";
export { socketReports } from "./socket_report.ts";
export * from "./record_ring.ts";
export * from "./start_host.ts";
export * from "./worker_group.ts";
export { rateLimits } from "./server_plan.ts";
export { type SnapshotParts, takeSnapshot, trafficTotals } from "./snapshot.ts";
