/**
 * Which records are wanted: one level for everything and, if given, others for single modules, as in `info` or
 * `debug,uplink=trace`. A record's module is the first segment of its event name: `uplink-lost` belongs to `uplink`.
 */
import { LOG_EVENTS, LOG_LEVELS, type LogLevel, usageError } from "../../base/mod.ts";

/** A level, or nothing at all. */
export type LogThreshold = LogLevel | "off";

export interface LogFilter {
  readonly level: LogThreshold;
  readonly modules: ReadonlyMap<string, LogThreshold>;
}

export interface ParsedFilter {
  readonly filter: LogFilter;
  /** One sentence for each part that was understood but matches nothing. */
  readonly warnings: readonly string[];
}

/** More parts than anyone types. */
const PARTS_MAX = 64;
const TEXT_BYTES_MAX = 4096;

const MODULES: ReadonlySet<string> = new Set(Object.keys(LOG_EVENTS).map(moduleOf));

/**
 * Reads a filter such as `info` or `debug,uplink=trace`. `warning` is taken for `warn`; the order of the parts does not matter.
 * Throws a usage error that names the part which is wrong. `source` is the name of the flag or variable, for the message.
 */
export function parseFilter(text: string, source: string): ParsedFilter {
  if (text.length > TEXT_BYTES_MAX) throw usageError(`${source} is longer than ${TEXT_BYTES_MAX} characters`);
  const parts = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  if (parts.length > PARTS_MAX) throw usageError(`${source} has more than ${PARTS_MAX} parts`);
  let level: LogThreshold | null = null;
  const modules = new Map<string, LogThreshold>();
  const warnings: string[] = [];
  for (const part of parts) {
    const equals = part.indexOf("=");
    if (equals < 0) {
      const bare = thresholdOf(part);
      if (bare === null) throw wrongLevel(source, part);
      if (level !== null) throw usageError(`${source} gives two levels for everything: '${level}' and '${part}'`, FILTER_HINT);
      level = bare;
      continue;
    }
    const name = part.slice(0, equals).trim().toLowerCase();
    const own = thresholdOf(part.slice(equals + 1).trim());
    if (own === null) throw wrongLevel(source, part);
    if (!/^[a-z][a-z0-9_:]*$/.test(name)) throw usageError(`${source}: '${part}' does not name a module`, FILTER_HINT);
    if (modules.has(name)) throw usageError(`${source} names the module '${name}' twice`);
    modules.set(name, own);
    if (!MODULES.has(name)) warnings.push(`${source}: no log event belongs to '${name}'; modules are ${[...MODULES].join(", ")}`);
  }
  return { filter: { level: level ?? "info", modules }, warnings };
}

/** The filter as {@linkcode parseFilter} reads it, in one canonical order. */
export function formatFilter(filter: LogFilter): string {
  const modules = [...filter.modules].sort(([a], [b]) => a < b ? -1 : 1).map(([name, level]) => `${name}=${level}`);
  return [filter.level, ...modules].join(",");
}

/** The threshold that holds for an event. */
export function thresholdFor(filter: LogFilter, event: string): LogThreshold {
  if (filter.modules.size === 0) return filter.level;
  return filter.modules.get(moduleOf(event)) ?? filter.level;
}

function moduleOf(event: string): string {
  const dash = event.indexOf("-");
  return dash < 0 ? event : event.slice(0, dash);
}

const FILTER_HINT = "write a level, or a level and modules: info, debug,uplink=trace";

function thresholdOf(text: string): LogThreshold | null {
  const word = text.toLowerCase();
  if (word === "off") return "off";
  if (word === "warning") return "warn";
  return LOG_LEVELS.find((level) => level === word) ?? null;
}

function wrongLevel(source: string, part: string): Error {
  return usageError(`${source}: '${part}' is not a level`, `levels are ${LOG_LEVELS.join(", ")} and off; ${FILTER_HINT}`);
}
