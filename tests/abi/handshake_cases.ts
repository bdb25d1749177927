/**
 * Who may talk to whom: one table for QUIC and for the TLS end. Every case is a client and a server; all but the first few
 * are refused, and the table says by whom, in which words and with which TLS alert (RFC 8446 §6).
 */
import { asAuthority, type Authority, createAuthority, createSelfSigned, type Issued, joinPem, KeyUsageFlags } from "../pki/mod.ts";
import type { EndOptions } from "./quic_pair.ts";

export interface HandshakeCase {
  readonly name: string;
  readonly client: EndOptions;
  readonly server: EndOptions;
  readonly expected: string | null;
  /** Null: both ends are established. */
  readonly refusal: { readonly by: "client" | "server"; readonly words: RegExp; readonly alert: number } | null;
}

const ALERT = {
  handshakeFailure: 40,
  badCertificate: 42,
  unsupportedCertificate: 43,
  certificateRevoked: 44,
  certificateExpired: 45,
  unknownCa: 48,
  decryptError: 51,
  certificateRequired: 116,
} as const;

const DAY_MS = 86_400_000;
const ago = (days: number) => new Date(Date.now() - days * DAY_MS);

interface World {
  readonly authority: Authority;
  readonly other: Authority;
  readonly server: Issued;
  readonly client: Issued;
  /** A client that is right, and one with exactly these differences. */
  clientWith(identity: Issued | null, differences?: Partial<EndOptions>): EndOptions;
  serverWith(differences?: Partial<EndOptions>): EndOptions;
}

/** All cases over one freshly made pair of authorities. */
export async function handshakeCases(): Promise<HandshakeCase[]> {
  const authority = await createAuthority();
  const other = await createAuthority();
  const server = await authority.issue({
    dns: ["server.test", "*.wild.test"],
    ip: ["192.0.2.7", "2001:db8::7"],
    eku: ["serverAuth"],
  });
  const client = await authority.issue({ commonName: "agent", uri: ["spiffe://test/agent"], eku: ["clientAuth"] });
  const trustPem = authority.certificatePem;
  const world: World = {
    authority,
    other,
    server,
    client,
    clientWith: (identity, differences = {}) => ({ side: "client", identity, verify: "require", trustPem, ...differences }),
    serverWith: (differences = {}) => ({ side: "server", identity: server, verify: "require", trustPem, ...differences }),
  };
  return [...await accepted(world), ...await refusedClients(world), ...await refusedServers(world), ...await revocations(world)];
}

async function accepted(world: World): Promise<HandshakeCase[]> {
  const { clientWith, serverWith, client, authority } = world;
  const pass = (name: string, expected: string | null, from = clientWith(client), to = serverWith()): HandshakeCase => ({
    name,
    client: from,
    server: to,
    expected,
    refusal: null,
  });
  const middle = await authority.authority();
  const below = await middle.issue({ commonName: "below", eku: ["clientAuth"] });
  const rsa = await authority.issue({ commonName: "rsa", keyType: "rsa2048", eku: ["clientAuth"] });
  return [
    pass("right certificates", "server.test"),
    pass("a trailing dot in the server's name", "server.test."),
    pass("a wildcard's name", "a.wild.test"),
    pass("an IPv4 address of the SAN", "192.0.2.7"),
    pass("an IPv6 address of the SAN", "2001:db8::7"),
    pass("a client below an intermediate authority that it sends along", "server.test", clientWith(below)),
    pass("a client below five intermediates", "server.test", clientWith(await belowIntermediates(authority, 5))),
    pass("a client with an RSA key of 2048 bits", "server.test", clientWith(rsa)),
    pass("no client certificate where it is only asked for", "server.test", clientWith(null), serverWith({ verify: "if-given" })),
    pass(
      "no client certificate where none is asked for",
      "server.test",
      clientWith(null),
      { side: "server", identity: world.server, verify: "off" },
    ),
    pass("a client without verification, of any server", null, { side: "client", identity: client, verify: "off" }),
  ];
}

