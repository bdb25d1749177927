/**
 * The connector: `connector.ts` is its data plane, `services.ts` what it offers. `server_links.ts` has the connections to the server
 * on which the services are registered. `backend_streams.ts` has the streams, `backend_stream.ts` is the way of one; packets
 * end in `datagram_end.ts`, which makes `tcp_session.ts` and `udp_session.ts` of them. `backend_dial.ts` dials for both,
 * `backend_watch.ts` sees which backends are up, `service_drains.ts` ends what a reload has removed.
 */
export * from "./connector.ts";
export { CONNECTOR_ARENA_BYTES } from "./limits.ts";
export * from "./metrics.ts";
