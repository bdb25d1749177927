/**
 * The order of the checks. Each goes on from what the ones before have found: who has no address is not asked for a handshake. What is
 * found is told at once.
 */
import { formatSocketAddress, PosternError } from "../../base/mod.ts";
import { authorize, formatDenyReason, identityFrom, type Role, STRICT_AUTHORIZATION } from "../../core/auth/mod.ts";
import { CLIENT_PROTOCOLS } from "../../core/wire/mod.ts";
import { errnoText } from "../../io/mod.ts";
import { ProbeConnection, type ProbeWorld, ROLE_TRANSPORT } from "../probe/mod.ts";
import { examineAdmission, examineServices } from "./asked_services.ts";
import type { Findings } from "./finding.ts";
import { type DoctorReader, type DoctorSettings, examineOwnFiles, type OwnFiles } from "./own_files.ts";
import { EMSGSIZE, overheadOf, type Reach, reach } from "./reach.ts";
import { examineClock, examineDistrust, examineServerCertificate } from "./trust.ts";

/** What the checks need of the world. */
export interface DoctorWorld {
  readonly reader: DoctorReader;
  readonly resolve: (host: string) => Promise<readonly string[]>;
  /** Opens what a connection is made of. */
  readonly openProbe: () => Promise<ProbeWorld>;
}

export interface DoctorOptions {
  readonly settings: DoctorSettings;
  /** What is wanted of the server, or offered by it. */
  readonly services: readonly string[];
}

/** From the first packet to the end of the handshake; and with a server that was silent before. */
const HANDSHAKE_MS = 10_000, SILENT_HANDSHAKE_MS = 5_000;
/** Packets of IPv6 are never smaller (RFC 8200 §5): a tunnel should carry them whole. */
const INNER_PACKET_BYTES = 1_280;

export async function examine({ settings, services }: DoctorOptions, world: DoctorWorld, findings: Findings): Promise<void> {
  const files = await examineOwnFiles(settings, world.reader, findings);
  examineNames(settings.role, services, files, findings);
  const { serverHost: host, serverPort: port } = settings;
  const addresses = await resolveServer(host, world, findings);
  if (addresses.length === 0) return;
  const probe = await world.openProbe();
  const found = await findWay(addresses, port, probe, findings);
  if (found === null) return;
  const target = formatSocketAddress({ ip: found.address, port });
  if (settings.verifyPeer && files.trustPem === null) {
    return findings.fail(
      "handshake",
      target,
      "not tried: there is nothing to verify the server by",
      "give its authority with --ca-cert",
    );
  }
  const dialledMs = probe.reactor.clockMs;
  const name = settings.serverName ?? host;
  let dialled: ProbeConnection;
  try {
    dialled = new ProbeConnection(probe, {
      address: found.address,
      port,
      protocols: CLIENT_PROTOCOLS,
      trust: files.trustPem === null ? null : { pem: files.trustPem, name },
      identity: files.identity,
      transport: ROLE_TRANSPORT,
    });
  } catch (error) {
    return findings.failed("handshake", target, error);
  }
  try {
    examineBuffers(dialled, findings);
    await dialled.until(() => dialled.isEstablished, found.reach.kind === "silent" ? SILENT_HANDSHAKE_MS : HANDSHAKE_MS);
    if (found.reach.kind === "silent") tellSilence(dialled, target, port, findings);
    const facts = { name, pins: settings.pins, target, files, nowMs: world.reader.nowMs };
    if (!dialled.isEstablished) return tellFailure(dialled, found.reach, facts, findings);
    const { group, cipher } = dialled.connection.engine.tlsDescription();
    const took = Math.round(probe.reactor.clockMs - dialledMs);
    const protocol = dialled.connection.engine.applicationProtocol();
    findings.ok("handshake", target, `${protocol}, ${group}, ${cipher}, in ${took} ms`);
    if (settings.verifyPeer && !examineServerCertificate(dialled, facts, findings)) return;
    const isAdmitted = await examineAdmission(dialled, probe, files, target, findings);
    examineClock(dialled, isAdmitted, facts, findings);
    if (!isAdmitted) return;
    examinePath(dialled, found, target, findings);
    if (settings.role === "agent") await examineServices(dialled, probe, files, services, findings);
  } finally {
    dialled.close();
  }
}

