/**
 * `deno task bench`: the figures of the data plane, each beside its reference in the same run. Times depend on the machine; the
 * ratios are what counts. `dist/postern` must be built.
 *
 *   deno task bench [startup] [streams] [latency] [datagrams] [wire] [packets] [--bytes 1073741824] [--seconds 5]
 *                   [--relay NAME,HOST:PORT,PID,PKI]... [--wireguard PROGRAM] [--rathole PROGRAM] [--short] [--json FILE] [--markdown FILE]
 *
 * Without names all of them run; `--short` measures less of each.
 * `--relay` adds a ztna-v1 relay that already runs, with a development PKI that it trusts, to the datagram figures.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { measureDatagrams, type RelayTarget } from "./datagrams_bench.ts";
import { measureLatency } from "./latency_bench.ts";
import { measurePackets } from "./packets_bench.ts";
import { type BenchReport, type BenchTable, reportMarkdown, tableText } from "./report.ts";
import { measureStartup } from "./startup_bench.ts";
import { measureStreams } from "./streams_bench.ts";
import { measureWire } from "./wire_bench.ts";

const { values, positionals } = parseArgs({
  options: {
    bytes: { type: "string", default: `${512 * 1024 * 1024}` },
    seconds: { type: "string", default: "4" },
    relay: { type: "string", multiple: true, default: [] },
    wireguard: { type: "string", default: "wireguard-go" },
    rathole: { type: "string", default: "rathole" },
    short: { type: "boolean", default: false },
    json: { type: "string" },
    markdown: { type: "string" },
  },
  allowPositionals: true,
});
const seconds = Number(values.seconds);

const SECTIONS: Readonly<Record<string, () => Promise<readonly BenchTable[]>>> = {
  startup: () => measureStartup(5),
  streams: () => measureStreams(Number(values.bytes)),
  latency: () => measureLatency(values.short ?? false),
  datagrams: () => measureDatagrams({ seconds, further: (values.relay ?? []).map(parseRelay), isShort: values.short ?? false }),
  wire: () => measureWire({ seconds, rathole: values.rathole ?? "", isShort: values.short ?? false }),
  packets: () => measurePackets(seconds, values.wireguard ?? ""),
};

const unknown = positionals.filter((name) => !Object.hasOwn(SECTIONS, name));
if (unknown.length > 0) {
  console.error(`there is no benchmark ${unknown.join(", ")}; there are ${Object.keys(SECTIONS).join(", ")}`);
  Deno.exit(2);
}
const tables: BenchTable[] = [];
for (const [name, section] of Object.entries(SECTIONS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  for (const table of await section()) {
    tables.push(table);
    console.log(tableText(table));
  }
}
const report: BenchReport = {
  date: new Date().toISOString().slice(0, 10),
  machine: `${cpus().length} cores of ${cpus()[0]?.model.trim() ?? "a processor"}, Linux ${Deno.osRelease()}`,
  command: ["deno task bench", ...Deno.args].join(" "),
  tables,
};
if (values.json !== undefined) Deno.writeTextFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
if (values.markdown !== undefined) Deno.writeTextFileSync(values.markdown, reportMarkdown(report));

function parseRelay(text: string): RelayTarget {
  const [name = "", address = "", pid = "", pki = ""] = text.split(",");
  return { name, address, pid: Number(pid), pki };
}
