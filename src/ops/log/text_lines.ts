/**
 * Lines for a person at a terminal: `10:30:00.000 WARN  uplink-lost  The connection ended; dialling again. attempts=2`. What
 * stands in them was cleaned before, so nothing here can reach the terminal as a control sequence but our own colours.
 */
import type { LogLevel } from "../../base/mod.ts";
import type { LineWriter } from "./json_lines.ts";

export interface TextOptions {
  /** Stands behind the level in every line; null for none. */
  readonly name: string | null;
  readonly colours: boolean;
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
}

export function textLines({ name, colours, nowMs }: TextOptions, write: (line: string) => void): LineWriter {
  const who = name === null ? "" : `${name} `;
  const paint = (code: string, text: string) => colours ? `\x1b[${code}m${text}\x1b[0m` : text;
  return (level, event, message, fields) => {
    const time = new Date(nowMs()).toISOString().slice(11, 23);
    let line = `${paint("2", time)} ${paint(COLOURS[level], level.toUpperCase().padEnd(5))} ${who}${
      paint("36", event)
    }  ${message}`;
    for (const [field, value] of Object.entries(fields)) line += ` ${paint("2", `${field}=`)}${formatValue(value)}`;
    write(line + "\n");
  };
}

const COLOURS: Readonly<Record<LogLevel, string>> = { trace: "2", debug: "34", info: "32", warn: "33", error: "31", fatal: "1;31" };

function formatValue(value: string | number | boolean | null): string {
  return typeof value === "string" && !/^[\w.:/@\[\]-]+$/.test(value) ? JSON.stringify(value) : String(value);
}
