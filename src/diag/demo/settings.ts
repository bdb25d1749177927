/** The settings of the demonstration's roles, as files: with `--keep` they stay there to be read, changed and used again. */
import { createDevelopmentPki } from "../../platform/certs/mod.ts";
import { DEMO_SERVICES } from "./service.ts";

const PKI_DAYS = 365;

/** An agent that shall be turned away. */
export type Intruder = "no-certificate" | "wrong-name";

/** The folder of one run. Every file in it is for this user only. */
export class DemoFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get pki(): string {
    return `${this.path}/pki`;
  }

  /** Makes the authority and what it signs. Returns the number of certificates. */
  async createPki(nowMs: number): Promise<number> {
    const [service, ...furtherServices] = DEMO_SERVICES;
    const options = { directory: this.pki, service, furtherServices, serverNames: [], days: PKI_DAYS, force: false, nowMs };
    return (await createDevelopmentPki(options)).length;
  }

  /** Returns the arguments that start the role. */
  async writeServer(): Promise<string[]> {
    const cert = `${this.pki}/server-cert.pem`, key = `${this.pki}/server-key.pem`;
    return await this.#write("server", "server", { bind: ["127.0.0.1:0"], cert, key });
  }

  async writeConnector(serverPort: number, backendPorts: readonly number[]): Promise<string[]> {
    const services = DEMO_SERVICES.map((id, i) => ({ id, backend: `127.0.0.1:${backendPorts[i]}` }));
    return await this.#write("connector", "connector", { ...server(serverPort), ...this.#client("connector"), services });
  }

  async writeAgent(serverPort: number): Promise<string[]> {
    const forward = DEMO_SERVICES.map((service) => `127.0.0.1:0=${service}`);
    return await this.#write("agent", "agent", { ...server(serverPort), ...this.#client("agent"), forward });
  }

  /** An agent without a certificate, or with the connector's: the same authority and services, but not the right to use them. */
  async writeIntruder(kind: Intruder, serverPort: number): Promise<string[]> {
    const identity = kind === "no-certificate" ? {} : this.#client("connector");
    const forward = [`127.0.0.1:0=${DEMO_SERVICES[0]}`];
    return await this.#write("agent", `agent-${kind}`, { ...server(serverPort), ...identity, forward });
  }

  #client(name: string): Record<string, string> {
    return { client_cert: `${this.pki}/${name}-cert.pem`, client_key: `${this.pki}/${name}-key.pem` };
  }

  async #write(role: string, name: string, settings: Readonly<Record<string, unknown>>): Promise<string[]> {
    const path = `${this.path}/${name}.json`;
    const whole = { ...settings, ca_cert: `${this.pki}/ca-cert.pem`, name, log_format: "json" };
    await Deno.writeTextFile(path, JSON.stringify(whole, null, 2) + "\n", { mode: 0o600 });
    return [role, "--config", path];
  }
}

function server(port: number): Record<string, string> {
  return { server: `127.0.0.1:${port}` };
}
