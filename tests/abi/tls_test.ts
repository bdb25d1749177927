import { assert, assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { PosternError } from "../../src/base/mod.ts";
import { TlsResult } from "../../src/io/tls_end.ts";
import { needing } from "../../tools/needs.ts";
import { createAuthority } from "../pki/mod.ts";
import { handshakeCases } from "./handshake_cases.ts";
import type { EndOptions } from "./quic_pair.ts";
import { contextOptions, engine, move, TlsPair } from "./tls_pair.ts";

const DONE = 1;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

// There is no client over TCP that presents what our library does not load.
for (const each of (await handshakeCases()).filter(({ client }) => client.isUnchecked !== true)) {
  Deno.test(`TLS: ${each.name} is ${each.refusal === null ? "let in" : `refused by the ${each.refusal.by}`}`, () => {
    using pair = new TlsPair(contextOptions(each.client), contextOptions(each.server), each.expected);
    pair.handshake();
    if (each.refusal === null) {
      assertEquals(pair.results, { client: DONE, server: DONE }, `${pair.client.failure()} ${pair.server.failure()}`);
      const shown = each.client.identity !== null && each.server.verify !== "off";
      assertEquals(pair.server.peerCertificate() !== null, shown);
      assertEquals(pair.client.peerCertificate() !== null, each.client.verify !== "off");
      assertEquals([pair.client.verifyError(), pair.server.verifyError()], [null, null]);
      return;
    }
    const { by, words, alert } = each.refusal;
    const [refusing, other] = by === "client" ? [pair.client, pair.server] : [pair.server, pair.client];
    assertEquals(pair.results[by], TlsResult.failed);
    assertEquals(refusing.handshake(), TlsResult.failed);
    assertEquals(refusing.alerts().sent, alert);
    assertMatch(refusing.verifyError()?.reason ?? "", words);
    assertEquals(refusing.failure(), refusing.verifyError()?.reason ?? "peer did not return a certificate");
    assertEquals(refusing.peerCertificate(), null);
    // A client learns at its next read, since in TLS 1.3 its handshake was over before.
    other.read(new Uint8Array(16));
    assertEquals(other.alerts().received, alert);
  });
}

Deno.test("TLS: bytes go both ways, each end reads the other's names, and the two describe the connection alike", async () => {
  const { client, server } = await material();
  using pair = new TlsPair(contextOptions(client, ["h2", "http/1.1"]), contextOptions(server, ["http/1.1"]), "server.test");
  pair.handshake();
  assertEquals(exchange(pair.client, pair.server, "ping"), "ping");
  assertEquals(exchange(pair.server, pair.client, "pong"), "pong");
  const { version, group, cipher, protocol } = pair.server.description();
  assertEquals([version, group, protocol], ["TLSv1.3", "X25519MLKEM768", "http/1.1"]);
  assertMatch(cipher, /^TLS_(AES|CHACHA20)_/);
  assertEquals(pair.client.description(), pair.server.description());
  assertEquals(pair.server.peerCertificate()?.commonName, "agent");
  assertEquals(pair.client.peerCertificate()?.dnsNames, ["server.test"]);
  const key = (label: string) => pair.client.exportKey(label, encoder.encode("c"), 32);
  assertEquals(key("EXPORTER-a"), pair.server.exportKey("EXPORTER-a", encoder.encode("c"), 32));
  assertNotEquals(key("EXPORTER-a"), key("EXPORTER-b"));
});

Deno.test("TLS: the server's order of protocols wins; none in common ends the handshake; naming none is allowed", async () => {
  const { client, server } = await material();
  const negotiate = (ours: readonly string[], theirs: readonly string[]) => {
    using pair = new TlsPair(contextOptions(client, theirs), contextOptions(server, ours), "server.test");
    pair.handshake();
    return pair.results.server === DONE ? pair.server.description().protocol : pair.server.alerts().sent;
  };
  assertEquals(negotiate(["b", "a"], ["a", "b"]), "b");
  assertEquals(negotiate(["a"], ["b"]), 120);
  assertEquals(negotiate(["a"], []), "");
  assertEquals(negotiate([], ["a"]), "");
});

Deno.test("TLS: plain HTTP is refused", async () => {
  using server = await serverEnd();
  feedAll(server, encoder.encode("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
  assertEquals(server.handshake(), TlsResult.failed);
  assertEquals(server.failure(), "http request");
  assertEquals(server.read(new Uint8Array(16)), TlsResult.failed);
  assertEquals(server.write(encoder.encode("no")), TlsResult.failed);
});

Deno.test("TLS: version 1.2 is refused with the alert that says so", async () => {
  using server = await serverEnd();
  feedAll(server, clientHello12());
  assertEquals(server.handshake(), TlsResult.failed);
  assertEquals(server.alerts().sent, 70);
  assertEquals(server.failure(), "unsupported protocol");
});

Deno.test(
  needing({ tools: ["openssl"] }, "TLS: openssl gets an alert with version 1.2 or no certificate, else an answer", async () => {
    const { client, server, folder } = await onDisk();
    using context = engine.createContext(contextOptions(server));
    const openssl = async (...args: string[]) => {
      using end = context.createEnd(null);
      return await serveOnce(end, (port) =>
        new Deno.Command("openssl", {
          args: ["s_client", "-connect", `127.0.0.1:${port}`, "-CAfile", `${folder}/ca.pem`, "-quiet", ...args],
          stdin: "null",
          stdout: "piped",
          stderr: "piped",
        }).output());
    };
    assert(client.identity !== null);
    const own = ["-cert", `${folder}/client.pem`, "-key", `${folder}/client.key`];
    assertMatch(decoder.decode((await openssl("-tls1_2", ...own)).stderr), /alert protocol version/);
    assertMatch(decoder.decode((await openssl("-tls1_3")).stderr), /certificate required/);
    assertEquals(decoder.decode((await openssl("-tls1_3", ...own)).stdout), "hello\n");
    Deno.removeSync(folder, { recursive: true });
  }),
);

Deno.test("TLS: the rings are bounded: what does not fit is not taken, and nothing is lost", async () => {
  const { client, server } = await material();
  using pair = new TlsPair(contextOptions(client), contextOptions(server), "server.test");
  pair.handshake();
  const sent = crypto.getRandomValues(new Uint8Array(60_000));
  const received: number[] = [];
  const into = new Uint8Array(5000);
  let written = 0;
  let waits = 0;
  while (received.length < sent.length) {
    if (written < sent.length) {
      const count = pair.client.write(sent.subarray(written));
      if (count > 0) written += count;
      else {
        assertEquals(count, TlsResult.wants);
        waits++;
      }
    }
    assert(pair.client.pendingBytes() <= 36_864);
    if (waits > 0 || written === sent.length) {
      const chunk = new Uint8Array(7000);
      const length = pair.client.drain(chunk);
      assertEquals(pair.server.feed(chunk.subarray(0, length)), length);
      for (let count; (count = pair.server.read(into)) > 0;) received.push(...into.subarray(0, count));
    }
  }
  assert(waits > 0);
  assertEquals(new Uint8Array(received), sent);
  const flood = new Uint8Array(100_000);
  const taken = pair.server.feed(flood);
  assert(taken > 0 && taken <= 36_864, String(taken));
  assertEquals(pair.server.feed(flood), 0);
});

Deno.test("TLS: close_notify is an end, a transport that just stops is not", async () => {
  const { client, server } = await material();
  {
    using pair = new TlsPair(contextOptions(client), contextOptions(server), "server.test");
    pair.handshake();
    exchange(pair.client, pair.server, "x");
    assertEquals(pair.client.shutdown(), 1);
    move(pair.client, pair.server);
    assertEquals(pair.server.read(new Uint8Array(16)), TlsResult.closed);
    // Half-closed: the other direction still works.
    assertEquals(exchange(pair.server, pair.client, "late"), "late");
  }
  using pair = new TlsPair(contextOptions(client), contextOptions(server), "server.test");
  pair.handshake();
  pair.server.feedEnd();
  assertEquals(pair.server.read(new Uint8Array(16)), TlsResult.truncated);
  assertEquals(pair.server.read(new Uint8Array(16)), TlsResult.truncated);
  assertEquals(pair.server.failure(), "the peer closed without saying so");
});

Deno.test("TLS: a transport that ends in the handshake is a failure", async () => {
  using server = await serverEnd();
  assertEquals(server.handshake(), TlsResult.wants);
  server.feedEnd();
  assertEquals(server.handshake(), TlsResult.failed);
  assertEquals(server.failure(), "the peer closed during the handshake");
});

Deno.test("TLS: changed ciphertext is refused", async () => {
  const { client, server } = await material();
  using pair = new TlsPair(contextOptions(client), contextOptions(server), "server.test");
  pair.handshake();
  pair.client.write(encoder.encode("secret"));
  const bytes = new Uint8Array(1000);
  const length = pair.client.drain(bytes);
  bytes[length - 1] = (bytes[length - 1] ?? 0) ^ 1;
  feedAll(pair.server, bytes.slice(0, length));
  assertEquals(pair.server.read(new Uint8Array(16)), TlsResult.failed);
  assertEquals(pair.server.alerts().sent, 20);
});

Deno.test("TLS: material that does not fit together is a typed error with the library's words", async () => {
  const { client } = await material();
  const error = assertThrows(
    () => engine.createContext({ ...contextOptions(client), identity: null, side: "server" }),
    PosternError,
  );
  assertEquals(error.code, "tls-material");
  assertMatch(error.message, /a server needs a certificate and its private key/);
  using context = engine.createContext(contextOptions(client));
  assertEquals(assertThrows(() => context.createEnd("not a name"), PosternError).exitCode, 2);
});

Deno.test("TLS: an end or a context that was freed stops its caller", async () => {
  const { client } = await material();
  const context = engine.createContext(contextOptions(client));
  const end = context.createEnd("server.test");
  end[Symbol.dispose]();
  end[Symbol.dispose]();
  context[Symbol.dispose]();
  context[Symbol.dispose]();
  assertThrows(() => end.handshake(), Error, "freed");
  assertThrows(() => context.createEnd("server.test"), Error, "freed");
});

async function material(): Promise<{ client: EndOptions; server: EndOptions; trustPem: Uint8Array<ArrayBuffer> }> {
  const authority = await createAuthority();
  const trustPem = authority.certificatePem;
  const identity = await authority.issue({ commonName: "agent", eku: ["clientAuth"] });
  const serverIdentity = await authority.issue({ dns: ["server.test"], eku: ["serverAuth"] });
  return {
    client: { side: "client", identity, verify: "require", trustPem },
    server: { side: "server", identity: serverIdentity, verify: "require", trustPem },
    trustPem,
  };
}

async function serverEnd() {
  using context = engine.createContext(contextOptions((await material()).server));
  return context.createEnd(null);
}

async function onDisk() {
  const made = await material();
  const folder = Deno.makeTempDirSync();
  Deno.writeFileSync(`${folder}/ca.pem`, made.trustPem);
  Deno.writeFileSync(`${folder}/client.pem`, made.client.identity?.certificatePem ?? new Uint8Array(0));
  Deno.writeFileSync(`${folder}/client.key`, made.client.identity?.privateKeyPem ?? new Uint8Array(0), { mode: 0o600 });
  return { ...made, folder };
}

/** Accepts one connection, shakes hands, says hello, closes. Returns what `connect` returned. */
async function serveOnce<T>(end: import("../../src/io/tls_end.ts").TlsEnd, connect: (port: number) => Promise<T>): Promise<T> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const outcome = connect(listener.addr.port);
  using socket = await listener.accept();
  const buffer = new Uint8Array(16_384);
  const flush = async () => {
    for (let length; (length = end.drain(buffer)) > 0;) await socket.write(buffer.slice(0, length));
  };
  for (let result; (result = end.handshake()) !== DONE;) {
    await flush();
    if (result === TlsResult.failed) return await outcome;
    const length = await socket.read(buffer);
    if (length === null) return await outcome;
    feedAll(end, buffer.slice(0, length));
  }
  end.write(encoder.encode("hello\n"));
  end.shutdown();
  await flush();
  return await outcome;
}

function exchange(from: TlsPair["client"], to: TlsPair["client"], text: string): string {
  assertEquals(from.write(encoder.encode(text)), text.length);
  move(from, to);
  const into = new Uint8Array(100);
  return decoder.decode(into.subarray(0, to.read(into)));
}

function feedAll(end: TlsPair["client"], bytes: Uint8Array<ArrayBuffer>): void {
  assertEquals(end.feed(bytes), bytes.length);
}

/** A ClientHello that offers TLS 1.2 and nothing newer (RFC 5246 §7.4.1.2). */
function clientHello12(): Uint8Array<ArrayBuffer> {
  const suites = [0xc0, 0x2b, 0xc0, 0x2f];
  const body = [3, 3, ...new Uint8Array(32).fill(7), 0, 0, suites.length, ...suites, 1, 0];
  const groups = [0, 10, 0, 4, 0, 2, 0, 29];
  const algorithms = [0, 13, 0, 4, 0, 2, 4, 3];
  const extensions = [...groups, ...algorithms];
  const hello = [...body, 0, extensions.length, ...extensions];
  return new Uint8Array([22, 3, 1, 0, hello.length + 4, 1, 0, 0, hello.length, ...hello]);
}
