/** The bounds of an agent. */

/** A local connection waits this long for the server to be reached. */
export const UPLINK_WAIT_MS = 5_000;
/** Local connections in all; more are reset. */
export const CONNECTIONS_MAX = 1_024;
/** From OPEN to RESULT. Longer than the connector's own time for its backend. */
export const RESULT_TIMEOUT_MS = 15_000;
export const AGENT_ARENA_BYTES = 8 * 1024 * 1024;
