/**
 * Stories of the connector in seeded worlds whose links lose, delay and reorder: services that come and go with a reload, a service
 * whose backend goes and comes back, and agents that are connected directly while the server is gone.
 */
import { buildPacket } from "../../src/core/registry/sample_packets_fixture.ts";
import type { ConnectorPlan, P2pPlan, TlsMaterial } from "../../src/roles/control/mod.ts";
import { decodeCertificate } from "./memory_handshake_fixture.ts";
import { memoryKit } from "./memory_kit_fixture.ts";
import { type PacketPeer, packetPeerProgram } from "./packet_peer_fixture.ts";
import { roleProgram, type SimPlane } from "./sim_plane_fixture.ts";
import { runSeeds } from "./sim_seeds_fixture.ts";
import { CLEAN_LINK, type SimHost } from "./sim_udp_fixture.ts";
import { SimWorld } from "./sim_world_fixture.ts";
import {
  BACKEND_ADDRESS,
  connectorPlan,
  SERVER_NAME,
  SERVER_PORT,
  serverPlan,
  simMaterial,
  uplinkPlan,
} from "./tunnel_plans_fixture.ts";

const FILE = "connector_stories_test.ts";
const SEEDS = 24;
const SERVER_ADDRESS = "10.0.0.1", CONNECTOR_ADDRESS = "10.0.0.2";
const INNER_PORT = 53;
const HEADER_BYTES = 28;
/** Datagrams are lost, so everybody asks again and again; a lost connection is noticed after 30 s. */
const ASK_EVERY_MS = 250, ANSWERED_MS = 60_000, SILENT_MS = 5_000;
/** What was on its way when something ended. */
const LATE_MS = 2_000;

const SERVICES = ["web", "db"] as const;
type Service = typeof SERVICES[number];

/** A service's port at the backend, and its inner address. */
const portOf = (service: Service) => 100 + SERVICES.indexOf(service);
const innerOf = (service: Service) => 1 + SERVICES.indexOf(service);

interface Asker {
  readonly peer: PacketPeer;
  readonly plane: SimPlane;
  readonly number: number;
  readonly answered: Set<string>;
}

class StoryWorld {
  readonly world: SimWorld;
  readonly wrong: string[] = [];
  /** Ports from which the backend was asked, by service. */
  readonly senders = new Map<Service, Set<string>>();
  readonly #backend: SimHost;
  server: SimPlane;
  #agents = 0;
  #asked = 0;
  #reloads = 0;

  constructor(seed: number, show?: (line: string) => void) {
    this.world = new SimWorld({ seed, kit: memoryKit(), ...(show === undefined ? {} : { show }) });
    const { network } = this.world;
    const random = this.world.random.fork("story");
    const loss = random.chance(0.3) ? 0 : random.next() * 0.15;
    network.defaults = {
      ...CLEAN_LINK,
      delayMs: 1 + random.next() * 60,
      jitterMs: random.next() * 20,
      loss,
      reorder: loss,
      reorderMs: 30,
    };
    this.#backend = this.world.host("backend", [BACKEND_ADDRESS]);
    for (const service of SERVICES) this.#serve(service);
    this.server = this.startServer();
  }

  startServer(): SimPlane {
    const known = this.server?.host ?? this.world.host("server", [SERVER_ADDRESS]);
    this.server = this.world.start("server", known, roleProgram(serverPlan(simMaterial("server", [SERVER_NAME]))));
    return this.server;
  }

  planOf(services: readonly Service[], changes: Partial<ConnectorPlan> = {}): ConnectorPlan {
    const tls = simMaterial("connector", ["connector.*.ztna"]);
    const plan = connectorPlan(uplinkPlan(tls, SERVER_ADDRESS), services.map((id) => ({ id, port: portOf(id) })));
    return {
      ...plan,
      services: plan.services.map((service) => ({ ...service, protocols: ["udp"] as const })),
      destinations: services.map((service) => ({ service, address: `100.64.0.${innerOf(service)}`, port: null })),
      ...changes,
    };
  }

