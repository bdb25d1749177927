/** JSON lines by pino: `{"level":"info","time":"2026-01-26T10:30:00.000Z","role":"server","event":"ready", …, "msg":"…"}`. */
import { pino } from "pino";
import type { LogEvent, LogLevel } from "../../base/mod.ts";
import { type CleanFields, SECRET_FIELDS } from "./fields.ts";

/** Makes a line of a record and hands it on, newline included. */
export type LineWriter = (level: LogLevel, event: LogEvent, message: string, fields: CleanFields) => void;

/** `write` gets whole lines. Levels were decided before: everything that comes here is written. */
export function jsonLines(
  { role, name }: { readonly role: string | null; readonly name: string | null },
  write: (line: string) => void,
): LineWriter {
  const logger = pino({
    level: "trace",
    base: role === null ? null : { role, ...(name === null ? {} : { name }) },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: [...SECRET_FIELDS], censor: "[secret]" },
  }, { write });
  return (level, event, message, fields) => logger[level]({ event, ...fields }, message);
}
