/** A metrics listener with certificates made for the test, and a client that shows any certificate or none. */
import { createCertificateReader, createTlsEngine, loadNative } from "../../ffi/mod.ts";
import { type LogRecord, metricCells, type SecurityEventInput } from "../../src/base/mod.ts";
import type { MetricsAclRule } from "../../src/config/mod.ts";
import {
  FdStream,
  type HttpHandler,
  jsonResponse,
  Poller,
  StreamClosed,
  textResponse,
  type TlsListenerLimits,
  TlsStream,
} from "../../src/io/http/mod.ts";
import { OPS_METRICS, type OpsMetrics } from "../../src/ops/metrics/mod.ts";
import { type MetricsServer, type MetricsServerConfig, startMetricsServer } from "../../src/ops/metrics_server/mod.ts";
import type { OpsNative } from "../../src/ops/native.ts";
import { type Authority, createAuthority, type Issued } from "../pki/mod.ts";
import { makePoller, native } from "./ops_fixture.ts";

const library = loadNative();
const engine = createTlsEngine(library.path);
const reader = createCertificateReader(library.path);

export const opsNative: OpsNative = {
  process: native,
  createPoller: makePoller,
  createTlsContext: (options) => engine.createContext(options),
  readCertificates: (pem) => reader.certificatesOf(new Uint8Array(pem)).map((der) => reader.summarize(der)),
};

export interface MetricsFixture {
  readonly folder: string;
  readonly config: MetricsServerConfig;
  readonly authority: Authority;
  readonly server: MetricsServer;
  readonly poller: Poller;
  readonly counters: OpsMetrics;
  readonly records: LogRecord[];
  readonly events: SecurityEventInput[];
  readonly port: number;
}

export interface MetricsFixtureOptions {
  readonly address?: string;
  readonly acl?: readonly MetricsAclRule[] | null;
  readonly limits?: TlsListenerLimits;
  readonly watchMs?: number;
  readonly handler?: HttpHandler;
}

/** Makes a CA and a server certificate, writes them into a folder of their own, and returns the listener's configuration. */
export async function writeCredentials(folder: string, authority: Authority): Promise<MetricsServerConfig> {
  const leaf = await authority.issue({ commonName: "localhost", dns: ["localhost"], ip: ["::1", "::"], eku: ["serverAuth"] });
  const config = {
    listen: { address: "::1", port: 0 },
    certPath: `${folder}/server.crt`,
    keyPath: `${folder}/server.key`,
    caPath: `${folder}/ca.crt`,
  };
  Deno.writeFileSync(config.certPath, leaf.certificatePem);
  Deno.writeFileSync(config.keyPath, leaf.privateKeyPem, { mode: 0o600 });
  Deno.writeFileSync(config.caPath, authority.certificatePem);
  return config;
}

/** Runs a metrics listener while `use` runs. */
export async function withMetrics(options: MetricsFixtureOptions, use: (fixture: MetricsFixture) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const authority = await createAuthority({ commonName: "postern-metrics-ca" });
  const written = await writeCredentials(folder, authority);
  const config = { ...written, listen: { address: options.address ?? "::1", port: 0 } };
  const poller = makePoller();
  const counters = metricCells(OPS_METRICS);
  const records: LogRecord[] = [], events: SecurityEventInput[] = [];
  const server = await startMetricsServer({
    config,
    acl: options.acl ?? null,
    native: opsNative,
    poller,
    counters,
    log: (record) => records.push(record),
    record: (event) => events.push(event),
    handler: options.handler ??
      ((request) => request.path === "/large" ? textResponse("x".repeat(3_000_000)) : jsonResponse({ path: request.path })),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(options.watchMs === undefined ? {} : { watchMs: options.watchMs }),
  });
  const port = server.config.listen.port;
  try {
    await use({ folder, config: server.config, authority, server, poller, counters, records, events, port });
  } finally {
    await server.close();
    await poller.close();
    Deno.removeSync(folder, { recursive: true });
  }
}

/** A certificate that may scrape. */
export function scraper(authority: Authority): Promise<Issued> {
  return authority.issue({ commonName: "postern-metrics-client", eku: ["clientAuth"] });
}

/**
 * Connects with a certificate, or with none, sends `request` and returns what came back until the server closed; `alert` is the TLS
 * alert that ended it (RFC 8446 §6), null for none.
 */
export async function tlsExchange(
  port: number,
  identity: Issued | null,
  request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
): Promise<{ readonly text: string; readonly alert: number | null; readonly serverSerial: string }> {
  using context = engine.createContext({
    side: "client",
    identity: identity === null ? null : { certificateChainPem: identity.certificatePem, privateKeyPem: identity.privateKeyPem },
    verify: { kind: "off" },
    toleratesStaleCrl: false,
    protocols: ["http/1.1"],
  });
  const poller = makePoller();
  const stream = new TlsStream(connectTo(poller, port), context.createEnd(null));
  let text = "", serverSerial = "";
  const alert = () => stream.isClosed ? null : stream.end.alerts().received;
  try {
    await stream.handshake();
    serverSerial = stream.end.verifyError()?.offered?.serial ?? "";
    await stream.write(new TextEncoder().encode(request));
    const buffer = new Uint8Array(16_384);
    for (let count; (count = await stream.read(buffer)) > 0;) text += new TextDecoder().decode(buffer.subarray(0, count));
    return { text, alert: alert(), serverSerial };
  } catch (error) {
    if (!(error instanceof StreamClosed)) throw error;
    return { text, alert: alert(), serverSerial };
  } finally {
    stream.close();
    await poller.close();
  }
}

/** A connection to `[::1]:port` over the same sockets that the listener uses. */
export function connectTo(poller: Poller, port: number): FdStream {
  const { libc, bounceAt } = poller;
  const fd = libc.socket(10, 1);
  libc.arena.bytes.fill(0, bounceAt, bounceAt + 28);
  libc.arena.bytes[bounceAt] = 10;
  libc.arena.view.setUint16(bounceAt + 2, port);
  libc.arena.bytes[bounceAt + 23] = 1;
  const EINPROGRESS = 115;
  const result = libc.connect(fd, bounceAt, 28);
  if (result < 0 && result !== -EINPROGRESS) throw new Error(`connect: ${result}`);
  const stream = FdStream.open(poller, fd);
  if (stream === null) throw new Error("no watch");
  return stream;
}
