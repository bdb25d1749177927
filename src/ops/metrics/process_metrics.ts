/** What the kernel knows about this process, under the names that Prometheus clients share. Nothing where /proc cannot be read. */
import type { MetricDefinition, MetricSample } from "../../base/mod.ts";
import type { ProcessNative } from "../../io/http/mod.ts";

/** USER_HZ of /proc, the same on every Linux that we run on. */
const TICKS_PER_SECOND = 100;

const DEFINITIONS = {
  cpu: { name: "process_cpu_seconds_total", kind: "counter", help: "User and system CPU time spent." },
  resident: { name: "process_resident_memory_bytes", kind: "gauge", help: "Resident memory." },
  virtual: { name: "process_virtual_memory_bytes", kind: "gauge", help: "Virtual memory." },
  descriptors: { name: "process_open_fds", kind: "gauge", help: "Open file descriptors." },
  descriptorsMax: { name: "process_max_fds", kind: "gauge", help: "The most file descriptors that may be open." },
  threads: { name: "process_threads", kind: "gauge", help: "Threads of this process." },
  start: { name: "process_start_time_seconds", kind: "gauge", help: "When this process started, since the epoch." },
} as const satisfies Readonly<Record<string, MetricDefinition>>;

/** The names, for the list in the documentation. */
export const PROCESS_METRICS: readonly MetricDefinition[] = Object.values(DEFINITIONS);

/** Reads /proc. Takes a fraction of a millisecond. */
export function processMetrics(native: ProcessNative): MetricSample[] {
  const read = (path: string) => {
    const bytes = native.readSystemFile(path);
    return bytes === null ? "" : new TextDecoder().decode(bytes);
  };
  const samples: MetricSample[] = [];
  const sample = (definition: MetricDefinition, value: number | null) => {
    if (value !== null && Number.isFinite(value)) samples.push({ definition, value });
  };
  const stat = parseStat(read("/proc/self/stat"));
  if (stat !== null) {
    sample(DEFINITIONS.cpu, (stat.userTicks + stat.systemTicks) / TICKS_PER_SECOND);
    sample(DEFINITIONS.resident, stat.residentPages * 4096);
    sample(DEFINITIONS.virtual, stat.virtualBytes);
    sample(DEFINITIONS.threads, stat.threads);
    sample(DEFINITIONS.start, startSeconds(read("/proc/stat"), stat.startTicks));
  }
  // One of the entries is the folder that was just read.
  const descriptors = native.countSystemFolder("/proc/self/fd");
  sample(DEFINITIONS.descriptors, descriptors === null ? null : descriptors - 1);
  sample(DEFINITIONS.descriptorsMax, descriptorLimit(read("/proc/self/limits")));
  return samples;
}

interface ProcStat {
  readonly userTicks: number;
  readonly systemTicks: number;
  readonly threads: number;
  readonly startTicks: number;
  readonly virtualBytes: number;
  readonly residentPages: number;
}

/** proc_pid_stat(5). The second field may have spaces and brackets, so counting starts behind its last bracket. */
function parseStat(text: string): ProcStat | null {
  if (text === "") return null;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number);
  const at = (number: number) => fields[number - 3] ?? NaN;
  return {
    userTicks: at(14),
    systemTicks: at(15),
    threads: at(20),
    startTicks: at(22),
    virtualBytes: at(23),
    residentPages: at(24),
  };
}

function startSeconds(stat: string, startTicks: number): number | null {
  const boot = /^btime (\d+)$/m.exec(stat)?.[1];
  return boot === undefined ? null : Number(boot) + startTicks / TICKS_PER_SECOND;
}

function descriptorLimit(limits: string): number | null {
  const limit = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return limit === undefined ? null : Number(limit);
}
