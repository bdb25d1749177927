/** What the stack asks and tells the one who owns it. Sessions and flows have handlers of their own for what is theirs. */
import type { IpEnds } from "../wire/mod.ts";
import type { PacketPath } from "./path.ts";
import type { SynRefusedWhy } from "./session_table.ts";
import type { SessionHandler, TcpSession } from "./tcp_session.ts";
import type { FlowHandler, UdpFlow } from "./udp_flows.ts";

/** Who decides what packets may reach, and whom the stack tells. Deny is: return null or false. */
export interface NetStackOwner {
  /**
   * A SYN for `session.ends.source`, `session.localPort`. Null refuses it (RST|ACK). With a handler the session is pending
   * until `accept` or `abort` is called, which may be at once.
   */
  onSyn(session: TcpSession): SessionHandler | null;
  /** A SYN was refused by a limit; the ends are the packet's, the port the one that was dialled. */
  onSynRefused(path: PacketPath, packet: IpEnds, port: number, why: SynRefusedWhy): void;
  /** The first datagram to `flow.ends.source`, `flow.localPort`. Null refuses it (ICMP port unreachable). */
  onFlow(flow: UdpFlow): FlowHandler | null;
  /** Whether an echo request to `packet`'s destination is answered. */
  answersEcho(path: PacketPath, packet: IpEnds): boolean;
  /** The path has something to send, and had nothing before: poll it. */
  onPathReady(path: PacketPath): void;
}
