/**
 * The refusal table: whoever comes with a wrong certificate, or with none, is refused at the live port with a reason of its own, on
 * both versions of the protocol, though it asks to be registered with its first flight. Nothing is registered, nothing is told,
 * and those who are inside do not notice.
 */
import { assertEquals, assertMatch } from "@std/assert";
import type { X509Certificate } from "@peculiar/x509";
import type { SecurityEventInput } from "../../src/base/mod.ts";
import { normalizeSerial } from "../../src/core/auth/mod.ts";
import { ALPN_V1, ALPN_V2 } from "../../src/core/wire/mod.ts";
import { readRevocationLists } from "../../src/platform/revocation/mod.ts";
import { udpPacket } from "../e2e/inner_packets_fixture.ts";
import { Gateway } from "../e2e/gateway_fixture.ts";
import type { RawClient } from "../e2e/raw_client_fixture.ts";
import { ServerRig } from "../e2e/server_rig_fixture.ts";
import {
  asAuthority,
  type Authority,
  type CertificateOptions,
  createAuthority,
  createSelfSigned,
  Extension,
  type Issued,
  KeyUsageFlags,
} from "../pki/mod.ts";

const DAY_MS = 86_400_000;
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS);
/** What the code of a close is made of when TLS refuses (RFC 9001 §4.8): 0x100 and the alert (RFC 8446 §6). */
const ALERT = { badCertificate: 42, unsupported: 43, revoked: 44, expired: 45, unknown: 46, unknownCa: 48, required: 116 };
const EXPIRED = /^certificate expired \(certificate 0: CN=agent\)$/;
const REVOKED = /^certificate revoked \(certificate 0: CN=agent\)$/;
/** What a right agent has. */
const AGENT = { commonName: "agent", dns: ["agent.web.ztna"], eku: ["clientAuth"] } as const;

interface BadClient {
  readonly what: string;
  /** Null: no certificate. */
  readonly make: (authority: Authority) => Promise<Issued | null>;
  readonly alert: number;
  /** What the server's event says. */
  readonly words: RegExp;
}

const refused = (
  what: string,
  alert: number,
  words: RegExp,
  make: (authority: Authority) => Promise<Issued | null>,
): BadClient => ({ what, make, alert, words });

/** Signed by the right authority, a right agent's but for this. */
const but = (changes: CertificateOptions) => (authority: Authority) => authority.issue({ ...AGENT, ...changes });

/** The same leaf without the rest of its chain. */
function alone(issued: Issued): Issued {
  const text = new TextDecoder().decode(issued.certificatePem);
  const end = "-----END CERTIFICATE-----\n";
  return { ...issued, certificatePem: new TextEncoder().encode(text.slice(0, text.indexOf(end) + end.length)) };
}

async function below(authority: Authority, intermediates: number): Promise<Issued> {
  let lowest = authority;
  for (let i = 1; i <= intermediates; i++) lowest = await lowest.authority({ commonName: `Intermediate ${i}` });
  return lowest.issue(AGENT);
}

/** RFC 5280 §4.2.1.10: an authority that may sign for DNS names below this one only. */
function permitsOnly(name: string): Extension {
  const within = (tag: number, content: readonly number[]) => [tag, content.length, ...content];
  const subtree = within(0x30, within(0x82, [...new TextEncoder().encode(name)]));
  return new Extension("2.5.29.30", true, Uint8Array.from(within(0x30, within(0xa0, subtree))));
}

