/**
 * CPU per relayed 1200-byte datagram of the server, and in the same run of any other ztna-v1 relays that already run.
 */
import { Gateway } from "../e2e/gateway_fixture.ts";
import { cpuSeconds, scriptLines } from "./children.ts";

const ROUNDS = 3;

export interface DatagramFigure {
  readonly relay: string;
  readonly microsecondsPerDatagram: number;
  readonly datagramsPerSecond: number;
}

/** A relay that already runs. */
export interface RelayTarget {
  readonly name: string;
  readonly address: string;
  readonly pid: number;
  readonly pki: string;
}

/** The median of the rounds for our server and for each further target, in turns. */
export async function measureDatagrams(seconds: number, further: readonly RelayTarget[]): Promise<DatagramFigure[]> {
  await using gateway = await Gateway.empty();
  const unlimited = ["datagrams-per-connection=off", "bytes-per-connection=off"].flatMap((limit) => ["--limit", limit]);
  const server = await gateway.startServer(...unlimited);
  const ours: RelayTarget = { name: "postern server", address: gateway.serverAddress, pid: server.pid, pki: gateway.pki.folder };
  const targets = [ours, ...further];
  const rounds = targets.map((): DatagramFigure[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, target] of targets.entries()) rounds[i]?.push(await load(target, seconds));
  }
  return rounds.map((each) =>
    each.sort((a, b) => a.microsecondsPerDatagram - b.microsecondsPerDatagram)[ROUNDS >> 1] as DatagramFigure
  );
}

async function load(target: RelayTarget, seconds: number): Promise<DatagramFigure> {
  let before = 0;
  const args = ["--relay", target.address, "--pki", target.pki, "--seconds", `${seconds}`];
  for await (const line of scriptLines("./load/datagrams.ts", args)) {
    const report = JSON.parse(line);
    if (report.event === "begin") before = cpuSeconds(target.pid);
    else {
      const used = cpuSeconds(target.pid) - before;
      return {
        relay: target.name,
        microsecondsPerDatagram: used / report.received * 1e6,
        datagramsPerSecond: report.received / report.seconds,
      };
    }
  }
  throw new Error(`the load on ${target.name} ended without a report`);
}
