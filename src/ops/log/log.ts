/**
 * The log of one process: takes records, decides, writes. Everything is synchronous, so a line stands in its file before the call
 * returns and the last words of a failing process are not lost.
 */
import {
  LOG_LEVELS,
  type LogEvent,
  type LogFields,
  LogGate,
  type LogLevel,
  type LogRecord,
  LogSampler,
  type LogSink,
  type SamplingLimits,
} from "../../base/mod.ts";
import type { LogDestination } from "./destination.ts";
import { cleanFields, escapeText } from "./fields.ts";
import { formatFilter, type LogFilter, parseFilter, thresholdFor } from "./filter.ts";
import { jsonLines, type LineWriter } from "./json_lines.ts";
import { textLines } from "./text_lines.ts";

export interface LogOptions {
  /** Stands in every JSON line; null for commands that are no role. */
  readonly role: string | null;
  /** What the process calls itself, in every line as well; absent where that is the role. */
  readonly name?: string;
  readonly filter: LogFilter;
  readonly destination: LogDestination;
  readonly format: "json" | "text";
  /** Colours in the text form; the caller honours NO_COLOR. */
  readonly colours?: boolean;
  readonly sampling?: SamplingLimits;
  /** Milliseconds since the epoch; the system clock unless a test gives another. */
  readonly nowMs?: () => number;
}

export interface LogStatistics {
  readonly written: number;
  /** Left out by sampling. */
  readonly dropped: number;
  /** Could not be written. */
  readonly failed: number;
}

export interface Log {
  readonly sink: LogSink;
  /** What {@linkcode isOn} says, for producers in other isolates, and what they left out. */
  readonly gate: LogGate;
  /** Whether a record of this level and event would be written: ask before building costly fields. */
  isOn(level: LogLevel, event: LogEvent): boolean;
  /** Changes the filter at run time. `source` names who asked, for the usage error if the text cannot be read. Returns warnings. */
  setLevel(text: string, source: string): readonly string[];
  /** The filter in force, as text. */
  filter(): string;
  /** After logrotate: opens the path again. A failure is logged into the old file and nothing is lost. */
  reopen(): void;
  /** Writes the counts of what was left out. */
  flush(): void;
  /** Flushes, stops the clock and closes the destination. */
  close(): void;
  statistics(): LogStatistics;
}

/** How often counts of left-out records are looked for. */
const DROPPED_REPORT_MS = 5_000;

/** Builds the log. It holds one timer, which does not keep the process alive; {@linkcode Log.close} ends it. */
export function createLog(options: LogOptions): Log {
  const nowMs = options.nowMs ?? Date.now;
  const sampler = new LogSampler(options.sampling);
  const counts = { written: 0, dropped: 0, failed: 0 };
  const write = (line: string) => {
    if (options.destination.write(line)) counts.written++;
    else counts.failed++;
  };
  const writeLine: LineWriter = options.format === "json"
    ? jsonLines({ role: options.role, name: options.name ?? null }, write)
    : textLines({ name: options.name ?? null, colours: options.colours ?? false, nowMs }, write);
  let filter = options.filter;
  const gate = new LogGate();
  const useFilter = (next: LogFilter) => {
    filter = next;
    gate.set((event) => thresholdFor(next, event));
  };
  useFilter(options.filter);

  const isOn = (level: LogLevel, event: LogEvent) => gate.isOn(level, event);
  const emit = (level: LogLevel, event: LogEvent, message: string, fields: LogFields) => {
    if (!isOn(level, event)) return;
    writeLine(level, event, escapeText(message), cleanFields(fields, showsAddresses(thresholdFor(filter, event))));
  };
  const reportDropped = (force: boolean) => {
    for (const { event, count } of gate.takeLeftOut((event) => force || sampler.hasRoom(event, nowMs()))) {
      counts.dropped += count;
      emit("warn", "log-dropped", `${count} records of '${event}' were left out because they came too fast`, { of: event, count });
    }
  };
  const sink = (record: LogRecord) => {
    if (!isOn(record.level, record.event)) return;
    if (!sampler.admits(record.event, record.level, nowMs())) return gate.leaveOut(record.event);
    emit(record.level, record.event, record.message, record.fields);
  };
  const timer = setInterval(() => reportDropped(false), DROPPED_REPORT_MS);
  Deno.unrefTimer(timer);

  return {
    sink,
    gate,
    isOn,
    setLevel: (text, source) => {
      const parsed = parseFilter(text, source);
      useFilter(parsed.filter);
      return parsed.warnings;
    },
    filter: () => formatFilter(filter),
    reopen: () => {
      try {
        options.destination.reopen();
      } catch (error) {
        emit("error", "log-file-failed", error instanceof Error ? error.message : String(error), {});
      }
    },
    flush: () => reportDropped(true),
    close: () => {
      clearInterval(timer);
      reportDropped(true);
      options.destination.close();
    },
    statistics: () => ({ ...counts }),
  };
}

/** Addresses are for those who asked for `debug` or `trace`. */
function showsAddresses(threshold: string): boolean {
  return threshold !== "off" && LOG_LEVELS.findIndex((level) => level === threshold) <= LOG_LEVELS.indexOf("debug");
}