const BAD_CLIENTS: readonly BadClient[] = [
  refused("no certificate", ALERT.required, /^no client certificate$/, () => Promise.resolve(null)),
  refused(
    "a certificate that signs itself",
    ALERT.unknownCa,
    /^no verified certificate chains: the self-signed/,
    () => createSelfSigned(AGENT),
  ),
  refused(
    "a certificate of another authority",
    ALERT.unknownCa,
    /^no verified certificate chains: the issuer CN=Other CA is not trusted/,
    async () => {
      return (await createAuthority({ commonName: "Other CA" })).issue(AGENT);
    },
  ),
  refused("a certificate of another authority with the right one's name", ALERT.unknownCa, /is not trusted/, async (authority) => {
    return (await createAuthority({ subject: authority.certificate.subject })).issue(AGENT);
  }),
  refused(
    "an expired certificate",
    ALERT.expired,
    EXPIRED,
    but({ notBefore: inDays(-9), notAfter: inDays(-1) }),
  ),
  refused(
    "a certificate that is not valid yet",
    ALERT.expired,
    /^certificate not yet valid \(certificate 0: /,
    but({ notBefore: inDays(1), notAfter: inDays(2) }),
  ),
  refused("a server's certificate", ALERT.unsupported, /extended key usage/, but({ eku: ["serverAuth"] })),
  refused("a certificate to sign programs with", ALERT.unsupported, /extended key usage/, but({ eku: ["codeSigning"] })),
  refused("a certificate for no use", ALERT.unsupported, /clientAuth is required/, but({ eku: null })),
  refused("an authority's own certificate", ALERT.unsupported, /an authority's own/, (authority) => {
    return authority.authority({ ...AGENT, keyUsage: KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign });
  }),
  refused("a certificate that another client signed", ALERT.unknownCa, /is not trusted/, async (authority) => {
    return asAuthority(await authority.issue({ commonName: "agent", eku: ["clientAuth"] })).issue(AGENT);
  }),
  refused("a certificate signed by one who is no authority", ALERT.unknownCa, /invalid CA certificate/, async (authority) => {
    const signer = await authority.issue({ ...AGENT, keyUsage: KeyUsageFlags.keyCertSign });
    return asAuthority(signer).issue(AGENT);
  }),
  refused("a certificate without the chain to its authority", ALERT.unknownCa, /is not trusted/, async (authority) => {
    return alone(await below(authority, 1));
  }),
  refused(
    "a chain that is too long",
    ALERT.unknownCa,
    /^no verified certificate chains: the chain has more than 5 intermediate/,
    (authority) => below(authority, 6),
  ),
  refused("a chain with an RSA key of 1024 bits", ALERT.badCertificate, /RSA key has 1024 bits/, async (authority) => {
    return (await authority.authority({ keyType: "rsa1024" })).issue(AGENT);
  }),
  refused("a signature over SHA-1", ALERT.badCertificate, /outdated hash/, but({ signatureHash: "SHA-1" })),
  refused("a name that its authority may not give", ALERT.unknown, /permitted subtree/, async (authority) => {
    const middle = await authority.authority({ commonName: "Bound CA", extensions: [permitsOnly("example.org")] });
    return middle.issue(AGENT);
  }),
  refused("an extension that must be understood and is unknown", ALERT.unknown, /critical extension/, (authority) => {
    return authority.issue({ ...AGENT, extensions: [new Extension("1.2.3.4.5", true, Uint8Array.of(5, 0))] });
  }),
];

/** A right agent and connector who are inside while others are refused, and who must not notice. */
class Insiders {
  readonly #rig: ServerRig;
  readonly #agent: RawClient;
  readonly #connector: RawClient;
  #packets = 0;

  private constructor(rig: ServerRig, agent: RawClient, connector: RawClient) {
    this.#rig = rig;
    this.#agent = agent;
    this.#connector = connector;
  }

  static async of(rig: ServerRig): Promise<Insiders> {
    return new Insiders(rig, await rig.registered("agent", "web"), await rig.registered("connector", "web"));
  }

  /** Nobody but the two is known to the server, and packets pass between them. */
  async assertAlone(): Promise<void> {
    const { peers, services } = this.#rig.status();
    assertEquals(peers.map(({ role, services }) => [role, ...services]), [["agent", "web"], ["connector", "web"]]);
    assertEquals(services.map(({ id, agents, connectors }) => [id, agents, connectors]), [["web", 1, 1]]);
    this.#agent.send(udpPacket({ from: ["100.64.0.1", 1000], to: ["10.100.0.2", 53] }, "still here"));
    await this.#rig.until(() => this.#connector.datagrams.length > this.#packets);
    this.#packets = this.#connector.datagrams.length;
  }
}

/** Asks to be registered as soon as the client believes to be connected, and waits for the connection's end. */
async function knock(rig: ServerRig, client: RawClient): Promise<void> {
  await rig.until(() => client.isUp || client.ending !== null);
  if (client.isUp) client.register("agent", "web");
  await rig.until(() => client.ending !== null);
}

/** What an event of its own tells, beside the failed handshake. */
function specialEvent(words: RegExp): string[] {
  return words === EXPIRED ? ["certificate_expired"] : words === REVOKED ? ["certificate_revoked"] : [];
}

