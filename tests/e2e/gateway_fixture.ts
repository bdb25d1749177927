/**
 * A whole gateway for a test: one server, one connector with any services, one agent with a port for each, as processes of the
 * compiled binary with a PKI of their own.
 */
import { join } from "node:path";
import { type CertificateFiles, type DevelopmentPki, makePki } from "./pki_fixture.ts";
import { type Backend, close, isReset, MARK, readToEnd, writeAll } from "./tcp_fixture.ts";
import { RoleProcess, TemporaryFolder } from "./processes_fixture.ts";

export interface GatewayOptions {
  /** Service to the backend's port on {@linkcode loopback}. */
  readonly services: Readonly<Record<string, number>>;
  /** Services for which the agent gets a port without the connector offering them. */
  readonly further?: readonly string[];
  /** The agent's authorised names; default: all of its services. */
  readonly agentNames?: readonly string[];
  /** Default 127.0.0.1; everything binds and dials this address. */
  readonly loopback?: "127.0.0.1" | "::1";
  /** Default info. */
  readonly logLevel?: string;
  /** The command in front of every role, as {@linkcode RoleProcess} takes it, or what makes it of the gateway's folder; default: none. */
  readonly wrapper?: readonly string[] | ((folder: string) => readonly string[]);
}

/** One connection through the tunnel, both ends of it in the test's hands. */
export interface Pair extends Disposable {
  readonly client: Deno.TcpConn;
  readonly backend: Deno.TcpConn;
}

/** Processes and files that live as long as the test. Started roles end before the folder goes. */
export class Gateway implements AsyncDisposable {
  readonly pki: DevelopmentPki;
  readonly folder: string;
  readonly #temporary: TemporaryFolder;
  readonly #started = new AsyncDisposableStack();
  readonly #host: string;
  readonly #level: readonly string[];
  readonly #wrapper: readonly string[];
  #server: RoleProcess | null = null;
  #connector: RoleProcess | null = null;
  #agent: RoleProcess | null = null;
  #serverPort = 0;
  readonly #agentPorts = new Map<string, number>();

  private constructor(temporary: TemporaryFolder, pki: DevelopmentPki, options: Omit<GatewayOptions, "services">) {
    const { loopback = "127.0.0.1", logLevel = "info", wrapper = [] } = options;
    this.#wrapper = typeof wrapper === "function" ? wrapper(temporary.path) : wrapper;
    this.#temporary = temporary;
    this.#started.use(temporary);
    this.folder = temporary.path;
    this.pki = pki;
    this.#host = loopback.includes(":") ? `[${loopback}]` : loopback;
    this.#level = ["--log-level", logLevel];
  }

  /** A PKI and nothing started yet. */
  static async empty(options: Pick<GatewayOptions, "loopback" | "logLevel" | "wrapper"> = {}): Promise<Gateway> {
    const temporary = new TemporaryFolder();
    try {
      const pki = await makePki(join(temporary.path, "pki"));
      return new Gateway(temporary, pki, options);
    } catch (error) {
      temporary[Symbol.dispose]();
      throw error;
    }
  }

