/**
 * The way to one server, as far as it can be seen without a certificate: its name, UDP there and back, what the kernel takes, and how
 * large a packet may be.
 */
import { formatSocketAddress, PosternError } from "../../base/mod.ts";
import { errnoText } from "../../io/mod.ts";
import { type ProbeConnection, type ProbeWorld, ROLE_TRANSPORT } from "../probe/mod.ts";
import type { Findings } from "./finding.ts";
import { EMSGSIZE, overheadOf, type Reach, reach } from "./reach.ts";

/** Packets of IPv6 are never smaller (RFC 8200 §5): a tunnel should carry them whole. */
const INNER_PACKET_BYTES = 1_280;

/** The IP addresses of a name. */
export type Resolve = (host: string) => Promise<readonly string[]>;

export async function resolveServer(host: string, resolve: Resolve, findings: Findings): Promise<readonly string[]> {
  try {
    const addresses = await resolve(host);
    findings.ok("resolve", host, addresses[0] === host ? "is an address" : `is ${addresses.join(", ")}`);
    return addresses;
  } catch (error) {
    if (!(error instanceof PosternError)) throw error;
    findings.fail("resolve", host, error.message, `getent ahosts ${host} (the name stands in --server), or give an IP address`);
    return [];
  }
}

export interface Way {
  readonly address: string;
  readonly reach: Exclude<Reach, { kind: "refused" }>;
}

/** The first address that answers, else the first that is only silent: a handshake will show. Tells of the others. */
export async function findWay(
  addresses: readonly string[],
  port: number,
  probe: ProbeWorld,
  findings: Findings,
): Promise<Way | null> {
  let silent: Way | null = null;
  const refusals: { readonly address: string; readonly errno: number }[] = [];
  for (const address of addresses) {
    const target = formatSocketAddress({ ip: address, port });
    const found = await reach(probe, { address, port });
    if (found.kind === "refused") {
      refusals.push({ address, errno: found.errno });
      continue;
    }
    if (found.kind === "silent") {
      silent ??= { address, reach: found };
      continue;
    }
    for (const refusal of refusals) tellRefusal("warn", refusal, port, findings);
    findings.ok("reach", target, `a QUIC server answers over UDP within ${found.rttMs.toFixed(1)} ms`);
    tellOffload(found, target, findings);
    return { address, reach: found };
  }
  for (const refusal of refusals) tellRefusal(silent === null ? "fail" : "warn", refusal, port, findings);
  return silent;
}

function tellRefusal(
  level: "warn" | "fail",
  { address, errno }: { readonly address: string; readonly errno: number },
  port: number,
  findings: Findings,
): void {
  findings[level]("reach", formatSocketAddress({ ip: address, port }), ...refusalWords(errno, address, port));
}

/** What an error says about the way, and what to do. */
function refusalWords(errno: number, address: string, port: number): [message: string, mend: string] {
  const words = errnoText(errno);
  switch (errno) {
    case 111:
      return [
        `UDP is refused (ICMP port unreachable): the host is there, and no server listens on port ${port}`,
        `on the server: systemctl status postern-server; ss -lun 'sport = :${port}'`,
      ];
    case 1:
    case 13:
      return [`UDP may not leave here (${words}): a packet filter refuses it`, "nft list ruleset; iptables -S OUTPUT"];
    case EMSGSIZE:
      return ["this machine's link takes no packet of 1200 bytes of UDP, the least that QUIC needs", mendMtu(address)];
    case 97:
    case 99:
    case 101:
    case 113:
      return [`there is no way there (${words})`, `ip route get ${address}; ip address`];
    default:
      return [`UDP cannot be sent there (${words})`, `ip route get ${address}`];
  }
}

function mendMtu(address: string): string {
  return `tracepath -n ${address} shows where it shrinks; if that is here: ip link set dev DEVICE mtu 1500`;
}

function tellOffload({ segmentation, coalescing }: Extract<Reach, { kind: "answered" }>, target: string, findings: Findings): void {
  const mend = "use Linux 5.0 or newer; for the device: ethtool -K DEVICE tx-udp-segmentation on";
  if (segmentation === 0 && coalescing === 0) return findings.ok("offload", target, "trains of packets are taken (GSO and GRO)");
  const lacks = [
    ...(segmentation === 0 ? [] : [`GSO (${errnoText(segmentation)})`]),
    ...(coalescing === 0 ? [] : [`GRO (${errnoText(coalescing)})`]),
  ];
  findings.warn("offload", target, `not taken: ${lacks.join(" and ")}; each packet costs a call`, mend);
}

export function tellSilence({ isEstablished, ending }: ProbeConnection, target: string, findings: Findings): void {
  if (isEstablished || ending?.by === "peer" || ending?.by === "refused") {
    return findings.ok("reach", target, "a server answers over UDP, but not to other versions of QUIC");
  }
  const port = target.slice(target.lastIndexOf(":") + 1);
  findings.fail(
    "reach",
    target,
    "nothing comes back, no refusal either: a firewall drops UDP, or the host is down",
    `let UDP port ${port} pass to the server and back (security group, nft list ruleset); on the server: ss -lun 'sport = :${port}'`,
  );
}

export function examinePath(dialled: ProbeConnection, { address, reach }: Way, target: string, findings: Findings): void {
  const { engine } = dialled.connection;
  const { pathMtuBytes } = engine.stats();
  // What QUIC itself needs of a packet is the same at every size.
  const ownBytes = pathMtuBytes - engine.datagramMax();
  const largest = reach.kind === "answered" ? reach.payloadMaxBytes : pathMtuBytes;
  const payload = Math.min(largest, ROLE_TRANSPORT.udpPayloadSendMaxBytes);
  const datagram = payload - ownBytes;
  const message = `packets of ${largest + overheadOf(address)} bytes reach the server: ${datagram} bytes in one DATAGRAM`;
  if (datagram >= INNER_PACKET_BYTES) return findings.ok("path", target, message);
  findings.warn("path", target, `${message}, too few for an IPv6 packet of ${INNER_PACKET_BYTES}`, mendMtu(address));
}
