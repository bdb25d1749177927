/**
 * `deno task bench`: the figures of the data plane, each beside its reference in the same run. Times depend on the machine; the
 * ratios are what counts. `dist/postern` must be built.
 *
 *   deno task bench [startup] [connections] [streams] [latency] [datagrams] [fairness] [choices] [workers] [wire] [packets]
 *                   [--bytes 1073741824] [--seconds 5] [--relay NAME,HOST:PORT,PID,PKI]... [--wireguard PROGRAM] [--rathole PROGRAM] [--short] [--json FILE] [--markdown FILE]
 *   deno task bench report [--short] [--document docs/BENCHMARKS.md] [as above]
 *
 * Without names all of them run; `--short` measures less of each. `report` runs all of them and puts what it found into the document,
 * whose other parts it leaves as they are; a part that fails stands in it with its reason. A reference whose program is missing is told,
 * and left out.
 * `--relay` adds a ztna-v1 relay that already runs, with a development PKI that it trusts, to the datagram figures.
 */
import { within } from "../e2e/tcp_fixture.ts";
import { cpus, loadavg } from "node:os";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { measureChoices } from "./choices_bench.ts";
import { measureConnections } from "./connections_bench.ts";
import { measureDatagrams, type RelayTarget } from "./datagrams_bench.ts";
import { withReport } from "./document.ts";
import { measureFairness } from "./fairness_bench.ts";
import { measureLatency } from "./latency_bench.ts";
import { measurePackets } from "./packets_bench.ts";
import { type BenchReport, type BenchTable, failedTable, reportMarkdown, tableText } from "./report.ts";
import { measureStartup } from "./startup_bench.ts";
import { measureStreams } from "./streams_bench.ts";
import { measureWire } from "./wire_bench.ts";
import { measureWorkers } from "./workers_bench.ts";

const { values, positionals } = parseArgs({
  options: {
    bytes: { type: "string" },
    seconds: { type: "string" },
    relay: { type: "string", multiple: true, default: [] },
    wireguard: { type: "string", default: "wireguard-go" },
    rathole: { type: "string", default: "rathole" },
    short: { type: "boolean", default: false },
    json: { type: "string" },
    markdown: { type: "string" },
    document: { type: "string", default: "docs/BENCHMARKS.md" },
  },
  allowPositionals: true,
});
const isReport = positionals.includes("report"), isShort = values.short ?? false;
/** A whole report has more tables than time: its rounds are shorter. */
const seconds = Number(values.seconds ?? (isReport ? (isShort ? "1" : "2") : "4"));
const bytes = Number(values.bytes ?? (isReport ? 256 : 512) * 1024 * 1024);

const SECTIONS: Readonly<Record<string, () => Promise<readonly BenchTable[]>>> = {
  startup: () => measureStartup(5),
  connections: () => measureConnections(isShort),
  streams: () => measureStreams(bytes, isShort),
  latency: () => measureLatency(isShort),
  datagrams: () =>
    measureDatagrams({ seconds: isReport ? seconds / 2 : seconds, further: (values.relay ?? []).map(parseRelay), isShort }),
  fairness: () => measureFairness({ seconds: isReport ? seconds / 2 : seconds, isShort }),
  choices: () => measureChoices({ seconds: isReport ? 3 : Number(values.seconds ?? "5") }),
  workers: () => measureWorkers(isReport ? seconds / 2 : seconds, isShort),
  wire: () => measureWire({ seconds, rathole: values.rathole ?? "", isShort }),
  packets: () => measurePackets(seconds, values.wireguard ?? ""),
};

/** A part of a report that takes longer than this will not end. */
const SECTION_MS = 600_000;
// What a part leaves behind when it is given up may fail later.
if (isReport) {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    console.error(`later: ${event.reason}`);
  });
}

const unknown = positionals.filter((name) => !Object.hasOwn(SECTIONS, name) && name !== "report");
if (unknown.length > 0) {
  console.error(`there is no benchmark ${unknown.join(", ")}; there are report, ${Object.keys(SECTIONS).join(", ")}`);
  Deno.exit(2);
}
const documentPath = values.document ?? "", before = isReport ? readIfThere(documentPath) : null;
const tables: BenchTable[] = [], left: string[] = [], load = loadavg()[0] ?? NaN;
for (const [name, section] of Object.entries(SECTIONS)) {
  if (positionals.length > 0 && !isReport && !positionals.includes(name)) continue;
  const begun = performance.now();
  try {
    for (const table of await (isReport ? within(SECTION_MS, name, section()) : section())) {
      tables.push(table);
      console.log(tableText(table));
    }
  } catch (error) {
    // What has been measured until then is worth more than an end without a report.
    if (!isReport) throw error;
    left.push(name);
    tables.push(failedTable(name, error instanceof Error ? error.message : `${error}`));
    console.error(`${name} failed: ${error instanceof Error ? error.stack : error}`);
  }
  console.error(`${name}: ${((performance.now() - begun) / 1000).toFixed(0)} s`);
}
const report: BenchReport = {
  date: new Date().toISOString().slice(0, 10),
  machine: `${cpus().length} cores of ${cpus()[0]?.model.trim() ?? "a processor"}, Linux ${Deno.osRelease().split("-")[0]}, load ${
    load.toFixed(1)
  } at the start`,
  // Where a program lies on this machine is nobody's business.
  command: ["deno task bench", ...Deno.args.map((word) => word.startsWith("/") ? basename(word) : word)].join(" "),
  tables,
};
if (values.json !== undefined) Deno.writeTextFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
if (values.markdown !== undefined) Deno.writeTextFileSync(values.markdown, reportMarkdown(report));
if (isReport) {
  const document = withReport(before, report);
  if (document === null) {
    console.error(`${documentPath} has no marks between which a report could stand`);
    Deno.exit(1);
  }
  Deno.writeTextFileSync(documentPath, document);
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", documentPath] }).output();
}
Deno.exit(left.length > 0 ? 1 : 0);

function readIfThere(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function parseRelay(text: string): RelayTarget {
  const [name = "", address = "", pid = "", pki = ""] = text.split(",");
  return { name, address, pid: Number(pid), pki };
}
