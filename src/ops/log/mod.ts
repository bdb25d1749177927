/**
 * Logs. A {@linkcode LogRecord} from anywhere (also from the data plane's isolate) passes, in this order: `filter.ts` (is the
 * level on for its module?), the sampler of `src/base` (does this event come too fast?), `fields.ts` (what may not be shown is taken out,
 * what could harm a terminal is escaped), then `json_lines.ts` or `text_lines.ts` makes a line, and `destination.ts` writes it.
 */
export { createLog, type Log, type LogOptions, type LogStatistics } from "./log.ts";
export { type LogSettings, openLog } from "./open.ts";
export { formatFilter, type LogFilter, type LogThreshold, type ParsedFilter, parseFilter } from "./filter.ts";
export { fileDestination, type LogDestination, stderrDestination } from "./destination.ts";
export { escapeText } from "./fields.ts";
