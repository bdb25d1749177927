/**
 * `deno task bench`: the figures of the data plane, each beside its reference in the same run. Times depend on the machine; the
 * ratios are what counts. `dist/postern` must be built.
 *
 *   deno task bench [startup] [streams] [datagrams] [packets] [--bytes 1073741824] [--seconds 5]
 *                   [--relay NAME,HOST:PORT,PID,PKI]... [--wireguard PROGRAM]
 *
 * Without names all of them run.
 * `--relay` adds a ztna-v1 relay that already runs, with a development PKI that it trusts, to the datagram figures.
 */
import { parseArgs } from "node:util";
import { measureDatagrams, type RelayTarget } from "./datagrams_bench.ts";
import { lackOfPackets, measurePackets } from "./packets_bench.ts";
import { measureStartup } from "./startup_bench.ts";
import { measureStreams } from "./streams_bench.ts";

const { values, positionals } = parseArgs({
  options: {
    bytes: { type: "string", default: `${512 * 1024 * 1024}` },
    seconds: { type: "string", default: "4" },
    relay: { type: "string", multiple: true, default: [] },
    wireguard: { type: "string", default: "wireguard-go" },
  },
  allowPositionals: true,
});

const SECTIONS: Readonly<Record<string, () => Promise<void>>> = { startup, streams, datagrams, packets };
for (const [name, section] of Object.entries(SECTIONS)) {
  if (positionals.length === 0 || positionals.includes(name)) await section();
}

async function startup(): Promise<void> {
  const { readyMs, residentMiB } = await measureStartup(5);
  console.log(`start to ready: ${readyMs.toFixed(0)} ms, ${residentMiB.toFixed(0)} MiB resident (server, median of 5)`);
}

async function streams(): Promise<void> {
  const figures = await measureStreams(Number(values.bytes));
  for (const connections of new Set(figures.map((figure) => figure.connections))) {
    const rows = figures.filter((figure) => figure.connections === connections);
    const bare = rows[0]?.gbitPerSecond ?? NaN;
    console.log(`\nTCP, ${counted(connections)}: Gbit/s, share of the bare loopback, CPU s/GB in between`);
    for (const { path, gbitPerSecond, cpuPerGb } of rows) {
      console.log(
        `  ${path.padEnd(34)} ${gbitPerSecond.toFixed(2).padStart(6)}  ${(gbitPerSecond / bare).toFixed(3)}  ${
          cpuPerGb.toFixed(2)
        }`,
      );
    }
  }
}

async function datagrams(): Promise<void> {
  const figures = await measureDatagrams(Number(values.seconds), (values.relay ?? []).map(parseRelay));
  console.log("\ndatagrams of 1200 bytes: CPU us per relayed datagram, datagrams/s");
  for (const { relay, microsecondsPerDatagram, datagramsPerSecond } of figures) {
    console.log(`  ${relay.padEnd(34)} ${microsecondsPerDatagram.toFixed(2).padStart(6)}  ${Math.round(datagramsPerSecond)}`);
  }
}

async function packets(): Promise<void> {
  const lack = lackOfPackets();
  if (lack !== null) return console.log(`\niperf3 through packets is left out: needs ${lack}`);
  const figures = await measurePackets(Number(values.seconds), values.wireguard);
  for (const way of ["up", "down"]) {
    for (const connections of new Set(figures.map((figure) => figure.connections))) {
      console.log(`\niperf3, ${counted(connections)}, ${way}: Gbit/s, CPU s/GB in between`);
      for (const figure of figures.filter((one) => one.way === way && one.connections === connections)) {
        const parts = Object.entries(figure.cpuPerGb).map(([part, seconds]) => `${part} ${seconds.toFixed(2)}`);
        const sum = Object.values(figure.cpuPerGb).reduce((total, seconds) => total + seconds, 0);
        console.log(
          `  ${figure.path.padEnd(22)} ${figure.gbitPerSecond.toFixed(2).padStart(6)}  ${sum.toFixed(2).padStart(5)}  ${
            parts.join(", ")
          }`,
        );
      }
    }
  }
}

function counted(connections: number): string {
  return `${connections} connection${connections > 1 ? "s" : ""}`;
}

function parseRelay(text: string): RelayTarget {
  const [name = "", address = "", pid = "", pki = ""] = text.split(",");
  return { name, address, pid: Number(pid), pki };
}
