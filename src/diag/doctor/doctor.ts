/**
 * The order of the checks. Each goes on from what the ones before have found: who has no address is not asked for a handshake. What is
 * found is told at once.
 */
import { formatSocketAddress } from "../../base/mod.ts";
import { authorize, formatDenyReason, identityFrom, type Role, STRICT_AUTHORIZATION } from "../../core/auth/mod.ts";
import { CLIENT_PROTOCOLS } from "../../core/wire/mod.ts";
import { formatEndpoint, type IpEndpoint } from "../../io/mod.ts";
import { ProbeConnection, type ProbeWorld, ROLE_TRANSPORT } from "../probe/mod.ts";
import { examineAdmission, examineServices } from "./asked_services.ts";
import type { Findings } from "./finding.ts";
import { type DoctorReader, type DoctorSettings, examineOwnFiles, type OwnFiles } from "./own_files.ts";
import type { Reach } from "./reach.ts";
import { examineClock, examineDistrust, examineServerCertificate, type HandshakeFacts } from "./trust.ts";
import { examinePath, findWay, type Resolve, resolveServer, tellSilence, type Way } from "./way.ts";

/** What the checks need of the world. */
export interface DoctorWorld {
  readonly reader: DoctorReader;
  readonly resolve: Resolve;
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

/** Looks at everything, and tells `findings` of it. */
export async function examine(options: DoctorOptions, world: DoctorWorld, findings: Findings): Promise<void> {
  const { settings, services } = options;
  const files = await examineOwnFiles(settings, world.reader, findings);
  examineNames(settings.role, services, files, findings);
  for (const server of settings.servers) {
    findings.server = formatEndpoint({ address: server.host, port: server.port });
    await examineServer(server, files, options, world, findings);
  }
  findings.server = null;
}

async function examineServer(
  { host, port }: DoctorSettings["servers"][number],
  files: OwnFiles,
  { settings, services }: DoctorOptions,
  world: DoctorWorld,
  findings: Findings,
): Promise<void> {
  const addresses = await resolveServer(host, world.resolve, findings);
  if (addresses.length === 0) return;
  const probe = await world.openProbe();
  const found = await findWay(addresses, port, probe, findings);
  if (found === null) return;
  const target = formatSocketAddress({ ip: found.address, port });
  const facts = { name: settings.serverName ?? host, pins: settings.pins, target, files, nowMs: world.reader.nowMs };
  const dialled = dial(probe, { address: found.address, port }, facts, settings, findings);
  if (dialled === null) return;
  try {
    if (!await examineHandshake(dialled, probe, found, facts, findings)) return;
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

/** Null when there is nothing to dial with. */
function dial(
  probe: ProbeWorld,
  to: IpEndpoint,
  { name, target, files }: HandshakeFacts,
  { verifyPeer }: DoctorSettings,
  findings: Findings,
): ProbeConnection | null {
  if (verifyPeer && files.trustPem === null) {
    const message = "not tried: there is nothing to verify the server by";
    findings.fail("handshake", target, message, "give its authority with --ca-cert");
    return null;
  }
  try {
    return new ProbeConnection(probe, {
      ...to,
      protocols: CLIENT_PROTOCOLS,
      trust: files.trustPem === null ? null : { pem: files.trustPem, name },
      identity: files.identity,
      transport: ROLE_TRANSPORT,
    });
  } catch (error) {
    findings.failed("handshake", target, error);
    return null;
  }
}

/** Whether it came to its end. */
async function examineHandshake(
  dialled: ProbeConnection,
  { reactor }: ProbeWorld,
  { reach }: Way,
  facts: HandshakeFacts,
  findings: Findings,
): Promise<boolean> {
  const { target } = facts;
  const dialledMs = reactor.clockMs;
  examineBuffers(dialled, findings);
  await dialled.until(() => dialled.isEstablished, reach.kind === "silent" ? SILENT_HANDSHAKE_MS : HANDSHAKE_MS);
  if (reach.kind === "silent") tellSilence(dialled, target, findings);
  if (!dialled.isEstablished) {
    tellFailure(dialled, reach, facts, findings);
    return false;
  }
  const { engine } = dialled.connection;
  const { group, cipher } = engine.tlsDescription();
  const took = Math.round(reactor.clockMs - dialledMs);
  findings.ok("handshake", target, `${engine.applicationProtocol()}, ${group}, ${cipher}, in ${took} ms`);
  return true;
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
