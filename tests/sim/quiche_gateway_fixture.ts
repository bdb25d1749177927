/**
 * A gateway with real quiche on a bad network: server, connector and agent in one process, their UDP over simulated links. What a
 * link does to its n-th packet follows from the seed, so that a schedule of faults is repeated, though quiche's own packets differ.
 */
import { roleProgram, type SimEngineKit, type SimPlane, type SimProgram } from "./sim_plane_fixture.ts";
import { CLEAN_LINK, type LinkFaults, SimNat } from "./sim_udp_fixture.ts";
import { SimWorld } from "./sim_world_fixture.ts";
import type { GatewayMaterial } from "./quiche_kit_fixture.ts";
import { agentPlan, BACKEND_ADDRESS, connectorPlan, SERVER_NAME, serverPlan, uplinkPlan } from "./tunnel_plans_fixture.ts";
import { Script, type ScriptPlan } from "./tunnel_script_fixture.ts";

const SERVER_ADDRESS = "10.0.0.1";
const SERVICE = { id: "web", port: 8080 };
const READY_MS = 20_000;

export interface QuicheGatewayOptions {
  readonly seed: number;
  readonly kit: SimEngineKit;
  readonly material: GatewayMaterial;
  readonly link: Partial<LinkFaults>;
  readonly retries?: boolean;
  readonly interfaceMtu?: number;
  readonly show?: (line: string) => void;
}

/** One connection through the tunnel. */
export interface Transfer {
  readonly client: Script;
  readonly backend: Script;
}

export class QuicheGateway implements Disposable {
  readonly world: SimWorld;
  readonly server: { plane: SimPlane; readonly program: SimProgram };
  readonly connector: SimPlane;
  readonly agent: SimPlane;
  #waiting: Script | null = null;
  #transfers = 0;

  constructor(options: QuicheGatewayOptions) {
    const { seed, kit, material, link, retries = true, interfaceMtu = 65_536, show } = options;
    this.world = new SimWorld({ seed, kit, isRealTime: true, ...(show === undefined ? {} : { show }) });
    this.world.network.defaults = { ...CLEAN_LINK, ...link };
    this.world.names.set(SERVER_NAME, [SERVER_ADDRESS]);
    const program = roleProgram(serverPlan(material.server, { retries }));
    this.server = { program, plane: this.#start("server", SERVER_ADDRESS, program, interfaceMtu) };
    const backend = this.world.host("backend", [BACKEND_ADDRESS]);
    this.world.tcp.serve(backend, BACKEND_ADDRESS, SERVICE.port, {
      kind: "script",
      afterMs: 0,
      onAccept: (end) => this.#waiting?.begin(end),
    });
    const uplink = (side: "connector" | "agent") => uplinkPlan(material[side], SERVER_ADDRESS);
    this.connector = this.#start("connector", "10.0.0.2", roleProgram(connectorPlan(uplink("connector"), [SERVICE])), interfaceMtu);
    this.agent = this.#start("agent", "10.0.0.3", roleProgram(agentPlan(uplink("agent"), [SERVICE])), interfaceMtu);
  }

  /** Waits until the agent and the connector are at work. False when they are not in time. */
  ready(): boolean {
    const isReady = () => this.agent.metric("uplinkUp") === 1 && this.connector.metric("registered") === 1;
    return this.world.run(this.world.nowMs + READY_MS, isReady);
  }

  /** A client connects, and the backend is reached, when the world goes on. */
  transfer(client: ScriptPlan, backend: ScriptPlan): Transfer {
    const number = this.#transfers++;
    const names = [`client ${number}`, `backend ${number}`] as const;
    const { events, random, tcp } = this.world;
    const near = new Script(names[0], names[1], client, events, random.fork(names[0]), () => Infinity);
    const far = new Script(names[1], names[0], backend, events, random.fork(names[1]), () => Infinity);
    near.other = far;
    far.other = near;
    this.#waiting = far;
    near.begin(tcp.connect(this.agent.host, "127.0.0.1", SERVICE.port));
    return { client: near, backend: far };
  }

  /** The server is gone without a word, and another one with the same keys comes. */
  restartServer(): void {
    this.server.plane.kill();
    this.server.plane = this.world.start("server", this.server.plane.host, this.server.program);
  }

  /** The packets of a client come from another host from now on; what goes to the old one is lost. */
  move(client: SimPlane, address: string): void {
    client.host.nat = new SimNat(address, 20_000);
    this.world.network.addHost(client.host);
  }

  /** Every fault so far, for messages. */
  faults(): string {
    return this.world.network.links.map(({ name, packets, lost }) => `${name}: ${lost} of ${packets} lost`).join(", ");
  }

  [Symbol.dispose](): void {
    for (const plane of [this.agent, this.connector, this.server.plane]) {
      if (!plane.isRunning) continue;
      plane.stop();
      this.world.run(this.world.nowMs + 500, () => !plane.isRunning);
      plane.kill();
    }
  }

  #start(name: string, address: string, program: SimProgram, interfaceMtu: number): SimPlane {
    const nat = name === "server" ? null : new SimNat(address.replace("10.0", "172.16"), 20_000);
    const host = this.world.host(name, [address], nat);
    host.interfaceMtu = interfaceMtu;
    return this.world.start(name, host, program);
  }
}
