/** The connector: `connector.ts` is its data plane, `backend_stream.ts` the way of one connection, `registration.ts` how it offers its services. */
export * from "./connector.ts";
export { CONNECTOR_ARENA_BYTES } from "./limits.ts";
export * from "./metrics.ts";
