/**
 * TCP from one host to another over wires with an MTU of 1500, each host a network namespace: bare, through stunnel (one hop), through
 * rathole with noise (two hops) and through agent, server and connector (three), in one run.
 *
 *   client host ──┐
 *                 ├── public network, server host
 *   service host ─┘
 */
import { missing } from "../../tools/needs.ts";
import { NAT_NEEDS, SERVER_ADDRESS, SmallInternet } from "../e2e/nat_fixture.ts";
import { makePki } from "../e2e/pki_fixture.ts";
import { RoleProcess, TemporaryFolder } from "../e2e/processes_fixture.ts";
import type { Namespace } from "../e2e/tun_fixture.ts";
import { cpuSeconds, ONE_WORKER } from "./children.ts";
import { IperfServer, type IperfWay, runIperf, type Starter } from "./iperf.ts";
import { Rathole } from "./rathole.ts";
import type { BenchTable, BenchTarget } from "./report.ts";
import { Stunnel } from "./stunnel.ts";

const ROUNDS = 3;
const CLIENT_ADDRESS = "203.0.113.2", SERVICE_ADDRESS = "203.0.113.3";

export interface WireOptions {
  readonly seconds: number;
  /** A program of rathole. */
  readonly rathole: string;
  readonly isShort: boolean;
}

interface MeasuredPath {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly pids: readonly number[];
}

interface Figure {
  readonly gbitPerSecond: number;
  readonly cpuPerGb: number;
}

/** One table for each number of connections and way; medians of {@linkcode ROUNDS} rounds in which the paths take turns. */
export async function measureWire(options: WireOptions): Promise<BenchTable[]> {
  const lack = missing({ ...NAT_NEEDS, tools: [...NAT_NEEDS.tools, "iperf3"] });
  if (lack !== undefined) {
    console.error(`TCP over wires is left out: needs ${lack}`);
    return [];
  }
  await using resources = new AsyncDisposableStack();
  const internet = resources.use(await SmallInternet.open());
  const [client] = await internet.hosts("public", 1), [service] = await internet.hosts("public", 1);
  if (client === undefined || service === undefined) throw new Error("no hosts");
  const { paths, lefts } = await openPaths(resources, internet.server, client, service, options.rathole);
  const tables: BenchTable[] = [];
  for (const connections of options.isShort ? [1] : [1, 8, 64]) {
    for (const way of ["up", "down"] as const) {
      const figures = await medians(starterOf(client), paths, connections, way, options.seconds);
      tables.push(tableOf(paths, figures, connections, way, options.seconds, lefts));
    }
  }
  return tables;
}

