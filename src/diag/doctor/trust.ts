/**
 * The server's certificate, and what certificates tell about clocks. The protocol itself tells no time, so that there is no measure of a
 * difference: only that a clock lies outside of what a certificate says, or that the other end judged ours otherwise than we do.
 */
import { explainPins, PIN_HINT } from "../../base/mod.ts";
import { isoTime } from "../../config/mod.ts";
import type { CertificateSummary } from "../../core/quic/mod.ts";
import type { ProbeConnection } from "../probe/mod.ts";
import type { Findings } from "./finding.ts";
import { judgeValidity, type OwnFiles, secondsOf, SET_CLOCK } from "./own_files.ts";

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

type Distrust = NonNullable<ProbeConnection["distrust"]>;

/** TLS alerts as QUIC codes (RFC 9001 §4.8): bad_certificate, certificate_expired. */
const ALERT_BAD = 0x12a, ALERT_EXPIRED = 0x12d;
const RENEW_SERVER = "on the server: put a new certificate in the place of the file of --cert; SIGHUP loads it";

/** The certificate of a server that was verified. False: it is not the one that we want. */
export function examineServerCertificate({ connection }: ProbeConnection, facts: HandshakeFacts, findings: Findings): boolean {
  const leaf = connection.engine.peerCertificate();
  const unpinned = explainPins(facts.pins, leaf);
  if (unpinned !== null) findings.fail("server-certificate", facts.target, unpinned, PIN_HINT);
  if (unpinned !== null || leaf === null) return unpinned === null;
  const chain = [leaf.subject, ...connection.engine.peerAuthorities().map(({ subject }) => subject)];
  const shown = `${chain.slice(0, 4).join(" < ")}, signed by ${leaf.issuer}, has the name ${facts.name}`;
  const tell = (message: string) => findings.fail("server-certificate", facts.target, message, RENEW_SERVER);
  judgeValidity(leaf, facts.nowMs, {
    ok: (message) => findings.ok("server-certificate", facts.target, `${shown}, ${message}`),
    warn: (message) => findings.warn("server-certificate", facts.target, `${shown}, ${message}`, RENEW_SERVER),
    expired: tell,
    early: tell,
  });
  return true;
}

/** Why we did not believe the server: which of its parts it was, and who can mend it. */
export function examineDistrust({ reason, offered }: Distrust, facts: HandshakeFacts, findings: Findings): void {
  const { target, name, nowMs } = facts;
  const fail = (message: string, mend: string) => findings.fail("server-certificate", target, message, mend);
  if (offered === null) return fail(`is not trusted: ${reason}`, "look into the server's log");
  if (offered.notAfterMs <= nowMs || offered.notBeforeMs > nowMs) {
    judgeValidity(offered, nowMs, {
      ok: () => {},
      warn: () => {},
      expired: (message) => fail(`${offered.subject}, ${message}`, RENEW_SERVER),
      early: (message) => fail(`${offered.subject}, ${message}`, SET_CLOCK),
    });
    return;
  }
  const names = [...offered.dnsNames, ...offered.ipAddresses];
  if (isAboutNames(reason)) {
    const mend = `name one of them: --server-name ${names[0] ?? "NAME"}, or issue the server a certificate with the name ${name}`;
    return fail(`the name ${name} is not in it; it has ${names.slice(0, 8).join(", ") || "none"} (${reason})`, mend);
  }
  fail(
    `${offered.subject}, signed by ${offered.issuer}, is not trusted: ${reason}`,
    "give the authority that signed it with --ca-cert; on the server: postern certs inspect CERT shows which that is",
  );
}

/** How the engine begins when the chain is good and only the name is another. */
function isAboutNames(reason: string): boolean {
  return /^the certificate has no (?:DNS name|IP address) that matches/.test(reason);
}

/** What the two clocks say, as far as certificates show it. */
export function examineClock(dialled: ProbeConnection, isAdmitted: boolean, facts: HandshakeFacts, findings: Findings): void {
  const { files: { leaf }, nowMs, target } = facts;
  const theirs = dialled.isEstablished && dialled.ending === null
    ? dialled.connection.engine.peerCertificate()
    : dialled.distrust?.offered ?? null;
  const here = `the clock here says ${isoTime(secondsOf(nowMs))}`;
  const early = [leaf, theirs].find((certificate) => certificate !== null && certificate.notBeforeMs > nowMs);
  if (early) {
    const message = `${here}, and ${early.subject} is not valid before ${
      isoTime(early.notBeforeMs)
    }: it is late, or another was ahead`;
    return findings.fail("clock", target, message, SET_CLOCK);
  }
  if (leaf !== null && leaf.notAfterMs <= nowMs && isAdmitted) {
    const message = `${here}, our certificate ended before, and the server took it: this clock is ahead, or the server's late`;
    return findings.fail("clock", target, message, SET_CLOCK);
  }
  const code = dialled.ending?.by === "peer" ? dialled.ending.info?.code : undefined;
  if (leaf !== null && leaf.notAfterMs > nowMs && (code === ALERT_EXPIRED || code === ALERT_BAD)) {
    const message = `${here}, and the server does not take our certificate, which holds here from ${span(leaf)}`;
    return findings.warn("clock", target, `${message}: its clock may differ`, SET_CLOCK);
  }
  const bounds = [leaf, theirs].filter((certificate) => certificate !== null);
  if (!isAdmitted || bounds.length === 0) return;
  const from = Math.max(...bounds.map(({ notBeforeMs }) => notBeforeMs)),
    to = Math.min(...bounds.map(({ notAfterMs }) => notAfterMs));
  findings.ok("clock", target, `${here}; both ends are within ${span({ notBeforeMs: from, notAfterMs: to })}, more is not told`);
}

function span({ notBeforeMs, notAfterMs }: Pick<CertificateSummary, "notBeforeMs" | "notAfterMs">): string {
  return `${isoTime(notBeforeMs)} to ${isoTime(notAfterMs)}`;
}
