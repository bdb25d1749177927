/**
 * What the connector and the agent share: the connection to the server (`uplink`), the sockets and the endpoint under it
 * (`uplink_hub`), the services that are registered on it (`registration`), a TCP connection joined to one of its streams
 * (`stream_bridge`) or to a session in packets (`session_bridge`), how packets leave (`packet_pump`), and what both sides of a direct path need of them: `signal_stream`
 * towards the server, `direct_control` towards the other, `detour_path` towards it behind the server.
 */
export * from "./detour_path.ts";
export * from "./dial_race.ts";
export * from "./direct_control.ts";
export * from "./ignored.ts";
export * from "./limits.ts";
export * from "./packet_pump.ts";
export * from "./proof.ts";
export * from "./queue_warning.ts";
export * from "./registration.ts";
export * from "./session_bridge.ts";
export * from "./signal_stream.ts";
export * from "./stream_bridge.ts";
export * from "./uplink.ts";
export * from "./uplink_hub.ts";
export * from "./uplink_state.ts";
export * from "./uplink_trouble.ts";