  /** All three roles, connected and registered. */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const gateway = await Gateway.empty(options);
    try {
      await gateway.#startAll(options);
      return gateway;
    } catch (error) {
      await gateway[Symbol.asyncDispose]();
      throw error;
    }
  }

  get server(): RoleProcess {
    return started(this.#server);
  }

  get connector(): RoleProcess {
    return started(this.#connector);
  }

  get agent(): RoleProcess {
    return started(this.#agent);
  }

  get serverPort(): number {
    return this.#serverPort;
  }

  /** `HOST:PORT` of the server. */
  get serverAddress(): string {
    return `${this.#host}:${this.#serverPort}`;
  }

  /** The agent's local port that leads to the service. */
  portOf(service: string): number {
    const port = this.#agentPorts.get(service);
    if (port === undefined) throw new Error(`the agent has no port for ${service}`);
    return port;
  }

  /** Connects to the service as an application would. */
  async connect(service: string): Promise<Deno.TcpConn> {
    const hostname = this.#host.replace(/[[\]]/g, "");
    const connection = await Deno.connect({ hostname, port: this.portOf(service) });
    connection.setNoDelay(true);
    return connection;
  }

  /** Connects to the service and takes the other end of the connection at its backend. */
  async pair(service: string, backend: Backend): Promise<Pair> {
    const client = await this.connect(service);
    await writeAll(client, MARK);
    const accepted = await backend.next();
    accepted.setNoDelay(true);
    const dispose = () => {
      close(client);
      close(accepted);
    };
    return { client, backend: accepted, [Symbol.dispose]: dispose };
  }

  /** Connects to a service that must refuse, sends `bytes`, and says how the connection ended for the application. */
  async refusal(service: string, bytes = new Uint8Array(0)): Promise<"reset" | "end"> {
    try {
      using client = await this.connect(service);
      await writeAll(client, bytes);
      return (await readToEnd(client)).end;
    } catch (error) {
      // The reset may come before the connection is in our hands.
      if (isReset(error) || error instanceof Deno.errors.NotConnected) return "reset";
      throw error;
    }
  }

  /** A role with these flags; it ends with the gateway. Certificates and log level are not added. */
  run(args: readonly string[], env: Readonly<Record<string, string>> = {}): RoleProcess {
    return this.#started.use(new RoleProcess(args, this.folder, env, this.#wrapper));
  }

  /** Starts the server; on the port of the one before, if there was one. Flags that name a certificate of its own replace the usual. */
  async startServer(...flags: readonly string[]): Promise<RoleProcess> {
    const { server, caCert } = this.pki;
    const own = flags.includes("--cert") ? [] : ["--cert", server.cert, "--key", server.key];
    const certificates = [...own, "--ca-cert", caCert];
    const bind = ["--bind", `${this.#host}:${this.#serverPort}`];
    this.#server = this.run(["server", ...bind, ...certificates, ...this.#level, ...workerFlags(flags), ...flags]);
    this.#serverPort = (await this.#server.ports())[0] ?? 0;
    return this.#server;
  }

  /** Starts a connector and waits until it has registered its services. */
  async startConnector(
    services: Readonly<Record<string, number>>,
    files: CertificateFiles,
    ...flags: readonly string[]
  ): Promise<RoleProcess> {
    const offers = Object.entries(services).flatMap(([id, port]) => ["--service", `${id}=${this.#host}:${port}`]);
    // Tests have backends that nobody can reach: their services stay all the same.
    const looks = offers.length === 0 ? [] : ["--health", "off"];
    const connector = this.run(["connector", ...offers, ...this.uplinkFlags(files), ...this.#level, ...looks, ...flags]);
    this.#connector = connector;
    await Promise.all(Object.keys(services).map((service) => connector.until("registered", { service })));
    return connector;
  }

  /** Starts an agent with a free port for each service and waits until it is connected. */
  async startAgent(services: readonly string[], files: CertificateFiles, ...flags: readonly string[]): Promise<RoleProcess> {
    const forwards = services.flatMap((service) => ["--forward", `${this.#host}:0=${service}`]);
    const agent = this.run(["agent", ...forwards, ...this.uplinkFlags(files), ...this.#level, ...flags]);
    this.#agent = agent;
    const ports = await agent.ports();
    services.forEach((service, i) => this.#agentPorts.set(service, ports[i] ?? 0));
    await agent.until("uplink-connected");
    return agent;
  }

  /** The flags with which a client reaches this server, at another address if there is something between them. */
  uplinkFlags(files: CertificateFiles, address = this.serverAddress): string[] {
    const server = ["--server", address, "--ca-cert", this.pki.caCert];
    return [...server, "--client-cert", files.cert, "--client-key", files.key];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#started.disposeAsync();
  }

  async #startAll({ services, further = [], agentNames }: GatewayOptions): Promise<void> {
    const ids = [...Object.keys(services), ...further];
    const connectorNames = Object.keys(services).map((id) => `connector.${id}.ztna`);
    const names = agentNames ?? ids.map((id) => `agent.${id}.ztna`);
    const [connectorFiles, agentFiles] = await Promise.all([
      this.pki.issue("gateway-connector", { dns: connectorNames, eku: ["clientAuth"] }),
      this.pki.issue("gateway-agent", { dns: names, eku: ["clientAuth"] }),
      this.startServer(),
    ]);
    await Promise.all([this.startConnector(services, connectorFiles), this.startAgent(ids, agentFiles)]);
  }
}

/** Any test of a gateway can be run with a server of several workers. */
function workerFlags(flags: readonly string[]): readonly string[] {
  const workers = Deno.env.get("POSTERN_TEST_WORKERS");
  return workers === undefined || flags.includes("--workers") ? [] : ["--workers", workers];
}

function started(role: RoleProcess | null): RoleProcess {
  if (role === null) throw new Error("this role was not started");
  return role;
}
