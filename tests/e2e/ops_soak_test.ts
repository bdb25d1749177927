// Many scrapes and many broken handshakes: memory and descriptors stay where they were. OPS_SCRAPES=100000 runs the long form.
import { assert, assertEquals } from "@std/assert";
import { createTlsEngine, loadNative } from "../../ffi/mod.ts";
import { TlsStream } from "../../src/io/http/mod.ts";
import { createAuthority, type Issued } from "../pki/mod.ts";
import { makePoller } from "./ops_fixture.ts";
import { connectTo, scraper, tlsExchange, writeCredentials } from "./ops_metrics_fixture.ts";

const SCRAPES = Number(Deno.env.get("OPS_SCRAPES") ?? "3000");
const ABORTED = SCRAPES / 10;
const CONNECTIONS = 10;
const REQUEST = new TextEncoder().encode("GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n");

const engine = createTlsEngine(loadNative().path);

Deno.test(`${SCRAPES} scrapes on kept connections and ${ABORTED} aborted handshakes leave memory and descriptors flat`, async () => {
  const folder = Deno.makeTempDirSync();
  const authority = await createAuthority();
  await writeCredentials(folder, authority);
  const identity = await scraper(authority);
  const args = ["run", "-A", "--no-check", new URL("ops_soak_child.ts", import.meta.url).pathname, folder];
  const child = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
  const port = Number(await firstLine(child.stdout));
  try {
    await scrapeMany(port, identity, SCRAPES / 10);
    await abortMany(port, ABORTED / 10);
    const before = await measure(port, identity);
    await scrapeMany(port, identity, SCRAPES);
    await abortMany(port, ABORTED);
    const after = await measure(port, identity);
    assert(after.requests >= before.requests + SCRAPES, "all scrapes were answered");
    assert(after.descriptors <= before.descriptors + 2, `descriptors went from ${before.descriptors} to ${after.descriptors}`);
    const grownMb = (after.residentBytes - before.residentBytes) / 1e6;
    assert(grownMb < 40, `resident memory grew by ${grownMb.toFixed(1)} MB`);
  } finally {
    await child.stdin.close();
    assertEquals((await child.status).code, 0);
    Deno.removeSync(folder, { recursive: true });
  }
});

/** Scrapes over a few connections that stay open. */
async function scrapeMany(port: number, identity: Issued, count: number): Promise<void> {
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    const poller = makePoller();
    using context = clientContext(identity);
    const stream = new TlsStream(connectTo(poller, port), context.createEnd(null));
    await stream.handshake();
    const buffer = new Uint8Array(65_536);
    const decoder = new TextDecoder();
    for (let i = 0; i < count / CONNECTIONS; i++) {
      await stream.write(REQUEST);
      let head = "", received = 0, expected = Infinity;
      while (received < expected) {
        const read = await stream.read(buffer);
        assert(read > 0, "the connection stays open");
        received += read;
        if (expected !== Infinity) continue;
        head += decoder.decode(buffer.subarray(0, read), { stream: true });
        const end = head.indexOf("\r\n\r\n");
        if (end > 0) expected = end + 4 + Number(/content-length: (\d+)/.exec(head)?.[1]);
      }
    }
    stream.close();
    await poller.close();
  }));
}

/** Connects, sends a part of a handshake or nothing, and leaves. */
async function abortMany(port: number, count: number): Promise<void> {
  const hello = clientHello();
  for (let i = 0; i < count; i++) {
    const connection = await Deno.connect({ hostname: "::1", port });
    const length = [0, 3, 60, hello.length][i % 4] ?? 0;
    if (length > 0) await connection.write(hello.subarray(0, length));
    connection.close();
  }
}

function clientHello(): Uint8Array<ArrayBuffer> {
  using context = clientContext(null);
  using end = context.createEnd(null);
  end.handshake();
  const bytes = new Uint8Array(4096);
  return bytes.slice(0, end.drain(bytes));
}

function clientContext(identity: Issued | null) {
  return engine.createContext({
    side: "client",
    identity: identity === null ? null : { certificateChainPem: identity.certificatePem, privateKeyPem: identity.privateKeyPem },
    verify: { kind: "off" },
    toleratesStaleCrl: false,
    protocols: ["http/1.1"],
  });
}

async function measure(port: number, identity: Issued) {
  // What was left a moment ago is cleaned up by then.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const { text } = await tlsExchange(port, identity);
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
  return {
    residentBytes: value("process_resident_memory_bytes"),
    descriptors: value("process_open_fds"),
    requests: value('postern_http_requests_total\\{listener="metrics"\\}'),
  };
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stream.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the child ended");
    text += new TextDecoder().decode(value);
  }
  await reader.cancel();
  return text;
}
