// What the metrics listener answers to whom. The refused get no byte of HTTP.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { PosternError } from "../../src/base/mod.ts";
import { errorResponse, TlsListener } from "../../src/io/http/mod.ts";
import { mayRead } from "../../src/ops/metrics_server/acl.ts";
import { proveRefusal } from "../../src/ops/metrics_server/refusal_proof.ts";
import { makePoller } from "../e2e/ops_fixture.ts";
import {
  connectTo,
  type MetricsFixture,
  opsNative,
  scraper,
  tlsExchange,
  withMetrics,
  writeCredentials,
} from "../e2e/ops_metrics_fixture.ts";
import { createAuthority, createSelfSigned, type Issued } from "../pki/mod.ts";

const DAY_MS = 86_400_000;
const QUICK = { handshakeMs: 300, handshakesMax: 8, connectionsMax: 4 };

/** The names of the counters that are not zero. */
function counted({ counters }: MetricsFixture, prefix: string): string[] {
  return Object.entries(counters.index).filter(([name, cell]) => name.startsWith(prefix) && (counters.cells[cell] ?? 0) > 0).map((
    [name],
  ) => name);
}

Deno.test("a certificate of the CA reads metrics", async () => {
  await withMetrics({}, async (fixture) => {
    const { text } = await tlsExchange(fixture.port, await scraper(fixture.authority));
    assertStringIncludes(text, "HTTP/1.1 200 OK");
    assertStringIncludes(text, '{"path":"/metrics"}');
    assertEquals(fixture.events.map((event) => event.event_type), ["tls_connection"]);
    assertStringIncludes(fixture.events[0]?.peer_cert_info ?? "", "CN=postern-metrics-client, Issuer=");
  });
});

const CERTIFICATE_REQUIRED = 116, UNKNOWN_CA = 48, EXPIRED = 45;

/** A way to be wrong, the alert for it (0: any), and the event that tells. */
const REFUSED:
  readonly (readonly [name: string, make: (fixture: MetricsFixture) => Promise<Issued | null>, alert: number, event: string])[] = [
    ["no certificate", () => Promise.resolve(null), CERTIFICATE_REQUIRED, "handshake_failure"],
    [
      "a certificate of another CA",
      async () => await scraper(await createAuthority({ commonName: "postern-metrics-ca" })),
      UNKNOWN_CA,
      "handshake_failure",
    ],
    ["a self-signed certificate", () => createSelfSigned({ commonName: "postern-metrics-client" }), 0, "handshake_failure"],
    [
      "an expired certificate",
      ({ authority }) =>
        authority.issue({ commonName: "a", notBefore: new Date(Date.now() - 2 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) }),
      EXPIRED,
      "certificate_expired",
    ],
    [
      "a certificate that is not yet valid",
      ({ authority }) =>
        authority.issue({ commonName: "a", notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 2 * DAY_MS) }),
      0,
      "handshake_failure",
    ],
    [
      "a certificate for servers",
      ({ authority }) => authority.issue({ commonName: "a", eku: ["serverAuth"] }),
      0,
      "handshake_failure",
    ],
    [
      "a certificate without a stated use",
      ({ authority }) => authority.issue({ commonName: "a", eku: null }),
      0,
      "handshake_failure",
    ],
  ];

for (const [name, make, alert, event] of REFUSED) {
  Deno.test(`refused before a byte of HTTP: ${name}`, async () => {
    await withMetrics({}, async (fixture) => {
      const answer = await tlsExchange(fixture.port, await make(fixture));
      assertEquals(answer.text, "");
      assert(answer.alert !== null, "the refusal is told by an alert");
      if (alert !== 0) assertEquals(answer.alert, alert);
      assertEquals(fixture.events[0]?.event_type, event);
      assertEquals(fixture.events.at(-1)?.event_type, "handshake_failure");
      assertEquals(counted(fixture, "refused").length, 1);
      assertEquals(counted(fixture, "requests"), []);
    });
  });
}

/** A ClientHello that knows nothing above TLS 1.2 (RFC 5246 §7.4.1.2): without the extension that newer clients name versions in. */
function oldHello(): Uint8Array<ArrayBuffer> {
  const hello = [0x03, 0x03, ...new Uint8Array(32).fill(7), 0, 0, 2, 0xc0, 0x2f, 1, 0];
  const handshake = [1, 0, 0, hello.length, ...hello];
  return new Uint8Array([22, 3, 1, 0, handshake.length, ...handshake]);
}

