/**
 * What is told of QUIC handshakes: each one is counted, security events say who came, and a flood of them leaves only some events,
 * the next of which says how many were left out.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { ServerRig } from "../e2e/server_rig_fixture.ts";
import type { CertificateOptions, Issued } from "../pki/mod.ts";

const DAY_MS = 86_400_000;
const AGENT = { commonName: "agent", dns: ["agent.web.ztna"], eku: ["clientAuth"] } as const;

/** Of the sampler: so many events of a type in so long. */
const EVENTS_MAX = 10;
const WINDOW_MS = 10_000;

/** Connects, and stays. */
async function visit(rig: ServerRig, identity: Issued): Promise<void> {
  const before = rig.count("tlsConnections");
  const client = rig.dial(identity);
  await rig.untilCount("tlsConnections", before + 1);
  await rig.until(() => client.isUp);
}

Deno.test("a handshake over QUIC is told with the certificate, the suite and the protocol, and counted while it is open", async () => {
  await using rig = await ServerRig.start();
  const identity = await rig.authority.issue(AGENT);
  const client = rig.dial(identity, { protocols: ["ztna-v1"] });
  // Its address is told to a client that is known to have finished.
  await rig.until(() => client.addresses.length > 0 && rig.events.length > 0);
  const [event] = rig.events;
  assertMatch(event?.remote_addr ?? "", /^127\.0\.0\.1:[1-9]\d*$/);
  assertMatch(event?.cipher_suite ?? "", /^TLS_\w+$/);
  assertEquals({ ...event, remote_addr: "", cipher_suite: "" }, {
    event_type: "tls_connection",
    details: {
      server_name: "ztna-server",
      resumed: false,
      negotiated_protocol: "ztna-v1",
      peer_certificates: 1,
      verified_chains: 1,
    },
    remote_addr: "",
    tls_version: "TLS 1.3",
    cipher_suite: "",
    peer_cert_info: `CN=agent, Issuer=CN=Rig CA, Expiry=${identity.certificate.notAfter.toISOString()}`,
  });
  assertEquals([rig.count("tlsConnections"), rig.count("tlsFailures"), rig.count("tlsVersion")], [1, 0, 1]);
  client.close();
  await rig.until(() => rig.count("tlsVersion") === 0);
  assertEquals([rig.count("tlsConnections"), rig.count("tlsFailures")], [1, 0]);
});

Deno.test("a handshake that fails is counted as one, and no connection is", async () => {
  await using rig = await ServerRig.start();
  const client = rig.dial(null);
  await rig.until(() => client.ending !== null);
  await rig.untilCount("tlsFailures", 1);
  assertEquals([rig.count("tlsConnections"), rig.count("tlsFailures"), rig.count("tlsVersion")], [0, 1, 0]);
  assertEquals(rig.events.map(({ event_type, details }) => [event_type, details["error"]]), [
    ["handshake_failure", "no client certificate"],
  ]);
});

Deno.test("of a flood of handshakes all are counted and few are told, with the number of those left out", async () => {
  await using rig = await ServerRig.start();
  const identity = await rig.authority.issue(AGENT);
  const beganMs = performance.now();
  const visits = 3 * EVENTS_MAX;
  for (let i = 0; i < visits; i++) await visit(rig, identity);
  const windows = 1 + Math.floor((performance.now() - beganMs) / WINDOW_MS);
  const told = rig.events.filter(({ event_type }) => event_type === "tls_connection");
  assertEquals(rig.count("tlsConnections"), visits);
  assert(told.length >= EVENTS_MAX && told.length <= windows * EVENTS_MAX, `${told.length} of ${visits} in ${windows} windows`);
  const leftOut = told.reduce((sum, { details }) => sum + Number(details["left_out"] ?? 0), 0);
  assert(told.length + leftOut <= visits, "what is said to be left out was not told");
});

const LIVES: readonly (readonly [what: string, life: CertificateOptions, isWarned: boolean])[] = [
  ["of a year, with 29 days left", { notBefore: inDays(-336), notAfter: inDays(29.5) }, true],
  ["of a year, with 31 days left", { notBefore: inDays(-334), notAfter: inDays(31.5) }, false],
  ["of a day that is new", { notBefore: inDays(-0.1), notAfter: inDays(0.9) }, false],
  ["of a day that is almost over", { notBefore: inDays(-0.9), notAfter: inDays(0.1) }, true],
];

for (const [what, life, isWarned] of LIVES) {
  Deno.test(`the end of a client's certificate ${isWarned ? "is warned of" : "is no news"}: ${what}`, async () => {
    await using rig = await ServerRig.start();
    await visit(rig, await rig.authority.issue({ ...AGENT, ...life }));
    const warnings = rig.logs.filter(({ event }) => event === "peer-certificate-expiring");
    assertEquals(warnings.map(({ level, fields }) => [level, fields["subject"]]), isWarned ? [["warn", "CN=agent"]] : []);
  });
}

function inDays(days: number): Date {
  return new Date(Date.now() + days * DAY_MS);
}
