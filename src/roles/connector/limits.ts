/** The bounds of a connector. */

/** From the start of a connect to the backend until its answer: then the open is answered `backend-timeout`. */
export const BACKEND_CONNECT_TIMEOUT_MS = 5_000;
/** Streams in all; more are answered `busy`. */
export const STREAMS_MAX = 1_024;
/** Data plane memory: one UDP socket per address family, the engine, and one chunk for all bridges. */
export const CONNECTOR_ARENA_BYTES = 8 * 1024 * 1024;
