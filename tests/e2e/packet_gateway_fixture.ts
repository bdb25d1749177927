/** A gateway whose agent sends packets: `packet_agent.ts` as earlier ztna-v1 agents are. */
import { Gateway } from "./gateway_fixture.ts";
import { type PacketCommand, runPacketAgent } from "./packet_agent_fixture.ts";
import type { CertificateFiles } from "./pki_fixture.ts";

/** A gateway with one connector for `web` and what else it is told, and the agent's commands run through it. */
export class PacketGateway implements AsyncDisposable {
  readonly gateway: Gateway;
  readonly #agent: CertificateFiles;

  private constructor(gateway: Gateway, agent: CertificateFiles) {
    this.gateway = gateway;
    this.#agent = agent;
  }

  static async start(...flags: readonly string[]): Promise<PacketGateway> {
    const gateway = await Gateway.empty();
    const { pki } = gateway;
    const [agent, connector] = await Promise.all([
      pki.issue("packet-agent", { dns: ["agent.web.ztna", "agent.db.ztna"], eku: ["clientAuth"] }),
      pki.issue("packet-connector", { dns: ["connector.web.ztna", "connector.db.ztna"], eku: ["clientAuth"] }),
      gateway.startServer(),
    ]);
    await gateway.startConnector({}, connector, ...flags);
    for (const service of flags.some((flag) => flag.startsWith("db=")) ? ["web", "db"] : ["web"]) {
      await gateway.connector.until("registered", { service });
    }
    return new PacketGateway(gateway, agent);
  }

  run(...commands: readonly PacketCommand[]) {
    return this.runAs({}, ...commands);
  }

  runAs(options: { readonly service?: string; readonly isRouted?: boolean }, ...commands: readonly PacketCommand[]) {
    const { serverAddress, pki } = this.gateway;
    return runPacketAgent({ server: serverAddress, ca: pki.caCert, files: this.#agent, service: "web", ...options }, commands);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway[Symbol.asyncDispose]();
  }
}