Deno.test("refused before a byte of HTTP: TLS 1.2", async () => {
  await withMetrics({}, async (fixture) => {
    const connection = await Deno.connect({ hostname: "::1", port: fixture.port });
    await connection.write(oldHello());
    const answer = new Uint8Array(await new Response(connection.readable).arrayBuffer());
    const PROTOCOL_VERSION = 70;
    assertEquals([answer[0], answer[6]], [21, PROTOCOL_VERSION]);
    assert(!new TextDecoder().decode(answer).includes("HTTP"), "no HTTP comes back");
    while (fixture.events.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(fixture.events.map(({ event_type }) => event_type), ["weak_protocol", "handshake_failure"]);
    assertEquals(counted(fixture, "requests"), []);
  });
});

Deno.test("refused before a byte of HTTP: plain HTTP", async () => {
  await withMetrics({}, async ({ port }) => {
    const connection = await Deno.connect({ hostname: "::1", port });
    await connection.write(new TextEncoder().encode("GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n"));
    const answer = new Uint8Array(await new Response(connection.readable).arrayBuffer());
    assert(!new TextDecoder().decode(answer).includes("HTTP"), "no HTTP comes back");
  });
});

for (const address of ["::1", "::"]) {
  Deno.test(`refused before a connection: IPv4 and mapped IPv4, bound to [${address}]`, async () => {
    await withMetrics({ address }, async ({ port }) => {
      await assertRejects(() => Deno.connect({ hostname: "127.0.0.1", port }), Deno.errors.ConnectionRefused);
      const mapped = await connectMapped(port);
      assertEquals(mapped, "refused");
      (await Deno.connect({ hostname: "::1", port })).close();
    });
  });
}

Deno.test("certificates read only what the list allows; with a list everything else is denied", async () => {
  const acl = [
    { san: "prometheus.internal", cn: null, paths: ["*"] },
    { san: null, cn: "viewer", paths: ["/healthz", "/health/*"] },
    { san: "spiffe://gw.local/probe", cn: null, paths: ["/readyz"] },
  ];
  await withMetrics({ acl }, async ({ port, authority, events }) => {
    const status = async (identity: Issued, path: string) =>
      Number((await tlsExchange(port, identity, `GET ${path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n`)).text.slice(9, 12));
    const viewer = await authority.issue({ commonName: "viewer" });
    assertEquals([await status(viewer, "/healthz"), await status(viewer, "/health/tls"), await status(viewer, "/metrics")], [
      200,
      200,
      403,
    ]);
    const prometheus = await authority.issue({ commonName: "x", dns: ["Prometheus.internal"] });
    assertEquals([await status(prometheus, "/metrics"), await status(prometheus, "/readyz")], [200, 200]);
    const probe = await authority.issue({ commonName: "x", uri: ["spiffe://gw.local/probe"] });
    assertEquals([await status(probe, "/readyz"), await status(probe, "/readyz?x"), await status(probe, "/metrics")], [
      200,
      200,
      403,
    ]);
    assertEquals(await status(await authority.issue({ commonName: "prometheus.internal" }), "/metrics"), 403);
    assertEquals(events.filter((event) => event.event_type === "metrics_denied").length, 3);
  });
});

Deno.test("a rule that names nobody lets nobody in, and who has no certificate reads nothing", async () => {
  const [certificate] = opsNative.readCertificates((await createAuthority()).certificatePem);
  assert(certificate !== undefined);
  assertEquals(mayRead([{ san: null, cn: null, paths: ["*"] }], certificate, "/metrics"), false);
  assertEquals([mayRead(null, null, "/metrics"), mayRead(null, certificate, "/metrics")], [false, true]);
});

Deno.test("an answer that cannot be made is 500, with the reason in the log and not in the answer", async () => {
  const failing = () => {
    throw new Error("the disk of the exposition is gone");
  };
  await withMetrics({ handler: failing }, async ({ port, authority, records }) => {
    const { text } = await tlsExchange(port, await scraper(authority));
    assertStringIncludes(text, "HTTP/1.1 500 ");
    assert(!text.includes("disk"), text);
    const [record] = records.filter(({ event }) => event === "request-failed");
    assertStringIncludes(record?.message ?? "", "the disk of the exposition is gone");
  });
});

Deno.test("an empty list denies everybody", async () => {
  await withMetrics({ acl: [] }, async ({ port, authority }) => {
    const { text } = await tlsExchange(port, await scraper(authority));
    assertStringIncludes(text, "HTTP/1.1 403");
    assertStringIncludes(text, '{"error":{"code":"acl"');
  });
});

Deno.test("silent clients are dropped after the handshake time and pushed out by later ones; a scrape gets through at once", async () => {
  await withMetrics({ limits: QUICK }, async (fixture) => {
    const identity = await scraper(fixture.authority);
    const poller = makePoller();
    const silent = Array.from({ length: 20 }, () => connectTo(poller, fixture.port));
    const ended = Promise.all(silent.map((stream) => stream.read(new Uint8Array(1)).catch(() => 0)));
    const started = performance.now();
    assertStringIncludes((await tlsExchange(fixture.port, identity)).text, "200 OK");
    assert(performance.now() - started < 250, "silence delayed a scrape");
    await ended;
    assert(performance.now() - started < 3_000);
    assertEquals(counted(fixture, "refused").sort(), ["refusedLimit", "refusedTimeout"]);
    for (const stream of silent) stream.close();
    await poller.close();
  });
});

Deno.test("connections with certificates are bounded as well", async () => {
  await withMetrics({ limits: { ...QUICK, handshakeMs: 5_000 } }, async (fixture) => {
    const identity = await scraper(fixture.authority);
    const keepOpen = "GET /large HTTP/1.1\r\nhost: h\r\n\r\n";
    const open = Array.from({ length: 4 }, () => tlsExchange(fixture.port, identity, keepOpen));
    while (fixture.server.connections().filter(({ requests }) => requests === 1).length < 4) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assertEquals((await tlsExchange(fixture.port, identity)).text, "");
    assertEquals(counted(fixture, "refused"), ["refusedLimit"]);
    assertEquals(fixture.server.limits(), [
      { name: "metrics_handshakes", used: 0, max: 8 },
      { name: "metrics_connections", used: 4, max: 4 },
    ]);
    assertEquals(fixture.server.connections().map(({ certificate, requests }) => [certificate?.commonName, requests]), [
      ["postern-metrics-client", 1],
      ["postern-metrics-client", 1],
      ["postern-metrics-client", 1],
      ["postern-metrics-client", 1],
    ]);
    await fixture.server.close();
    await Promise.all(open);
    assertEquals(fixture.server.connections(), []);
  });
});

Deno.test("a large answer arrives whole through TLS, and requests follow each other on one connection", async () => {
  await withMetrics({}, async ({ port, authority }) => {
    const request = "GET /large HTTP/1.1\r\nhost: h\r\n\r\nGET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    const { text } = await tlsExchange(port, await scraper(authority), request);
    assertEquals((text.match(/x{1000}/g) ?? []).length, 3000);
    assertStringIncludes(text, '{"path":"/a"}');
  });
});

Deno.test("new files are used by the next connection while an open one goes on; damaged ones are refused and the old stay", async () => {
  await withMetrics({ watchMs: 20 }, async (fixture) => {
    const { folder, port, authority, server } = fixture;
    const identity = await scraper(authority);
    const before = server.certificates().server.serial;
    await writeCredentials(folder, authority);
    while (server.certificates().server.serial === before) await new Promise((resolve) => setTimeout(resolve, 10));
    assertStringIncludes((await tlsExchange(port, identity)).text, "200 OK");
    const second = server.certificates().server.serial;
    Deno.writeTextFileSync(`${folder}/server.key`, "damaged");
    while (counted(fixture, "rotationFailures").length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    assertEquals(server.certificates().server.serial, second);
    assertStringIncludes((await tlsExchange(port, identity)).text, "200 OK");
    // Who looks between two of the files that are written one after the other takes the new ones in two steps.
    const types = fixture.events.map((event) => event.event_type).filter((type) => type.startsWith("certificate_"));
    assertEquals(types.filter((type, i) => type !== types[i - 1]), ["certificate_reloaded", "certificate_reload_failed"]);
  });
});

Deno.test("a folder that is swapped by a symbolic link, as Kubernetes does, is noticed; a new CA takes the old one's certificates away", async () => {
  const root = Deno.makeTempDirSync();
  Deno.mkdirSync(`${root}/a`);
  Deno.mkdirSync(`${root}/b`);
  const [authorityA, authorityB] = [await createAuthority(), await createAuthority()];
  await writeCredentials(`${root}/a`, authorityA);
  await writeCredentials(`${root}/b`, authorityB);
  Deno.symlinkSync("a", `${root}/data`);
  await withMetrics({ watchMs: 20 }, async ({ folder, port, server }) => {
    for (const name of ["server.crt", "server.key", "ca.crt"]) {
      Deno.removeSync(`${folder}/${name}`);
      Deno.symlinkSync(`${root}/data/${name}`, `${folder}/${name}`);
    }
    assertEquals(await server.reload(), true);
    const [a, b] = [await scraper(authorityA), await scraper(authorityB)];
    assertStringIncludes((await tlsExchange(port, a)).text, "200 OK");
    const before = server.certificates().server.serial;
    Deno.symlinkSync("b", `${root}/next`);
    Deno.renameSync(`${root}/next`, `${root}/data`);
    while (server.certificates().server.serial === before) await new Promise((resolve) => setTimeout(resolve, 10));
    assertStringIncludes((await tlsExchange(port, b)).text, "200 OK");
    assertEquals((await tlsExchange(port, a)).text, "");
  });
  Deno.removeSync(root, { recursive: true });
});

Deno.test("the start says where it listens and with which files", async () => {
  await withMetrics({}, ({ records, config, port }) => {
    assertEquals(records.map((record) => record.message), [
      "Metrics server configured with mandatory mTLS",
      `Listening on IPv6 [::1]:${port} (client certificate required)`,
      "Using certificates:",
      `  Server cert: ${config.certPath}`,
      `  Server key:  ${config.keyPath}`,
      `  CA cert:     ${config.caPath} (for client verification)`,
    ]);
    return Promise.resolve();
  });
});

Deno.test("the proof at the start fails on a listener that lets anonymous clients in", async () => {
  const folder = Deno.makeTempDirSync();
  const authority = await createAuthority();
  const config = await writeCredentials(folder, authority);
  const poller = makePoller();
  const context = opsNative.createTlsContext({
    side: "server",
    identity: { certificateChainPem: Deno.readFileSync(config.certPath), privateKeyPem: Deno.readFileSync(config.keyPath) },
    verify: { kind: "if-given", trustPem: authority.certificatePem, crlPem: null },
    toleratesStaleCrl: false,
    protocols: ["http/1.1"],
  });
  const listener = TlsListener.open(poller, config.listen, context);
  listener.serve({
    onConnection: async ({ stream }) => {
      await stream.read(new Uint8Array(1000));
      const response = errorResponse(403, "x", "x");
      if (response.body instanceof Uint8Array) await stream.write(response.body);
    },
    onRefused: () => {},
  });
  const error = await assertRejects(() => proveRefusal(listener.address, opsNative), PosternError);
  assertStringIncludes(error.message, "answered a client without a certificate");
  await listener.close();
  await poller.close();
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("the proof at the start fails on a listener that says nothing, and on none", async () => {
  const silent = Deno.listen({ hostname: "::1", port: 0 });
  const { port } = silent.addr;
  const held = silent.accept();
  const error = await assertRejects(() => proveRefusal({ address: "::1", port }, opsNative, 200), PosternError);
  assertStringIncludes(error.message, "could not be tested");
  assertStringIncludes(error.hint ?? "", `[::1]:${port}`);
  (await held).close();
  silent.close();
  await assertRejects(() => proveRefusal({ address: "::", port }, opsNative, 200), PosternError, "could not be tested");
});

/** Connects an IPv6 socket to ::ffff:127.0.0.1. */
async function connectMapped(port: number): Promise<"refused" | "connected"> {
  const poller = makePoller();
  const { libc, bounceAt } = poller;
  const fd = libc.socket(10, 1);
  libc.arena.bytes.fill(0, bounceAt, bounceAt + 28);
  libc.arena.bytes[bounceAt] = 10;
  libc.arena.view.setUint16(bounceAt + 2, port);
  libc.arena.bytes.set([0xff, 0xff, 127, 0, 0, 1], bounceAt + 18);
  const result = libc.connect(fd, bounceAt, 28);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const error = libc.getsockoptInt(fd, 1, 4);
  libc.close(fd);
  await poller.close();
  const ECONNREFUSED = 111;
  return error === ECONNREFUSED || result === -ECONNREFUSED ? "refused" : "connected";
}
