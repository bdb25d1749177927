/**
 * The world's side of the data plane: one reactor, UDP in batches, TCP edge-triggered, addresses. A packet comes in through
 * `udp_socket` and leaves through it; what blocks is only the reactor's wait.
 */
export * from "./arena.ts";
export * from "./crypto.ts";
export * from "./datagram_socket.ts";
export * from "./dns.ts";
export * from "./interfaces.ts";
export { setLinkDns } from "./link_dns.ts";
export * from "./link_drops.ts";
export * from "./errno.ts";
export * from "./native.ts";
export * from "./network_watch.ts";
export { canSharePorts, SHARING_TRIAL_BYTES } from "./port_sharing.ts";
export * from "./reactor.ts";
export * from "./sockaddr.ts";
export * from "./tcp_socket.ts";
export * from "./tun_device.ts";
export { type IpNetwork, IPV6_MTU_MIN } from "./tun_interface.ts";
export * from "./udp_socket.ts";
export type { ArrivalLimits } from "./arrivals.ts";
