/**
 * Userspace ends of TCP, UDP and ICMP: what makes a plain socket out of the IP packets that agents send. Sans-IO and
 * deterministic: packets and the time come in as arguments, packets and calls go out.
 *
 * Read `stack.ts` first, then `owner.ts`. A segment's way in: `intake` (which flow?), `tcp_receive` (may it?), `tcp_ack` (what it acknowledges), `tcp_deliver` (its
 * data to the owner); the way out: `tcp_owner` (what was written), `tcp_send` (what leaves now), `congestion` and `tcp_window`
 * (how much may); `tcp_timer` for time, `tcp_end` for every way to end. `tcp_state` is the table of states.
 */
export { type CounterName, counterPublisher, type Counters, NETSTACK_METRICS } from "./counters.ts";
export { NETSTACK_LIMITS, type NetStackLimits } from "./limits.ts";
export type { NetStackOwner } from "./owner.ts";
export { ControlQueue, type PacketPath, type PathOptions } from "./path.ts";
export type { SynRefusedWhy } from "./session_table.ts";
export { NetStack, type NetStackOptions } from "./stack.ts";
export type { SessionHandler, TcpSession } from "./tcp_session.ts";
export type { CloseWhy, TcpState } from "./tcp_state.ts";
export type { FlowEndWhy, FlowHandler, UdpFlow } from "./udp_flows.ts";
