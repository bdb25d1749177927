/**
 * iperf3 through the tunnel's packets: Linux' own TCP in a namespace, a TUN device, an agent as earlier ztna-v1 peers are, server,
 * connector; and beside it through an agent's streams, through a hub of three wireguard-go, and over the bare wire, in one run.
 * As root; what is not installed is left out and said.
 */
import { missing } from "../../tools/needs.ts";
import { Gateway } from "../e2e/gateway_fixture.ts";
import { closedPort } from "../e2e/tcp_fixture.ts";
import { TUN_NEEDS } from "../e2e/tun_fixture.ts";
import { TunGateway } from "../e2e/tun_gateway_fixture.ts";
import { cpuSeconds } from "./children.ts";
import type { BenchTable } from "./report.ts";
import { here, IperfServer, type IperfWay, runIperf } from "./iperf.ts";
import { BareWire, WireguardHub } from "./wireguard.ts";

const ROUNDS = 3;

interface PacketFigure {
  readonly path: string;
  readonly connections: number;
  /** From the client's end. */
  readonly way: IperfWay;
  readonly gbitPerSecond: number;
  /** CPU seconds per 10^9 bytes of everything between both ends of TCP, by part. */
  readonly cpuPerGb: Readonly<Record<string, number>>;
}

/** One path from a client to a server of iperf3, and what works in between. */
interface MeasuredPath {
  readonly name: string;
  readonly client: (...args: readonly string[]) => Deno.Command;
  readonly address: string;
  readonly port: number;
  /** Process ids by part. */
  readonly parts: Readonly<Record<string, readonly number[]>>;
}

/** Medians of {@linkcode ROUNDS} rounds in which the paths take turns, for one and for eight connections, up and down. */
export async function measurePackets(seconds: number, wireguard: string): Promise<BenchTable[]> {
  const lack = missing({ ...TUN_NEEDS, tools: [...TUN_NEEDS.tools, "iperf3"] });
  if (lack !== undefined) {
    console.error(`iperf3 through packets is left out: needs ${lack}`);
    return [];
  }
  const figures = await packetFigures(seconds, wireguard);
  const kinds = new Set(
    figures.map(({ connections, way }) => `iperf3, ${connections} connection${connections > 1 ? "s" : ""}, ${way}`),
  );
  return [...kinds].map((title) => ({
    title,
    columns: ["", "Gbit/s", "CPU s/GB"],
    rows: figures.filter(({ connections, way }) => title.startsWith(`iperf3, ${connections} `) && title.endsWith(way))
      .map(({ path, gbitPerSecond, cpuPerGb }) => [path, gbitPerSecond, sum(Object.values(cpuPerGb))]),
    notes: [`${seconds} s a round, CPU of all processes in between, the median of ${ROUNDS} rounds.`],
    targets: [],
  }));
}

async function packetFigures(seconds: number, wireguard: string): Promise<PacketFigure[]> {
  await using resources = new AsyncDisposableStack();
  const paths: MeasuredPath[] = [];
  const bare = resources.use(await BareWire.open());
  resources.use(await IperfServer.start(bare.server));
  paths.push({ name: "bare veth", client: bare.client, address: bare.address, port: IperfServer.PORT, parts: {} });
  const lack = missing({ tools: wireguard.includes("/") ? [] : [wireguard], files: wireguard.includes("/") ? [wireguard] : [] });
  if (lack === undefined) {
    const hub = resources.use(await WireguardHub.open(wireguard));
    resources.use(await IperfServer.start(hub.server));
    const parts = { clients: [hub.pids[0] ?? 0, hub.pids[2] ?? 0], hub: [hub.pids[1] ?? 0] };
    paths.push({ name: "wireguard-go as a hub", client: hub.client, address: hub.address, port: IperfServer.PORT, parts });
  } else console.error(`wireguard-go is left out: needs ${lack}`);
  paths.push(await packetPath(resources), await streamPath(resources));

  const figures: PacketFigure[] = [];
  for (const connections of [1, 8]) {
    for (const way of ["up", "down"] as const) {
      const rounds = paths.map((): PacketFigure[] => []);
      for (let round = 0; round < ROUNDS; round++) {
        for (const [i, path] of paths.entries()) rounds[i]?.push(await measure(path, connections, way, seconds));
      }
      for (const each of rounds) figures.push(each.sort((a, b) => a.gbitPerSecond - b.gbitPerSecond)[ROUNDS >> 1] as PacketFigure);
    }
  }
  return figures;
}

async function measure(path: MeasuredPath, connections: number, way: IperfWay, seconds: number): Promise<PacketFigure> {
  const parts = Object.entries(path.parts);
  const before = parts.map(([, pids]) => total(pids));
  const { bytes, seconds: took } = await runIperf(path.client, path.address, path.port, { connections, way, seconds });
  const cpuPerGb = Object.fromEntries(
    parts.map(([name, pids], i) => [name, (total(pids) - (before[i] ?? 0)) / (bytes / 1e9)]),
  );
  return { path: path.name, connections, way, gbitPerSecond: bytes * 8 / took / 1e9, cpuPerGb };
}

async function packetPath(resources: AsyncDisposableStack): Promise<MeasuredPath> {
  const port = closedPort();
  resources.use(await IperfServer.start(here, port));
  const gateway = resources.use(await TunGateway.start({ services: { iperf: `127.0.0.1:${port}` } }));
  const host = await gateway.host();
  const { server, connector } = gateway.gateway;
  return {
    name: "postern, packets",
    client: (program, ...args) => host.command(program, ...args),
    address: gateway.addressesOf("iperf")[0],
    port: 80,
    parts: { "test agent": [host.agentPid], server: [server.pid], connector: [connector.pid] },
  };
}

async function streamPath(resources: AsyncDisposableStack): Promise<MeasuredPath> {
  const port = closedPort();
  resources.use(await IperfServer.start(here, port));
  const gateway = resources.use(await Gateway.start({ services: { web: port } }));
  const { agent, server, connector } = gateway;
  return {
    name: "postern, streams",
    client: here,
    address: "127.0.0.1",
    port: gateway.portOf("web"),
    parts: { agent: [agent.pid], server: [server.pid], connector: [connector.pid] },
  };
}

function total(pids: readonly number[]): number {
  return sum(pids.map(cpuSeconds));
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
