/** The server: `datapath.ts` first, then `stream_relay.ts` for what happens to one stream. */
export * from "./datapath.ts";
export { BINDS_MAX, SERVER_ARENA_BYTES } from "./limits.ts";
export * from "./metrics.ts";
export { CarrierPlane } from "./workers/mod.ts";