async function openPaths(
  resources: AsyncDisposableStack,
  server: Namespace,
  client: Namespace,
  service: Namespace,
  ratholeProgram: string,
): Promise<{ readonly paths: MeasuredPath[]; readonly lefts: string[] }> {
  const folder = resources.use(new TemporaryFolder()).path;
  resources.use(await IperfServer.start(starterOf(service)));
  const sink = `${SERVICE_ADDRESS}:${IperfServer.PORT}`;
  const paths: MeasuredPath[] = [{ name: "bare wire", address: SERVICE_ADDRESS, port: IperfServer.PORT, pids: [] }];
  const lefts: string[] = [];
  const pki = await makePki(folder);
  const stunnel = await Stunnel.start({
    folder,
    pki: pki.folder,
    sink,
    near: { start: starterOf(client), address: CLIENT_ADDRESS, port: 5301 },
    far: { start: starterOf(service), address: SERVICE_ADDRESS, port: 5302 },
  });
  if (stunnel === null) lefts.push("stunnel is left out.");
  else paths.push({ name: "stunnel, mutual TLS, one hop", address: CLIENT_ADDRESS, port: 5301, pids: resources.use(stunnel).pids });
  const lack = missing(ratholeProgram.includes("/") ? { files: [ratholeProgram] } : { tools: [ratholeProgram] });
  if (lack !== undefined) lefts.push(`rathole is left out: needs ${lack}.`);
  else {
    const rathole = resources.use(
      await Rathole.start({
        program: ratholeProgram,
        folder,
        server: starterOf(server),
        client: starterOf(service),
        address: SERVER_ADDRESS,
        controlPort: 5401,
        port: 5402,
        sink,
      }),
    );
    paths.push({ name: "rathole, noise, two hops", address: SERVER_ADDRESS, port: 5402, pids: rathole.pids });
  }
  const listen = `${SERVER_ADDRESS}:4433`;
  const role = (at: Namespace, ...args: readonly string[]) =>
    resources.use(new RoleProcess(args, folder, {}, ["nsenter", `--net=/proc/${at.pid}/ns/net`]));
  const own = role(
    server,
    "server",
    ...ONE_WORKER,
    "--bind",
    listen,
    "--cert",
    pki.server.cert,
    "--key",
    pki.server.key,
    "--ca-cert",
    pki.caCert,
  );
  await own.until("ready");
  const uplink = ({ cert, key }: { readonly cert: string; readonly key: string }) => {
    return [
      "--server",
      listen,
      "--server-name",
      "ztna-server",
      "--ca-cert",
      pki.caCert,
      "--client-cert",
      cert,
      "--client-key",
      key,
    ];
  };
  const connector = role(service, "connector", "--service", `web=${sink}`, "--health", "off", ...uplink(pki.connector));
  await connector.until("registered");
  const agent = role(client, "agent", "--forward", "127.0.0.1:5501=web", ...uplink(pki.agent));
  await agent.until("uplink-connected");
  paths.push({
    name: "postern, agent-server-connector, three hops",
    address: "127.0.0.1",
    port: 5501,
    pids: [agent.pid, own.pid, connector.pid],
  });
  return { paths, lefts };
}

async function medians(
  client: Starter,
  paths: readonly MeasuredPath[],
  connections: number,
  way: IperfWay,
  seconds: number,
): Promise<Figure[]> {
  const rounds = paths.map((): Figure[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, { address, port, pids }] of paths.entries()) {
      const before = cpuOf(pids);
      const { bytes, seconds: took } = await runIperf(client, address, port, { connections, way, seconds });
      rounds[i]?.push({ gbitPerSecond: bytes * 8 / took / 1e9, cpuPerGb: (cpuOf(pids) - before) / (bytes / 1e9) });
    }
  }
  return rounds.map((each) => each.sort((a, b) => a.gbitPerSecond - b.gbitPerSecond)[ROUNDS >> 1] as Figure);
}

function tableOf(
  paths: readonly MeasuredPath[],
  figures: readonly Figure[],
  connections: number,
  way: IperfWay,
  seconds: number,
  lefts: readonly string[],
): BenchTable {
  const hops = ({ pids }: MeasuredPath) => pids.length;
  const rows = paths.map((path, i): BenchTable["rows"][number] => {
    const { gbitPerSecond, cpuPerGb } = figures[i] ?? { gbitPerSecond: NaN, cpuPerGb: NaN };
    return [path.name, gbitPerSecond, cpuPerGb, hops(path) === 0 ? null : cpuPerGb / hops(path)];
  });
  const at = (word: string) => paths.findIndex(({ name }) => name.startsWith(word));
  const ours = figures[at("postern")], theirs = figures[at("rathole")];
  const targets: BenchTarget[] = ours === undefined || theirs === undefined ? [] : [
    { what: "goodput, ours over rathole's", value: ours.gbitPerSecond / theirs.gbitPerSecond, bound: 1, kind: "least" },
    { what: "CPU per GB and hop, ours over rathole's", value: ours.cpuPerGb / 3 / (theirs.cpuPerGb / 2), bound: 1, kind: "most" },
  ];
  return {
    title: `TCP over wires with an MTU of 1500, ${connections} connection${connections > 1 ? "s" : ""}, ${way}`,
    columns: ["", "Gbit/s", "CPU s/GB", "CPU s/GB and hop"],
    rows,
    notes: [`iperf3 for ${seconds} s a round, the median of ${ROUNDS} rounds in turns.`, ...lefts],
    targets,
  };
}

function starterOf(namespace: Namespace): Starter {
  return (program, ...args) => namespace.command(program, ...args);
}

function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
}
