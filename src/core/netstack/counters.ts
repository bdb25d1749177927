/**
 * What the stack counts: every packet that it does not serve, by reason, and every turn that a person may ask about. The
 * owner reads the numbers; `counterPublisher` copies them into shared cells for whoever is scraped.
 */
import type { MetricCells, MetricDefinition } from "../../base/mod.ts";
import type { IcmpVerdict, IpVerdict, TcpVerdict, UdpVerdict } from "../wire/mod.ts";

/** Each counter with its sentence. */
const COUNTER_HELP = {
  packetsReceived: "IP packets taken in",
  packetsSent: "IP packets given out, UDP replies included",
  ipTruncated: "packets shorter than they say",
  ipVersion: "packets of neither IP version",
  ipHeaderLength: "IPv4 packets with an impossible header length",
  ipLengthMismatch: "packets followed by foreign bytes",
  ipHeaderChecksum: "IPv4 packets with a wrong header checksum",
  ipFragment: "fragments, which are refused",
  ipExtensionHeader: "IPv6 packets with an extension header, which are refused",
  ipMappedAddress: "IPv6 packets with an IPv4-mapped address",
  ipSourceAddress: "packets whose source may not be answered",
  ipProtocol: "packets of a protocol that is not served",
  tcpTruncated: "TCP segments shorter than a header",
  tcpDataOffset: "TCP segments with an impossible header length",
  tcpChecksum: "TCP segments with a wrong checksum",
  tcpOptions: "TCP segments with options of impossible length",
  tcpPort: "TCP segments with port 0",
  tcpFlags: "TCP segments with flags that exclude each other",
  udpTruncated: "UDP datagrams shorter than they say",
  udpLengthMismatch: "UDP datagrams followed by foreign bytes",
  udpChecksum: "UDP datagrams with a wrong checksum",
  udpPort: "UDP datagrams to port 0",
  icmpTruncated: "ICMP messages shorter than a header",
  icmpChecksum: "ICMP messages with a wrong checksum",
  icmpIgnored: "ICMP messages of a kind or about a flow that is not ours",
  synRefusedByOwner: "SYNs that the owner refused",
  synRefusedRate: "SYNs over the rate of their source",
  synRefusedSessions: "SYNs over the number of sessions",
  synRefusedAgent: "SYNs over the number of sessions of their agent",
  synRefusedAccounts: "SYNs of a source that there was no room to count",
  synRepeated: "SYNs repeated while the backend's answer is awaited",
  sessionsOpened: "TCP sessions established",
  sessionsFinished: "TCP sessions that ended with both FINs",
  sessionsReset: "TCP sessions that the peer reset",
  sessionsAborted: "TCP sessions that the owner aborted",
  sessionsTimedOut: "TCP sessions whose peer no longer acknowledged",
  sessionsIdle: "TCP sessions reset for idleness",
  sessionsDrained: "TCP sessions to which we sent FIN because the owner was silent after the peer's",
  sessionsUnfinished: "TCP sessions reset because the owner stopped in the middle of what it said after the peer's FIN",
  backendTimeouts: "TCP sessions refused because the owner gave no word in time",
  handshakeTimeouts: "TCP sessions whose peer never finished the handshake",
  resetsSent: "RSTs sent",
  resetsIgnored: "RSTs outside the window, or without a session",
  segmentsUnexpected: "TCP segments that their session's state has no use for",
  segmentsOutsideWindow: "TCP segments outside the window",
  segmentsDuplicate: "TCP segments with data that was there already",
  segmentsOutOfOrder: "TCP segments kept until a gap is filled",
  reassemblyFull: "TCP segments dropped because they would open a gap too many",
  receiveMemory: "TCP segments dropped, or cut, for want of buffer",
  challengeAcks: "challenge ACKs sent (RFC 5961)",
  challengeAcksSuppressed: "challenge ACKs left out for their rate",
  retransmitTimeouts: "retransmission time-outs",
  fastRetransmits: "losses found by duplicate or selective acknowledgements",
  lossProbes: "segments sent to find out whether others were lost (RFC 8985)",
  segmentsRetransmitted: "TCP segments sent again",
  windowProbes: "probes of a closed window",
  keepalives: "keepalives sent",
  pathMtuReduced: "times that an ICMP error made a session's packets smaller",
  udpFlowsOpened: "UDP flows opened",
  udpFlowsExpired: "UDP flows that ended for idleness",
  udpFlowsEvicted: "UDP flows that ended to make room for another of the same agent",
  udpRefusedByOwner: "UDP datagrams that the owner refused",
  udpRefusedFlows: "UDP datagrams over the number of flows",
  udpTooBig: "UDP replies larger than the path carries",
  echoReplies: "ICMP echo replies sent",
  echoRefused: "ICMP echo requests to an address that is not ours",
  echoTooBig: "ICMP echo requests whose reply the path does not carry",
  icmpErrorsSent: "ICMP errors sent",
  icmpErrorsSuppressed: "ICMP errors left out for their rate",
  controlDropped: "answers without a session dropped because too many waited",
} as const;

export type CounterName = keyof typeof COUNTER_HELP;
export type Counters = { [K in CounterName]: number };

export const COUNTER_NAMES = Object.keys(COUNTER_HELP) as readonly CounterName[];

export function newCounters(): Counters {
  return Object.fromEntries(COUNTER_NAMES.map((name) => [name, 0])) as Counters;
}

/** The counters as metrics: `postern_netstack_..._total`, one each. */
export const NETSTACK_METRICS = Object.fromEntries(COUNTER_NAMES.map((name) => [name, {
  name: "postern_netstack_" + name.replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase()) + "_total",
  kind: "counter",
  help: COUNTER_HELP[name],
}])) as { readonly [K in CounterName]: MetricDefinition };

/** What copies all counters to the cells. It is called every turn. */
export function counterPublisher(counters: Counters, { cells, index }: MetricCells<typeof NETSTACK_METRICS>): () => void {
  const cellOf = COUNTER_NAMES.map((name) => index[name]);
  return () => {
    for (let i = 0; i < cellOf.length; i++) cells[cellOf[i] as number] = counters[COUNTER_NAMES[i] as CounterName];
  };
}

/** The counter of each refusal of a decoder. */
export const IP_COUNTERS: Readonly<Record<Exclude<IpVerdict, "ok">, CounterName>> = {
  "truncated": "ipTruncated",
  "version": "ipVersion",
  "header-length": "ipHeaderLength",
  "length-mismatch": "ipLengthMismatch",
  "header-checksum": "ipHeaderChecksum",
  "fragment": "ipFragment",
  "extension-header": "ipExtensionHeader",
  "mapped-address": "ipMappedAddress",
};
export const TCP_COUNTERS: Readonly<Record<Exclude<TcpVerdict, "ok">, CounterName>> = {
  "truncated": "tcpTruncated",
  "data-offset": "tcpDataOffset",
  "checksum": "tcpChecksum",
  "options": "tcpOptions",
  "port": "tcpPort",
};
export const UDP_COUNTERS: Readonly<Record<Exclude<UdpVerdict, "ok">, CounterName>> = {
  "truncated": "udpTruncated",
  "length-mismatch": "udpLengthMismatch",
  "checksum": "udpChecksum",
  "port": "udpPort",
};
export const ICMP_COUNTERS: Readonly<Record<Exclude<IcmpVerdict, "ok">, CounterName>> = {
  "truncated": "icmpTruncated",
  "checksum": "icmpChecksum",
};
