/**
 * Who serves what, and where an answer goes. A registration enters {@linkcode Registry}; a packet asks it for a connector,
 * and the {@linkcode FlowTable} remembers which agent's packet it was, so that the answer reaches that agent and no other.
 */
export { FLOW_LIMITS, type FlowLimits } from "./flow_age.ts";
export { type FlowRecord } from "./flow_list.ts";
export { type FlowCounters, FlowTable } from "./flow_table.ts";
export { FlowDrop, type FlowDropName, flowDropName } from "./inner_packet.ts";
export * from "./limits.ts";
export type { Connector, StreamChoice } from "./pool.ts";
export * from "./registration.ts";
export * from "./registry.ts";
