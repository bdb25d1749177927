/**
 * How an agent and a connector learn each other's addresses through the server. Bytes of a stream become messages in
 * {@linkcode SignalReceiver}; {@linkcode SignalSessions} decides what each may cause; {@linkcode filterCandidates} keeps
 * out addresses that nobody should be made to send to. {@linkcode Punching} is what each side then does by itself, and
 * {@linkcode PathHealth} tells whether the path that was found still carries.
 */
export * from "./candidate_filter.ts";
export * from "./candidates.ts";
export * from "./limits.ts";
export * from "./path_health.ts";
export * from "./punching.ts";
export * from "./receiver.ts";
export * from "./session_table.ts";
export * from "./sessions.ts";
