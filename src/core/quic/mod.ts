/**
 * QUIC as the roles use it: an endpoint with many connections over an engine. `handlePacket` takes packets in, the handler is
 * told what they meant, `endTurn` gives packets out.
 */
export * from "./cid_rotation.ts";
export * from "./cid_table.ts";
export * from "./connection.ts";
export * from "./endpoint.ts";
export * from "./endpoint_options.ts";
export * from "./engine.ts";
export * from "./header.ts";
export * from "./knock.ts";
export * from "./leaving_streams.ts";
export * from "./reset_token.ts";
export * from "./retry_token.ts";
export * from "./steering.ts";
export * from "./stream_header.ts";
export * from "./stream_rest.ts";