/** Every event names the certificate; the special one has its fields. */
function assertShown(events: readonly SecurityEventInput[], identity: Issued): void {
  const { issuer, notAfter } = identity.certificate;
  const expiry = notAfter.toISOString();
  for (const { peer_cert_info } of events) assertEquals(peer_cert_info, `CN=agent, Issuer=${issuer}, Expiry=${expiry}`);
  const [special] = events;
  if (special?.event_type !== "certificate_expired" && special?.event_type !== "certificate_revoked") return;
  const { serial, ...details } = special.details;
  assertEquals(normalizeSerial(String(serial)), normalizeSerial(identity.certificate.serialNumber));
  assertEquals(details, {
    subject: "CN=agent",
    issuer,
    ...(special.event_type === "certificate_expired" ? { not_after: expiry } : {}),
  });
}

/** Without `words` it is not asked what the events said. */
async function assertRefused(
  rig: ServerRig,
  identity: Issued | null,
  { alert, words }: { readonly alert: number; readonly words: RegExp | null },
) {
  for (const alpn of [ALPN_V1, ALPN_V2]) {
    const before = { events: rig.events.length, refused: rig.count("refusedConnections"), failed: rig.count("tlsFailures") };
    const client = rig.dial(identity, { protocols: [alpn] });
    await knock(rig, client);
    assertEquals([alpn, client.ending?.info?.isApplication, client.ending?.info?.code], [alpn, false, 0x100 + alert]);
    await rig.untilCount("refusedConnections", before.refused + 1);
    await rig.untilCount("tlsFailures", before.failed + 1);
    if (words !== null) {
      const events = rig.events.slice(before.events);
      assertEquals(events.map(({ event_type }) => event_type), [...specialEvent(words), "handshake_failure"]);
      for (const { remote_addr } of events) assertMatch(remote_addr ?? "", /^127\.0\.0\.1:[1-9]\d*$/);
      assertMatch(String(events.at(-1)?.details["error"]), words);
      if (identity !== null) assertShown(events, identity);
    }
    assertEquals([client.replies, client.addresses, client.datagrams], [[], [], []], "it was told nothing");
  }
}

/** One server for those whom it lets in for nothing, so that what one leaves behind would be seen by the next. */
let shared: ServerRig;
let insiders: Insiders;

Deno.test.beforeAll(async () => {
  shared = await ServerRig.start();
  insiders = await Insiders.of(shared);
});

Deno.test.afterAll(async () => {
  await shared[Symbol.asyncDispose]();
});

for (const bad of BAD_CLIENTS) {
  // A server of its own: of many refusals in a moment it would not tell each one's reason.
  Deno.test(`refused at the live port: ${bad.what}`, async () => {
    await using rig = await ServerRig.start();
    const inside = await Insiders.of(rig);
    await assertRefused(rig, await bad.make(rig.authority), bad);
    await inside.assertAlone();
    await rig.pause(150);
    assertEquals(rig.count("registrations"), 2, "the two who are inside");
  });
}

Deno.test("refused at the live port: whom a list of revoked certificates names, whose issuer has no list, whose serial is denied", async () => {
  await using rig = await ServerRig.start();
  const inside = await Insiders.of(rig);
  const { authority } = rig;
  const [revoked, denied] = [await authority.issue(AGENT), await authority.issue(AGENT)];
  const crlPem = await authority.crl({ revoked: [revoked] });
  const listed = readRevocationLists(crlPem).flatMap(({ issuer, serials }) => serials.map((serial) => ({ serial, issuer })));
  const serial = (denied.certificate as X509Certificate).serialNumber;
  const plan = { crlPem, toleratesStale: false, denied: [...listed, { serial, issuer: null }] };
  assertEquals(rig.reload({ revocation: plan }).error, null);
  await assertRefused(rig, revoked, { alert: ALERT.revoked, words: REVOKED });
  await assertRefused(rig, await below(authority, 1), { alert: ALERT.unknownCa, words: /no CRL of the issuer/ });
  for (const alpn of [ALPN_V1, ALPN_V2]) {
    const client = rig.dial(denied, { protocols: [alpn] });
    await knock(rig, client);
    assertEquals([client.ending?.info?.isApplication, client.ending?.info?.code], [true, 0x102]);
    assertEquals([client.replies, client.addresses], [[], []]);
  }
  assertEquals(rig.events.at(-1)?.event_type, "certificate_revoked");
  await inside.assertAlone();
});

