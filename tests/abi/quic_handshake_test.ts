import { assert, assertEquals, assertMatch, assertNotEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeCertificateSummary } from "../../ffi/certs/mod.ts";
import { loadNative } from "../../ffi/load.ts";
import { splitList } from "../../ffi/text.ts";
import { createAuthority, createSelfSigned, joinPem } from "../pki/mod.ts";
import { handshakeCases } from "./handshake_cases.ts";
import { addressOf, bytes, connectedPair, createConfig, type EndOptions, library, QuicPair, text } from "./quic_pair.ts";

const ALERT_BASE = 0x100;

/** Not part of the program's tables: only this test asks for a session. */
const sessions = Deno.dlopen(loadNative().path, {
  quiche_conn_session: { parameters: ["usize", "usize", "usize"], result: "void" },
}).symbols;

for (const each of await handshakeCases()) {
  Deno.test(`QUIC: ${each.name} is ${each.refusal === null ? "let in" : `refused by the ${each.refusal.by}`}`, () => {
    using pair = new QuicPair(each.client, each.server, each.expected);
    pair.run();
    if (each.refusal === null) {
      assertEquals(pair.isEstablished(), { client: true, server: true });
      assertEquals([pair.verifyError("client"), pair.verifyError("server")], ["", ""]);
      const shown = each.client.identity !== null && each.server.verify !== "off";
      assertEquals(library.postern_conn_peer_verified(pair.server), shown ? 1 : 0);
      assertEquals(library.postern_conn_peer_verified(pair.client), each.client.verify === "off" ? 0 : 1);
      return;
    }
    const { by, words, alert } = each.refusal;
    assert(!pair.isEstablished()[by], "the refusing end must not be established");
    assertEquals(pair.closeCode(by), ALERT_BASE + alert);
    assertMatch(pair.verifyError(by), words);
    assertEquals(library.postern_conn_peer_verified(by === "client" ? pair.client : pair.server), 0);
  });
}

Deno.test("QUIC: the hybrid group and a suite of TLS 1.3 are negotiated, and both ends name them alike", async () => {
  using pair = await connectedPair();
  for (const conn of [pair.client, pair.server]) {
    assertEquals(text((out, capacity) => library.postern_conn_group(conn, out, capacity)), "X25519MLKEM768");
    assertMatch(text((out, capacity) => library.postern_conn_cipher(conn, out, capacity)), /^TLS_(AES|CHACHA20)_/);
  }
});

Deno.test("QUIC: the server's order of groups wins, and a classical client still connects", async () => {
  const { client, server } = await material();
  const groupOf = (groups: string) => {
    using pair = new QuicPair({ ...client, groups }, server, "server.test");
    pair.run();
    assertEquals(pair.isEstablished(), { client: true, server: true });
    return text((out, capacity) => library.postern_conn_group(pair.server, out, capacity));
  };
  assertEquals(groupOf("P-256:X25519:X25519MLKEM768"), "X25519MLKEM768");
  assertEquals(groupOf("P-384:X25519"), "X25519");
  assertEquals(groupOf("P-256"), "P-256");
});

Deno.test("QUIC: exported keys agree, differ by label and context, and do not exist before the handshake", async () => {
  const { client, server } = await material();
  using pair = new QuicPair(client, server, "server.test");
  const exporting = (conn: bigint, label: string, context: string) => {
    const [l, c, key] = [new TextEncoder().encode(label), new TextEncoder().encode(context), new Uint8Array(32)];
    const length = library.postern_conn_export_key(
      conn,
      addressOf(l),
      BigInt(l.length),
      addressOf(c),
      BigInt(c.length),
      addressOf(key),
      32n,
    );
    return length === 32 ? key.join() : length;
  };
  assertEquals(exporting(pair.client, "EXPORTER-test", "a"), -1);
  pair.run();
  assertEquals(exporting(pair.client, "EXPORTER-test", "a"), exporting(pair.server, "EXPORTER-test", "a"));
  assertNotEquals(exporting(pair.client, "EXPORTER-test", "a"), exporting(pair.client, "EXPORTER-test", "b"));
  assertNotEquals(exporting(pair.client, "EXPORTER-test", "a"), exporting(pair.client, "EXPORTER-other", "a"));
});

