/**
 * The connector's settings of how long what agents began with packets may be silent. Texts of flags, variables and files become
 * one plain object of milliseconds.
 */
import { type Resolved, type SettingTable, word } from "./setting.ts";
import { durationWithin } from "./value.ts";

/** Milliseconds each. */
export interface PacketTimes {
  /** A TCP session without any data is reset. */
  readonly tcpIdleMs: number;
  /** The agent has ended its direction and the backend says nothing: our end follows. */
  readonly tcpDrainMs: number;
  /** A silent agent is asked whether it is still there. */
  readonly tcpKeepaliveMs: number;
  /** A UDP flow without datagrams ends. */
  readonly udpIdleMs: number;
}

/**
 * For `tcp_keepalive` and `udp_idle_timeout`: the server remembers for 120 s whose a silent TCP flow is and for 60 s whose one of UDP
 * is. What lived on here would be somebody else's afterwards.
 */
const KEEPALIVE_MAX = "90s", UDP_IDLE_MAX = "60s";

export const packetTimeSettings = {
  tcp_idle_timeout: word<number>("DURATION", 3_600_000, {
    schema: durationWithin("1s", "8760h"),
    fallbackText: "1h",
    example: "1h",
    summary: "TCP sessions that agents began with packets are reset after so long without data",
  }),
  tcp_drain_timeout: word<number>("DURATION", 5_000, {
    schema: durationWithin("1s", "24h"),
    fallbackText: "5s",
    example: "30s",
    summary: "So long a backend may be silent when the agent has ended its direction of such a session, before it is ended",
  }),
  tcp_keepalive: word<number>("DURATION", 60_000, {
    schema: durationWithin("1s", KEEPALIVE_MAX),
    fallbackText: "1m",
    example: "1m",
    summary: "After so long a silence the agent of such a session is asked whether it is still there; at most 90s",
  }),
  udp_idle_timeout: word<number>("DURATION", 60_000, {
    schema: durationWithin("1s", UDP_IDLE_MAX),
    fallbackText: "1m",
    example: "1m",
    summary: "UDP flows that agents began with packets end after so long without datagrams; at most 60s",
  }),
} satisfies SettingTable;

/** The settings as the role takes them. */
export function finishPacketTimes({ values }: Pick<Resolved<typeof packetTimeSettings>, "values">): PacketTimes {
  return {
    tcpIdleMs: values.tcp_idle_timeout,
    tcpDrainMs: values.tcp_drain_timeout,
    tcpKeepaliveMs: values.tcp_keepalive,
    udpIdleMs: values.udp_idle_timeout,
  };
}
