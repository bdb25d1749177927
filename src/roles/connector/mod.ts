/**
 * The connector: `connector.ts` is its data plane, `registration.ts` how it offers its services, `services.ts` what they are.
 * `backend_stream.ts` is the way of one stream; packets end in `datagram_end.ts`, which makes `tcp_session.ts` and
 * `udp_session.ts` of them. `backend_dial.ts` dials for both, `backend_watch.ts` sees which backends are up.
 */
export * from "./connector.ts";
export { CONNECTOR_ARENA_BYTES } from "./limits.ts";
export * from "./metrics.ts";
