/** A platform for tests: a disk and an environment as given, everything that was written kept, roles that end when told. */

import { type LogRecord, metricCells } from "../base/mod.ts";
import type { CertificateSummary } from "../core/quic/mod.ts";
import { LogGate } from "../base/mod.ts";
import { openEventStream } from "../ops/events/mod.ts";
import { runCli } from "./mod.ts";
import type { Platform, RoleHandle, RoleStart, StopSignal } from "./platform.ts";

export interface TestWorld {
  readonly files?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly terminals?: boolean;
  readonly nowMs?: number;
  readonly readCertificates?: (pem: Uint8Array) => readonly CertificateSummary[];
  /** Whether the reader of standard output has gone. */
  readonly isOutClosed?: boolean;
  /** What happens while the role starts. */
  readonly starting?: (run: TestRun) => Promise<void>;
  /** What the role does once it runs. */
  readonly role?: (run: TestRun) => Promise<void>;
}

/** What a role under test sees and may do. */
export interface TestRun {
  readonly start: RoleStart;
  readonly signal: (name: StopSignal) => void;
  /** Resolves when the role is asked to stop. */
  readonly stopped: Promise<void>;
  readonly aborted: Promise<void>;
}

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly error: string;
  readonly records: readonly LogRecord[];
  readonly started: readonly RoleStart[];
}

/** A data plane that does nothing. */
const SILENT_HOST: RoleHandle["host"] = {
  addresses: [],
  metrics: metricCells({}),
  served: [],
  status: () => Promise.reject(new Error("there is no data plane")),
  disconnect: () => Promise.resolve(false),
  deny: () => Promise.resolve(0),
};

/** Runs one command line in `world`. */
export async function runInTest(args: readonly string[], world: TestWorld = {}): Promise<Outcome> {
  let out = "";
  let error = "";
  const records: LogRecord[] = [];
  const started: RoleStart[] = [];
  const handlers = new Map<StopSignal, () => void>();
  const missing = () => Promise.reject(new Deno.errors.NotFound("no such file"));
  const platform: Platform = {
    version: "9.8.7",
    components: { deno: "2", quiche: "0" },
    writeOut: (text) => {
      if (world.isOutClosed === true) throw new Deno.errors.BrokenPipe("Broken pipe");
      out += text;
    },
    writeError: (text) => error += text,
    isTerminal: () => world.terminals ?? false,
    environment: () => world.environment ?? {},
    readFile: (path) => {
      const text = world.files?.[path];
      return text === undefined ? missing() : Promise.resolve(new TextEncoder().encode(text));
    },
    fileMode: () => Promise.resolve(0o100600),
    createPrivateFile: () => Promise.resolve(),
    replaceFile: () => Promise.resolve(),
    fileFingerprint: (path) => Promise.resolve(path),
    entropy: (bytes) => bytes.fill(7),
    readCertificates: world.readCertificates ?? (() => []),
    nowMs: () => world.nowMs ?? Date.UTC(2026, 10, 22),
    openLog: () => ({
      sink: (record) => records.push(record),
      gate: new LogGate(),
      isOn: () => true,
      setLevel: () => [],
      filter: () => "info",
      reopen: () => {},
      flush: () => {},
      close: () => {},
      statistics: () => ({ written: 0, dropped: 0, failed: 0 }),
    }),
    privilegesKept: [],
    createTlsContext: () => {
      throw new Error("there is no TLS in this world");
    },
    startOps: (source) =>
      Promise.resolve({
        record: () => {},
        events: openEventStream(() => {}),
        metricsAddress: null,
        adminPath: null,
        ready: () => {},
        reload: () => source.steering.reload(),
        reloaded: () => {},
        reopenLog: () => {},
        stopping: () => {},
        close: () => Promise.resolve(),
      }),
    openProbe: () => Promise.reject(new Error("there is no network")),
    resolve: () => Promise.reject(new Error("there is no network")),
    readLines: () => () => Promise.resolve(null),
    openPipe: () => Promise.resolve({ fd: -1, join: () => Promise.resolve() }),
    startRole: async (start) => {
      started.push(start);
      const stopped = Promise.withResolvers<void>();
      const aborted = Promise.withResolvers<void>();
      const run: TestRun = { start, signal: (name) => handlers.get(name)?.(), stopped: stopped.promise, aborted: aborted.promise };
      await world.starting?.(run);
      const reload = (again: RoleStart) => {
        started.push(again);
        return Promise.resolve();
      };
      const finished = world.role?.(run) ?? Promise.resolve();
      return { finished, stop: stopped.resolve, abort: aborted.resolve, host: SILENT_HOST, reload };
    },
    onSignal: (signal, handler) => {
      handlers.set(signal, handler);
      return () => handlers.delete(signal);
    },
  };
  const code = await runCli(args, platform);
  return { code, out, error, records, started };
}