function examineNames(role: Role, services: readonly string[], { leaf }: OwnFiles, findings: Findings): void {
  if (leaf === null) return;
  const identity = identityFrom(leaf);
  if (identity.kind === "problem") {
    return findings.fail("names", leaf.subject, identity.message, "issue a certificate with a common name");
  }
  const named = leaf.dnsNames.slice(0, 8).join(", ") || "none";
  for (const service of services) {
    const decision = authorize(identity, role, service, STRICT_AUTHORIZATION);
    if (decision.allowed) {
      findings.ok("names", service, `the certificate has ${decision.name}`);
      continue;
    }
    const mend = `issue a certificate with the DNS name ${role}.${service}.ztna (postern certs inspect shows what is in one)`;
    const message = `${formatDenyReason(decision.why)}: its names are ${named}`;
    // A server may take one without any such name all the same (--allow-legacy-certs).
    if (identity.hasZtnaName) findings.fail("names", service, message, mend);
    else findings.warn("names", service, message, mend);
  }
}

async function resolveServer(host: string, { resolve }: DoctorWorld, findings: Findings): Promise<readonly string[]> {
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

interface Way {
  readonly address: string;
  readonly reach: Exclude<Reach, { kind: "refused" }>;
}

/** The first address that answers, else the first that is only silent: a handshake will show. Tells of the others. */
async function findWay(addresses: readonly string[], port: number, probe: ProbeWorld, findings: Findings): Promise<Way | null> {
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

function tellSilence({ isEstablished, ending }: ProbeConnection, target: string, port: number, findings: Findings): void {
  if (isEstablished || ending?.by === "peer" || ending?.by === "refused") {
    return findings.ok("reach", target, "a server answers over UDP, but not to other versions of QUIC");
  }
  findings.fail(
    "reach",
    target,
    "nothing comes back, no refusal either: a firewall drops UDP, or the host is down",
    `let UDP port ${port} pass to the server and back (security group, nft list ruleset); on the server: ss -lun 'sport = :${port}'`,
  );
}

function examineBuffers({ socket }: ProbeConnection, findings: Findings): void {
  const wanted = socket.wantedBufferBytes;
  // The kernel reports twice what it grants, for its own bookkeeping (socket(7)).
  const [received, sent] = [socket.grantedReceiveBytes / 2, socket.grantedSendBytes / 2];
  const message = `the kernel grants ${received} bytes to receive and ${sent} to send, of ${wanted}`;
  if (received >= wanted && sent >= wanted) return findings.ok("buffers", "UDP", message);
  findings.warn(
    "buffers",
    "UDP",
    `${message}: bursts may be lost`,
    `sysctl -w net.core.rmem_max=${wanted} net.core.wmem_max=${wanted}`,
  );
}

/** What is known when a handshake is judged. */
export interface HandshakeFacts {
  /** The name that the server's certificate must have. */
  readonly name: string;
  /** The keys that it may have; empty: any. */
  readonly pins: readonly string[];
  readonly target: string;
  readonly files: OwnFiles;
  readonly nowMs: number;
}

function tellFailure(dialled: ProbeConnection, reached: Reach, facts: HandshakeFacts, findings: Findings): void {
  const { trouble, distrust } = dialled;
  if (distrust !== null) examineDistrust(distrust, facts, findings);
  else if (trouble !== null) findings.fail("handshake", facts.target, trouble.message, trouble.hint);
  else if (reached.kind === "answered") {
    const message = `a QUIC server answers, but its handshake does not end within ${HANDSHAKE_MS / 1_000} s`;
    findings.fail("handshake", facts.target, message, "look into the server's log: it may be another QUIC server, or overloaded");
  }
  if (dialled.ending !== null) examineClock(dialled, false, facts, findings);
}

function examinePath(dialled: ProbeConnection, { address, reach }: Way, target: string, findings: Findings): void {
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
