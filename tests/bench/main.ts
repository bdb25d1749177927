/**
 * `deno task bench`: the figures of the data plane, each beside its reference in the same run. Times depend on the machine; the
 * ratios are what counts. `dist/postern` must be built.
 *
 *   deno task bench [--bytes 1073741824] [--seconds 5] [--relay NAME,HOST:PORT,PID,PKI]...
 *
 * `--relay` adds a ztna-v1 relay that already runs, with a development PKI that it trusts, to the datagram figures.
 */
import { parseArgs } from "node:util";
import { measureDatagrams, type RelayTarget } from "./datagrams_bench.ts";
import { measureStartup } from "./startup_bench.ts";
import { measureStreams } from "./streams_bench.ts";

const { values } = parseArgs({
  options: {
    bytes: { type: "string", default: `${512 * 1024 * 1024}` },
    seconds: { type: "string", default: "4" },
    relay: { type: "string", multiple: true, default: [] },
  },
});

const startup = await measureStartup(5);
console.log(
  `start to ready: ${startup.readyMs.toFixed(0)} ms, ${startup.residentMiB.toFixed(0)} MiB resident (server, median of 5)`,
);

const streams = await measureStreams(Number(values.bytes));
for (const connections of new Set(streams.map((figure) => figure.connections))) {
  const rows = streams.filter((figure) => figure.connections === connections);
  const bare = rows[0]?.gbitPerSecond ?? NaN;
  console.log(
    `\nTCP, ${connections} connection${connections > 1 ? "s" : ""}: Gbit/s, share of the bare loopback, CPU s/GB in between`,
  );
  for (const { path, gbitPerSecond, cpuPerGb } of rows) {
    console.log(
      `  ${path.padEnd(34)} ${gbitPerSecond.toFixed(2).padStart(6)}  ${(gbitPerSecond / bare).toFixed(3)}  ${cpuPerGb.toFixed(2)}`,
    );
  }
}

const datagrams = await measureDatagrams(Number(values.seconds), (values.relay ?? []).map(parseRelay));
console.log("\ndatagrams of 1200 bytes: CPU us per relayed datagram, datagrams/s");
for (const { relay, microsecondsPerDatagram, datagramsPerSecond } of datagrams) {
  console.log(`  ${relay.padEnd(34)} ${microsecondsPerDatagram.toFixed(2).padStart(6)}  ${Math.round(datagramsPerSecond)}`);
}

function parseRelay(text: string): RelayTarget {
  const [name = "", address = "", pid = "", pki = ""] = text.split(",");
  return { name, address, pid: Number(pid), pki };
}