  startConnector(plan: ConnectorPlan, name = "connector", address = CONNECTOR_ADDRESS): SimPlane {
    const host = this.world.host(name, [address]);
    const { network } = this.world;
    network.link(host, this.#backend).faults = CLEAN_LINK;
    network.link(this.#backend, host).faults = CLEAN_LINK;
    return this.world.start(name, host, roleProgram(plan));
  }

  startAgent(tls: TlsMaterial, services: readonly Service[], serverAddress = SERVER_ADDRESS, opensAtOnce?: string): Asker {
    const number = ++this.#agents;
    const answered = new Set<string>();
    const made: PacketPeer[] = [];
    const program = packetPeerProgram({
      role: "agent",
      services,
      version: "ztna-v2",
      tls,
      serverAddress,
      ...(opensAtOnce === undefined ? {} : { opensAtOnce }),
      onPacket: (_peer, packet) => void answered.add(new TextDecoder().decode(packet.subarray(HEADER_BYTES))),
    }, (peer) => made.push(peer));
    const plane = this.world.start(`agent ${number}`, this.world.host(`agent ${number}`, [`10.3.0.${number}`]), program);
    const [peer] = made;
    if (peer === undefined) throw new Error("the agent does not begin");
    peer.wake = () => plane.poke();
    return { peer, plane, number, answered };
  }

  /** Asks for up to `forMs` until there is an answer. Returns whether there was one. */
  isAnswered({ peer, number, answered }: Asker, service: Service, forMs = ANSWERED_MS): boolean {
    const { world } = this;
    const text = `agent ${number} question ${++this.#asked}`;
    const packet = buildPacket({
      protocol: "udp",
      source: 10 + number,
      destination: innerOf(service),
      sourcePort: 1_000 + number,
      destinationPort: INNER_PORT,
      payload: new TextEncoder().encode(text),
    });
    const endMs = world.nowMs + forMs;
    while (world.nowMs < endMs) {
      peer.send(packet, service);
      if (world.run(world.nowMs + ASK_EVERY_MS, () => answered.has(text))) return true;
    }
    return false;
  }

  reload(plane: SimPlane, plan: ConnectorPlan): void {
    plane.command({ type: "reload", id: ++this.#reloads, plan });
    this.world.run(this.world.nowMs + LATE_MS);
  }

  expect(what: string, isSo: boolean): void {
    if (!isSo) this.wrong.push(what);
  }

  /** Lets the world go on until that is so. */
  expectSoon(what: string, isSo: () => boolean): void {
    this.expect(what, this.world.run(this.world.nowMs + ANSWERED_MS, isSo));
  }

  check(): readonly string[] {
    for (const { name, state, failure } of this.world.planes) {
      if (state === "thrown") this.wrong.push(`${name} threw ${failure}`);
    }
    return this.wrong;
  }

  #serve(service: Service): void {
    const { network } = this.world;
    const senders = new Set<string>();
    this.senders.set(service, senders);
    const place = `${BACKEND_ADDRESS}|${portOf(service)}`;
    network.bind(
      {
        receive: ({ from, bytes }) => {
          senders.add(from);
          network.send(this.#backend, place, from, bytes.slice());
        },
      },
      [BACKEND_ADDRESS],
      portOf(service),
    );
  }
}

/** Runs a story in worlds of many seeds. */
function story(name: string, tell: (story: StoryWorld) => void): void {
  const run = (seed: number, show?: (line: string) => void) => {
    const world = new StoryWorld(seed, show);
    return {
      wrong: () => {
        tell(world);
        return world.check();
      },
    };
  };
  Deno.test(name, () => runSeeds({ name, file: FILE, seeds: SEEDS, run }));
}

story("a reload takes services and gives them back, and a flow of one that stays goes on", (at) => {
  const connector = at.startConnector(at.planOf(["web", "db"]));
  const web = at.startAgent(simMaterial("web agent", ["agent.web.ztna"]), ["web"]);
  const db = at.startAgent(simMaterial("db agent", ["agent.db.ztna"]), ["db"]);
  at.expect("web is served", at.isAnswered(web, "web"));
  at.expect("db is served", at.isAnswered(db, "db"));
  at.reload(connector, at.planOf(["web"]));
  at.expect("web stays", at.isAnswered(web, "web"));
  at.expectSoon("db is given back", () => connector.metric("registered") === 1);
  at.expect("db is gone", !at.isAnswered(db, "db", SILENT_MS));
  at.reload(connector, at.planOf(["web", "db"]));
  at.expect("db is back", at.isAnswered(db, "db"));
  at.expect("web still stays", at.isAnswered(web, "web"));
  at.expect("web has one flow", at.senders.get("web")?.size === 1);
});

story("a service whose backend goes is withdrawn and another connector has it alone, until the backend is back", (at) => {
  const { tcp, nowMs } = at.world;
  const [PORT, OTHER_PORT] = [80, 81] as const;
  const reached = new Map<number, number>();
  const serve = (port: number) =>
    tcp.serve(at.world.planes[0]?.host ?? at.server.host, BACKEND_ADDRESS, port, {
      kind: "script",
      afterMs: nowMs,
      onAccept: () => void reached.set(port, (reached.get(port) ?? 0) + 1),
    });
  serve(PORT);
  serve(OTHER_PORT);
  const start = (name: string, port: number, address: string) => {
    const uplink = uplinkPlan(simMaterial(name, ["connector.web.ztna"]), SERVER_ADDRESS);
    return at.startConnector(connectorPlan(uplink, [{ id: "web", port }]), name, address);
  };
  const one = start("one", PORT, CONNECTOR_ADDRESS), other = start("other", OTHER_PORT, "10.0.0.3");
  at.expectSoon("both are registered", () => one.metric("registered") === 1 && other.metric("registered") === 1);
  tcp.withdraw(at.server.host, BACKEND_ADDRESS, PORT);
  at.expectSoon("the one is withdrawn", () => one.metric("registered") === 0);
  at.expect("the other is not", other.metric("registered") === 1);
  const before = reached.get(OTHER_PORT) ?? 0, gone = reached.get(PORT) ?? 0;
  for (let i = 0; i < 4; i++) {
    at.startAgent(simMaterial(`agent ${i}`, ["agent.web.ztna"]), ["web"], SERVER_ADDRESS, "web");
  }
  at.expectSoon("whoever opens reaches the other's backend", () => (reached.get(OTHER_PORT) ?? 0) >= before + 4);
  at.expect("and nobody the one's", (reached.get(PORT) ?? 0) === gone);
  serve(PORT);
  at.expectSoon("the one is registered again", () => one.metric("registered") === 1);
});

story("direct agents are served while the server is gone, but for one that a reload revokes", (at) => {
  const p2p: P2pPlan = {
    binds: [{ address: "0.0.0.0", port: SERVER_PORT }],
    tls: simMaterial("direct", [SERVER_NAME]),
    revocation: { crlPem: null, toleratesStale: false, denied: [] },
    externalIp: null,
    hostAddresses: [],
  };
  const connector = at.startConnector(at.planOf(["web", "db"], { p2p }));
  const badTls = simMaterial("bad", ["agent.web.ztna"]);
  const good = at.startAgent(simMaterial("good", ["agent.web.ztna"]), ["web"], CONNECTOR_ADDRESS);
  const bad = at.startAgent(badTls, ["web"], CONNECTOR_ADDRESS);
  at.expect("good is served", at.isAnswered(good, "web"));
  at.expect("bad is served", at.isAnswered(bad, "web"));
  at.expect("nobody reaches what the certificate does not name", !at.isAnswered(good, "db", SILENT_MS));
  at.expectSoon("the services are registered", () => connector.metric("registered") === 2);
  at.server.kill();
  at.expect("good needs no server", at.isAnswered(good, "web"));
  const serial = decodeCertificate(badTls.certificatePem)?.summary.serial ?? "";
  const revocation = { ...p2p.revocation, denied: [{ serial, issuer: null }] };
  at.reload(connector, at.planOf(["web", "db"], { p2p: { ...p2p, revocation } }));
  at.expect("bad is closed", connector.metric("p2pClosedRevoked") >= 1);
  at.expect("bad does not come back", !at.isAnswered(bad, "web", SILENT_MS));
  at.expect("good stays", at.isAnswered(good, "web"));
  at.startServer();
  at.expectSoon("the services are registered with the server that came back", () => connector.metric("registered") === 2);
  at.expect("good still stays", at.isAnswered(good, "web"));
});
