/** Clients of a metrics listener in masses: scrapes on connections that stay open, and handshakes that are given up. */
import { createTlsEngine, loadNative } from "../../ffi/mod.ts";
import { TlsStream } from "../../src/io/http/mod.ts";
import { makePoller } from "./ops_fixture.ts";
import { connectTo } from "./ops_metrics_fixture.ts";

const REQUEST = new TextEncoder().encode("GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n");
const engine = createTlsEngine(loadNative().path);

/** A certificate that may scrape, and its key. */
export interface ScrapeIdentity {
  readonly certificatePem: Uint8Array;
  readonly privateKeyPem: Uint8Array;
}

export interface ScrapeFigures {
  /** Milliseconds of each, sorted. */
  readonly tookMs: Float64Array;
}

/** Scrapes `count` times over a few connections that stay open. Throws when one is not answered with 200. */
export async function scrapeMany(
  port: number,
  identity: ScrapeIdentity,
  count: number,
  connections: number,
  onScraped: () => void = () => {},
): Promise<ScrapeFigures> {
  const tookMs = new Float64Array(count);
  let begun = 0;
  await Promise.all(Array.from({ length: connections }, async () => {
    const poller = makePoller();
    using context = clientContext(identity);
    const stream = new TlsStream(connectTo(poller, port), context.createEnd(null));
    try {
      await stream.handshake();
      const buffer = new Uint8Array(65_536);
      while (begun < count) {
        const at = begun++, begin = performance.now();
        await scrapeOnce(stream, buffer);
        tookMs[at] = performance.now() - begin;
        onScraped();
      }
    } finally {
      stream.close();
      await poller.close();
    }
  }));
  return { tookMs: tookMs.sort() };
}

async function scrapeOnce(stream: TlsStream, buffer: Uint8Array<ArrayBuffer>): Promise<void> {
  await stream.write(REQUEST);
  const decoder = new TextDecoder();
  let head = "", received = 0, expected = Infinity;
  while (received < expected) {
    const read = await stream.read(buffer);
    if (read <= 0) throw new Error("the listener closed a kept connection");
    received += read;
    if (expected !== Infinity) continue;
    head += decoder.decode(buffer.subarray(0, read), { stream: true });
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) continue;
    if (!head.startsWith("HTTP/1.1 200 ")) throw new Error(`answered with ${head.slice(0, 60)}`);
    expected = end + 4 + Number(/content-length: (\d+)/.exec(head)?.[1]);
  }
}

/** Connects, sends a part of a handshake or nothing, and leaves, one after the other. */
export async function abortMany(port: number, count: number, onAborted: () => void = () => {}): Promise<void> {
  const hello = clientHello();
  for (let i = 0; i < count; i++) {
    const connection = await Deno.connect({ hostname: "::1", port });
    const length = [0, 3, 60, hello.length][i % 4] ?? 0;
    if (length > 0) await connection.write(hello.subarray(0, length));
    connection.close();
    onAborted();
  }
}

function clientHello(): Uint8Array<ArrayBuffer> {
  using context = clientContext(null);
  using end = context.createEnd(null);
  end.handshake();
  const bytes = new Uint8Array(4096);
  return bytes.slice(0, end.drain(bytes));
}

function clientContext(identity: ScrapeIdentity | null) {
  return engine.createContext({
    side: "client",
    identity: identity === null ? null : { certificateChainPem: identity.certificatePem, privateKeyPem: identity.privateKeyPem },
    verify: { kind: "off" },
    toleratesStaleCrl: false,
    protocols: ["http/1.1"],
  });
}
