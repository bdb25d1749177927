/**
 * A server and a connector with real backends, and a host with a TUN device in front of them: what the tests of the kernel's TCP
 * through the tunnel have in common. Each service has an IPv4 and an IPv6 address of its own.
 */
import { assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { join } from "node:path";
import { Gateway } from "./gateway_fixture.ts";
import type { CertificateFiles } from "./pki_fixture.ts";
import { close, Pattern } from "./tcp_fixture.ts";
import { TunHost, type TunRoute } from "./tun_fixture.ts";

const CHUNK_BYTES = 64 * 1024;
const CURL_SECONDS_MAX = 600;

export interface TunGatewayOptions {
  /** Service to HOST:PORT as `--service` takes it. */
  readonly services: Readonly<Record<string, string>>;
  /** Further flags of the connector. */
  readonly flags?: readonly string[];
}

export class TunGateway implements AsyncDisposable {
  readonly gateway: Gateway;
  readonly agentFiles: CertificateFiles;
  readonly #services: readonly string[];
  readonly #hosts = new AsyncDisposableStack();

  private constructor(gateway: Gateway, services: readonly string[], agentFiles: CertificateFiles) {
    this.gateway = gateway;
    this.#services = services;
    this.agentFiles = agentFiles;
  }

  static async start({ services, flags = [] }: TunGatewayOptions): Promise<TunGateway> {
    const names = Object.keys(services);
    const gateway = await Gateway.empty();
    const [agent, connector] = await Promise.all([
      gateway.pki.issue("tun-agent", { dns: names.map((name) => `agent.${name}.ztna`), eku: ["clientAuth"] }),
      gateway.pki.issue("tun-connector", { dns: names.map((name) => `connector.${name}.ztna`), eku: ["clientAuth"] }),
      gateway.startServer(),
    ]);
    const started = new TunGateway(gateway, names, agent);
    const offers = names.flatMap((name) => {
      const places = started.addressesOf(name).map((address) => address.includes(":") ? `[${address}]` : address);
      return ["--service", `${name}=${services[name]}`, ...places.flatMap((place) => ["--service-ip", `${name}=${place}`])];
    });
    await gateway.startConnector({}, connector, ...offers, ...flags);
    await Promise.all(names.map((service) => gateway.connector.until("registered", { service })));
    return started;
  }

  /** The addresses under which the host knows a service: IPv4, IPv6. */
  addressesOf(service: string): [string, string] {
    const number = this.#services.indexOf(service) + 1;
    return [`10.100.0.${number}`, `fd00::${number}`];
  }

  /** A host whose agent reaches the server at `server`; with `services`, only these. */
  async host(options: { readonly server?: string; readonly services?: readonly string[] } = {}): Promise<TunHost> {
    const { serverAddress, pki } = this.gateway;
    const routes: TunRoute[] = (options.services ?? this.#services).map((service) => ({
      service,
      addresses: this.addressesOf(service),
    }));
    const server = options.server ?? serverAddress;
    return this.#hosts.use(await TunHost.start({ server, ca: pki.caCert, files: this.agentFiles, routes }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hosts.disposeAsync();
    await this.gateway[Symbol.asyncDispose]();
  }
}

/** An HTTP server: GET /N answers with N bytes of a pattern, PUT with the SHA-256 of what came. */
export class HttpBackend implements AsyncDisposable {
  readonly port: number;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => this.#answer(request));
    this.port = this.#server.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    if (request.method === "PUT" && request.body !== null) {
      const hash = createHash("sha256");
      for await (const chunk of request.body) hash.update(chunk);
      return new Response(hash.digest("hex"));
    }
    const bytes = Number(new URL(request.url).pathname.slice(1));
    return new Response(patternStream(bytes), { headers: { "content-length": `${bytes}` } });
  }
}

const PATTERN_SEED = 7;

function patternStream(bytes: number): ReadableStream<Uint8Array> {
  const pattern = new Pattern(PATTERN_SEED, CHUNK_BYTES);
  let left = bytes;
  return new ReadableStream({
    pull(controller) {
      const chunk = pattern.next().slice(0, left);
      left -= chunk.length;
      if (chunk.length > 0) controller.enqueue(chunk);
      if (left === 0) controller.close();
    },
  });
}

/** Downloads and uploads with curl in the host at `url`, one after the other, and compares every byte by SHA-256. */
export async function curlBothWays(gateway: TunGateway, host: TunHost, url: string, bytes: number): Promise<void> {
  const file = join(gateway.gateway.folder, "pattern");
  const digest = await writePatternFile(file, bytes);
  const options = `--silent --show-error --fail --globoff --max-time ${CURL_SECONDS_MAX}`;
  const down = await host.run("sh", "-c", `curl ${options} '${url}/${bytes}' | sha256sum`);
  assertEquals(down.split(" ")[0], digest, "what was downloaded");
  assertEquals(await host.run("sh", "-c", `curl ${options} --upload-file '${file}' '${url}/'`), digest, "what was uploaded");
}

/** Writes the pattern that {@linkcode HttpBackend} sends to a file and returns its SHA-256. */
async function writePatternFile(path: string, bytes: number): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  for await (const chunk of patternStream(bytes)) {
    hash.update(chunk);
    for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
  }
  return hash.digest("hex");
}

/** A UDP backend that sends everything back. */
export class UdpEcho implements AsyncDisposable {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("message", (bytes, from) => socket.send(bytes, from.port, from.address));
  }

  static async start(): Promise<UdpEcho> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    return new UdpEcho(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

/** Reads little by little, so that the sender has to wait; then says count and SHA-256 of it. */
export async function slowSink(connection: Deno.TcpConn): Promise<void> {
  const hash = createHash("sha256"), buffer = new Uint8Array(8_192);
  let count = 0;
  for (let got; (got = await connection.read(buffer)) !== null;) {
    hash.update(buffer.subarray(0, got));
    count += got;
    if (count < 500_000) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  if (count > 0) await connection.write(new TextEncoder().encode(`${count} ${hash.digest("hex")}`));
  close(connection);
}