Deno.test("QUIC: the server reads the client's chain, leaf first, and its names", async () => {
  const authority = await createAuthority();
  const middle = await authority.authority();
  const identity = await middle.issue({ commonName: "agent-7", uri: ["spiffe://test/agent-7"], eku: ["clientAuth"] });
  const { server } = await material(authority);
  const client: EndOptions = { side: "client", identity, verify: "require", trustPem: authority.certificatePem };
  using pair = new QuicPair(client, server, "server.test");
  pair.run();
  const chain = splitList(
    bytes((out, capacity) => library.postern_conn_peer_chain(pair.server, out, capacity)) ?? new Uint8Array(0),
  );
  assertEquals(chain.map((der) => new Uint8Array(der)), [
    new Uint8Array(identity.certificate.rawData),
    new Uint8Array(middle.certificate.rawData),
  ]);
  const summary = summarize(chain[0] ?? new Uint8Array(0));
  assertEquals([summary?.commonName, summary?.uris], ["agent-7", ["spiffe://test/agent-7"]]);
});

Deno.test("QUIC: a refused certificate is kept, so that the error can name what was offered", async () => {
  const { client, server } = await material();
  using pair = new QuicPair(client, server, "wanted.test");
  pair.run();
  const offered = bytes((out, capacity) => library.postern_conn_offered_cert(pair.client, out, capacity));
  assertEquals(summarize(offered ?? new Uint8Array(0))?.dnsNames, ["server.test"]);
});

Deno.test("QUIC: no session ticket comes, so nothing can be resumed past the checks", async () => {
  using pair = await connectedPair();
  const { memory, address } = pair.scratch(16);
  sessions.quiche_conn_session(pair.client, address, address + 8n);
  assertEquals(new DataView(memory.buffer).getBigUint64(8, true), 0n);
});

Deno.test("QUIC: a server's connection expects no name, and a client's name must be one", async () => {
  const { client, server } = await material();
  for (
    const name of [
      "",
      "a..b",
      ".test",
      "*.test",
      "-a.test",
      "a b",
      "fe80::1%lo",
      "[::1]",
      "x".repeat(64),
      `${"a.".repeat(127)}a`,
      "a\0b",
      "ä.test",
    ]
  ) {
    assertThrows(() => new QuicPair(client, server, name)[Symbol.dispose](), Error, "neither an IP address nor a DNS name", name);
  }
});

