/** The agent: `agent.ts` is its data plane, `local_stream.ts` the way of one local connection. */
export * from "./agent.ts";
export { AGENT_ARENA_BYTES } from "./limits.ts";
export * from "./metrics.ts";