async function refusedClients(world: World): Promise<HandshakeCase[]> {
  const { authority, other, clientWith, serverWith } = world;
  const refuse = (name: string, identity: Issued | null, alert: number, words: RegExp, to = serverWith()): HandshakeCase => ({
    name,
    client: clientWith(identity),
    server: to,
    expected: "server.test",
    refusal: { by: "server", words, alert },
  });
  const issue = authority.issue;
  const below = { commonName: "below", eku: ["clientAuth"] } as const;
  const belowLeaf = await asAuthority(world.client).issue(below);
  const signingLeaf = await authority.issue({
    commonName: "signing leaf",
    eku: ["clientAuth"],
    keyUsage: KeyUsageFlags.keyCertSign,
  });
  const belowSigningLeaf = await asAuthority(signingLeaf).issue(below);
  const weak = await authority.authority({ keyType: "rsa1024" });
  const belowWeak = await weak.issue(below);
  const weakLeaf = await authority.issue({ ...below, keyType: "rsa1024" });
  const elsewhere = await other.issue({ commonName: "agent", eku: ["clientAuth"] });
  const middle = await authority.authority();
  const outdated = await authority.issue({ ...below, signatureHash: "SHA-1" });
  const belowMiddle = await middle.issue(below);
  const withoutMiddle = { ...belowMiddle, certificatePem: onlyFirst(belowMiddle.certificatePem) };
  return [
    refuse("no client certificate", null, ALERT.certificateRequired, /^$/),
    refuse(
      "a client of another authority of the same name",
      elsewhere,
      ALERT.unknownCa,
      /^no verified certificate chains: the issuer CN=Test CA is not trusted/,
    ),
    refuse(
      "a client of another authority where a certificate is only asked for",
      elsewhere,
      ALERT.unknownCa,
      /not trusted/,
      serverWith({ verify: "if-given" }),
    ),
    refuse(
      "a self-signed client",
      await createSelfSigned({ commonName: "me", eku: ["clientAuth"] }),
      ALERT.unknownCa,
      /^no verified certificate chains: the self-signed/,
    ),
    refuse(
      "a client that leaves out its intermediate",
      withoutMiddle,
      ALERT.unknownCa,
      /^no verified certificate chains: the issuer CN=Test intermediate CA is not trusted/,
    ),
    refuse(
      "a client that another client signed",
      belowLeaf,
      ALERT.unknownCa,
      /^no verified certificate chains: the issuer CN=agent is not trusted/,
    ),
    refuse("a client signed by one who may sign but is no authority", belowSigningLeaf, ALERT.unknownCa, /invalid CA certificate/),
    refuse(
      "an expired client",
      await issue({ eku: ["clientAuth"], notBefore: ago(9), notAfter: ago(1) }),
      ALERT.certificateExpired,
      /^certificate expired \(certificate 0: /,
    ),
    refuse(
      "a client from the future",
      await issue({ eku: ["clientAuth"], notBefore: ago(-1), notAfter: ago(-2) }),
      ALERT.certificateExpired,
      /^certificate not yet valid \(certificate 0: /,
    ),
    refuse(
      "a client with a server's usage",
      await issue({ eku: ["serverAuth"] }),
      ALERT.unsupportedCertificate,
      /extended key usage/,
    ),
    refuse(
      "a client with a foreign usage",
      await issue({ eku: ["codeSigning"] }),
      ALERT.unsupportedCertificate,
      /extended key usage/,
    ),
    refuse(
      "a client without any usage",
      await issue({ eku: null }),
      ALERT.unsupportedCertificate,
      /has no extended key usage, clientAuth is required/,
    ),
    refuse("a client with a SHA-1 signature", outdated, ALERT.badCertificate, /outdated hash/),
    refuse(
      "a client below six intermediates",
      await belowIntermediates(authority, 6),
      ALERT.unknownCa,
      /^no verified certificate chains: the chain has more than 5 intermediate/,
    ),
    refuse("a client below an authority with an RSA key of 1024 bits", belowWeak, ALERT.badCertificate, /RSA key has 1024 bits/),
    {
      // Our own clients do not even load such a key.
      ...refuse("a client with an RSA key of 1024 bits", weakLeaf, ALERT.badCertificate, /RSA key has 1024 bits/),
      client: world.clientWith(weakLeaf, { isUnchecked: true }),
    },
  ];
}

async function refusedServers(world: World): Promise<HandshakeCase[]> {
  const { authority, other, client, clientWith, serverWith } = world;
  const refuse = (name: string, expected: string | null, identity: Issued, alert: number, words: RegExp): HandshakeCase => ({
    name,
    client: clientWith(client),
    server: serverWith({ identity }),
    expected,
    refusal: { by: "client", words, alert },
  });
  const names = { dns: ["server.test"] };
  const { server } = world;
  return [
    refuse("a server of another name", "other.test", server, ALERT.badCertificate, /no DNS name that matches/),
    refuse("a subdomain of the server's name", "a.server.test", server, ALERT.badCertificate, /no DNS name that matches/),
    refuse("two labels where the wildcard has one", "a.b.wild.test", server, ALERT.badCertificate, /no DNS name that matches/),
    refuse("another IPv4 address", "192.0.2.8", server, ALERT.badCertificate, /no IP address that matches/),
    refuse("another IPv6 address", "2001:db8::8", server, ALERT.badCertificate, /no IP address that matches/),
    refuse(
      "an address that is only a DNS name",
      "192.0.2.9",
      await authority.issue({ dns: ["192.0.2.9"] }),
      ALERT.badCertificate,
      /no IP address/,
    ),
    refuse(
      "a name that is only the common name",
      "server.test",
      await authority.issue({ commonName: "server.test" }),
      ALERT.badCertificate,
      /no DNS name/,
    ),
    refuse("no expected name", null, server, ALERT.handshakeFailure, /no name was expected/),
    refuse("a server of another authority", "server.test", await other.issue(names), ALERT.unknownCa, /not trusted/),
    refuse(
      "an expired server",
      "server.test",
      await authority.issue({ ...names, notBefore: ago(9), notAfter: ago(1) }),
      ALERT.certificateExpired,
      /^certificate expired \(certificate 0: /,
    ),
    refuse(
      "a server with a client's usage",
      "server.test",
      await authority.issue({ ...names, eku: ["clientAuth"] }),
      ALERT.unsupportedCertificate,
      /extended key usage/,
    ),
    refuse(
      "a server without any usage",
      "server.test",
      await authority.issue({ ...names, eku: null }),
      ALERT.unsupportedCertificate,
      /serverAuth is required/,
    ),
  ];
}

async function revocations(world: World): Promise<HandshakeCase[]> {
  const { authority, other, client, clientWith, serverWith } = world;
  const middle = await authority.authority();
  const below = await middle.issue({ commonName: "below", eku: ["clientAuth"] });
  const revokedMiddle = await authority.authority({ commonName: "revoked authority" });
  const belowRevoked = await revokedMiddle.issue({ commonName: "below revoked", eku: ["clientAuth"] });
  const empty = await authority.crl();
  const stale = { thisUpdate: ago(3), nextUpdate: ago(1) };
  const make = (
    name: string,
    crlPem: Uint8Array<ArrayBuffer>,
    identity: Issued,
    refusal: HandshakeCase["refusal"],
    toleratesStaleCrl = false,
  ) => ({
    name,
    client: clientWith(identity),
    server: serverWith({ crlPem, toleratesStaleCrl }),
    expected: "server.test",
    refusal,
  });
  const revoked = { by: "server", words: /^certificate revoked \(certificate [01]: /, alert: ALERT.certificateRevoked } as const;
  const noCrl = { by: "server", words: /there is no CRL of the issuer/, alert: ALERT.unknownCa } as const;
  const outdated = { by: "server", words: /past its next update/, alert: ALERT.certificateExpired } as const;
  const withMiddle = joinPem(empty, await middle.crl());
  return [
    make("a client that an up-to-date CRL does not name", empty, client, null),
    make("a client that the CRL names", await authority.crl({ revoked: [client] }), client, revoked),
    make("a client of an issuer without a CRL", await (await createAuthority({ commonName: "Third CA" })).crl(), client, noCrl),
    make("a CRL that a namesake of the issuer signed", await other.crl(), client, {
      ...noCrl,
      words: /CRL/,
      alert: ALERT.decryptError,
    }),
    make("a client of an intermediate without a CRL", empty, below, noCrl),
    make("a client of an intermediate, with the CRLs of both", withMiddle, below, null),
    make(
      "a client of a revoked intermediate",
      joinPem(await authority.crl({ revoked: [revokedMiddle] }), await revokedMiddle.crl()),
      belowRevoked,
      revoked,
    ),
    make("a CRL past its next update", await authority.crl(stale), client, outdated),
    make("a CRL past its next update that is tolerated", await authority.crl(stale), client, null, true),
    make(
      "a client that a tolerated outdated CRL names",
      await authority.crl({ ...stale, revoked: [client] }),
      client,
      revoked,
      true,
    ),
    make("a tolerated CRL, but an issuer without one", await authority.crl(stale), below, noCrl, true),
    {
      name: "a server that the client's CRL names",
      client: clientWith(client, { crlPem: await authority.crl({ revoked: [world.server] }) }),
      server: serverWith(),
      expected: "server.test",
      refusal: { ...revoked, by: "client" },
    },
  ];
}

async function belowIntermediates(authority: Authority, count: number): Promise<Issued> {
  let lowest = authority;
  for (let index = 1; index <= count; index++) lowest = await lowest.authority({ commonName: `Intermediate ${index}` });
  return await lowest.issue({ commonName: "deep", eku: ["clientAuth"] });
}

function onlyFirst(pem: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const text = new TextDecoder().decode(pem);
  return new TextEncoder().encode(text.slice(0, text.indexOf("-----END") + "-----END CERTIFICATE-----\n".length));
}