Deno.test("a configuration that does not fit together is refused in words", async () => {
  const authority = await createAuthority();
  const { client, server } = await material(authority);
  const identity = server.identity ?? await authority.issue();
  const stranger = await authority.issue();
  const garbage = new TextEncoder().encode("no certificate");
  const broken = new TextEncoder().encode("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const brokenCrl = joinPem(
    await authority.crl(),
    new TextEncoder().encode("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
  );
  const weak = await createSelfSigned({ keyType: "rsa1024" });
  const refusals: [string, EndOptions][] = [
    ["private key does not match the certificate", { ...server, identity: { ...identity, privateKeyPem: stranger.privateKeyPem } }],
    ["certificate: the text holds no CERTIFICATE block", { ...server, identity: { ...identity, certificatePem: garbage } }],
    ["certificate: ", { ...server, identity: { ...identity, certificatePem: joinPem(identity.certificatePem, broken) } }],
    ["private key: ", { ...server, identity: { ...identity, privateKeyPem: garbage } }],
    ["a certificate is given without its private key", { ...server, identity: { ...identity, privateKeyPem: new Uint8Array(0) } }],
    ["a private key is given without its certificate", { ...client, identity: { ...identity, certificatePem: new Uint8Array(0) } }],
    ["a server needs a certificate and its private key", { ...server, identity: null }],
    ["trust: no CA certificate is given", { ...server, trustPem: new Uint8Array(0) }],
    ["trust: the text holds no CERTIFICATE block", { ...client, trustPem: garbage }],
    ["trust: ", { ...client, trustPem: broken }],
    ["CRL: the text holds no X509 CRL block", { ...client, crlPem: garbage }],
    ["CRL: the text holds no X509 CRL block", { ...client, crlPem: authority.certificatePem }],
    ["CRL 2: ", { ...client, crlPem: brokenCrl }],
    ["trust or CRLs are given, but verification is off", { ...client, verify: "off" }],
    ["a client cannot leave the server's certificate to the server", { ...client, verify: "if-given" }],
    ["groups: X25519:nonsense is not a list of known groups", { ...client, groups: "X25519:nonsense" }],
    ["the certificate's RSA key has 1024 bits", { ...server, identity: weak }],
  ];
  for (const [words, options] of refusals) {
    assertStringIncludes(assertThrows(() => createConfig(options), Error).message, words);
  }
});

Deno.test("an encrypted private key is named as such", async () => {
  const { server } = await material();
  // Put together here, so that nobody who looks for committed keys finds one.
  const label = ["ENCRYPTED", "PRIVATE", "KEY"].join(" ");
  const key = `-----BEGIN ${label}-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAg=\n-----END ${label}-----\n`;
  const identity = {
    certificatePem: server.identity?.certificatePem ?? new Uint8Array(0),
    privateKeyPem: new TextEncoder().encode(key),
  };
  assertStringIncludes(assertThrows(() => createConfig({ ...server, identity }), Error).message, "private key: it is encrypted");
});

Deno.test("a configuration must say once how the peer is verified", async () => {
  const { trustPem = new Uint8Array(0) } = (await material()).client;
  for (const flags of [0, 2 | 8, 2 | 4, 32 | 2]) {
    const config = library.postern_config_new(0n, 0n, 0n, 0n, addressOf(trustPem), BigInt(trustPem.length), 0n, 0n, 0n, 0n, flags);
    assertEquals(config, 0n, String(flags));
  }
});

Deno.test("questions about a connection that is not there are answered with an error", () => {
  assertEquals(library.postern_conn_group(0n, 0n, 0n), -1);
  assertEquals(library.postern_conn_peer_verified(0n), -1);
  assertEquals(library.postern_conn_expect_name(0n, 0n, 0n), -1);
  assertEquals(library.postern_conn_readable_next(0n), -1);
});

Deno.test("QUIC: streams with something to read are named as numbers, -1 for none", async () => {
  using pair = await connectedPair();
  const { memory, address } = pair.scratch(64);
  assertEquals(library.postern_conn_readable_next(pair.server), -1);
  memory.set([1, 2, 3]);
  assertEquals(library.quiche_conn_stream_send(pair.client, 4n, address, 3n, true, address + 8n), 3);
  pair.run();
  assertEquals(library.postern_conn_readable_next(pair.server), 4);
  assertEquals(library.quiche_conn_stream_recv(pair.server, 4n, address + 16n, 16n, address + 40n, address + 48n), 3);
  assertEquals([...memory.subarray(16, 19), memory[40]], [1, 2, 3, 1]);
  assertEquals(library.postern_conn_readable_next(pair.server), -1);
});

/** A client and a server (`server.test`) that fit together. */
async function material(given?: Awaited<ReturnType<typeof createAuthority>>): Promise<{ client: EndOptions; server: EndOptions }> {
  const authority = given ?? await createAuthority();
  const trustPem = authority.certificatePem;
  const identity = await authority.issue({ commonName: "agent", eku: ["clientAuth"] });
  const serverIdentity = await authority.issue({ dns: ["server.test"], eku: ["serverAuth"] });
  return {
    client: { side: "client", identity, verify: "require", trustPem },
    server: { side: "server", identity: serverIdentity, verify: "require", trustPem },
  };
}

function summarize(der: Uint8Array<ArrayBuffer>) {
  const summary = bytes((out, capacity) => library.postern_cert_summary(addressOf(der), BigInt(der.length), out, capacity));
  return summary === null ? null : decodeCertificateSummary(summary);
}
