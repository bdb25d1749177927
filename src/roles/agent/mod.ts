/**
 * The agent: `agent.ts` is its data plane. Local TCP connections are in `local_connections.ts`, the way of one is `local_connection.ts`: by
 * `local_stream.ts` or, where the other side knows none, by `local_session.ts`. UDP
 * comes in by `udp_forward.ts` and travels as packets, which `packet_end.ts` makes, for the services of `services.ts`.
 */
export * from "./agent.ts";
export { AGENT_ARENA_BYTES } from "./limits.ts";
export * from "./metrics.ts";