const WRONG_NAMES: readonly (readonly [what: string, changes: CertificateOptions])[] = [
  ["no name at all", { dns: [] }],
  ["a name that is none of ours", { dns: ["agent.web.example.org"] }],
  ["the name for the other role", { dns: ["connector.web.ztna"] }],
  ["the name for another service", { dns: ["agent.webs.ztna", "agent.we.ztna"] }],
  ["the right name as a URI", { dns: [], uri: ["agent.web.ztna"] }],
  ["the right name as common name", { dns: [], commonName: "agent.web.ztna" }],
  ["a name of an unknown role", { dns: ["admin.web.ztna"] }],
  ["a name without a service", { dns: ["agent..ztna"] }],
];

for (const [what, changes] of WRONG_NAMES) {
  Deno.test(`let in, but authorised for nothing: a certificate with ${what}`, async () => {
    for (const alpn of [ALPN_V1, ALPN_V2]) {
      const before = { rejected: shared.count("rejections"), dropped: shared.count("droppedUnauthorised") };
      const client = shared.dial(await shared.authority.issue({ ...AGENT, ...changes }), { protocols: [alpn] });
      await shared.until(() => client.isUp);
      assertEquals(await shared.register(client, "agent", "web"), "not-authorised");
      client.send(udpPacket({ from: ["100.64.0.9", 9], to: ["10.100.0.2", 53] }, "let me through"));
      await shared.untilCount("rejections", before.rejected + 1);
      await shared.untilCount("droppedUnauthorised", before.dropped + 1);
      client.close();
      await shared.until(() => shared.status().peers.length === 2);
    }
    await insiders.assertAlone();
  });
}

Deno.test("closed: a certificate without a common name", async () => {
  const rig = shared;
  const codes: unknown[] = [];
  for (const alpn of [ALPN_V1, ALPN_V2]) {
    const client = rig.dial(await rig.authority.issue({ dns: AGENT.dns, eku: AGENT.eku }), { protocols: [alpn] });
    await knock(rig, client);
    assertEquals(client.replies, []);
    codes.push(client.ending?.info);
  }
  const reason = "invalid client cert";
  assertEquals(codes, [{ isApplication: false, code: 1, reason }, { isApplication: true, code: 0x101, reason }]);
  const failures = rig.events.filter(({ event_type }) => event_type === "auth_failure");
  assertEquals(failures.slice(-2).map(({ details }) => details["reason"]), [reason, reason]);
  await insiders.assertAlone();
});

Deno.test("where a certificate is only asked for, a wrong one is refused all the same", async () => {
  await using rig = await ServerRig.start({ requireClientCert: false, allowAnonymous: ["agent:web"] });
  const inside = await Insiders.of(rig);
  const wrong = BAD_CLIENTS.filter(({ alert }) => alert !== ALERT.required);
  for (const { alert, make } of wrong) await assertRefused(rig, await make(rig.authority), { alert, words: null });
  await inside.assertAlone();
  const anonymous = rig.dial(null);
  await rig.until(() => anonymous.isUp);
  assertEquals(await rig.register(anonymous, "agent", "web"), "ack");
  assertEquals(await rig.register(anonymous, "agent", "db"), "not-authorised");
});

Deno.test({
  name: "refused at the live port of the program: a certificate of an authority that only the system trusts",
  // The test runner cannot tell the reading of a process's log from a leak.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using rig = await ServerRig.start();
    await using gateway = await Gateway.empty();
    const systems = await createAuthority({ commonName: "A CA of the system" });
    const bundle = `${gateway.folder}/system.pem`;
    Deno.writeFileSync(bundle, systems.certificatePem);
    const { server, caCert } = gateway.pki;
    const env = { SSL_CERT_FILE: bundle, SSL_CERT_DIR: gateway.folder, DENO_TLS_CA_STORE: "system" };
    const flags = ["server", "--bind", "127.0.0.1:0", "--cert", server.cert, "--key", server.key, "--ca-cert", caCert];
    const process = gateway.run(flags, env);
    const address = { address: "127.0.0.1", port: (await process.ports())[0] ?? 0 };
    const options = { server: address, trustPem: Deno.readFileSync(caCert), serverName: "ztna-server" };
    const client = rig.dial(await systems.issue(AGENT), options);
    await knock(rig, client);
    assertEquals(client.ending?.info?.code, 0x100 + ALERT.unknownCa);
    const refusal = await process.until("connection-refused");
    assertMatch(refusal.msg, /no verified certificate chains: the issuer CN=A CA of the system is not trusted/);
    const right = await gateway.pki.authority.issue(AGENT);
    const good = rig.dial(right, options);
    await rig.until(() => good.isUp);
    assertEquals(await rig.register(good, "agent", "web"), "ack");
  },
});
