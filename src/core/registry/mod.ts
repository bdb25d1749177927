/**
 * Who serves what, and where an answer goes. A registration enters {@linkcode Registry}; a packet asks it for a connector,
 * and the flow table remembers which agent's packet it was, so that the answer reaches that agent and no other.
 */
export * from "./limits.ts";
export type { Connector, StreamChoice } from "./pool.ts";
export * from "./registration.ts";
export * from "./registry.ts";
