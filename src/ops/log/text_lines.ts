/**
 * Lines for a person at a terminal: `10:30:00.000 WARN  uplink-lost  The connection ended; dialling again. attempts=2`. What
 * stands in them was cleaned before, so nothing here can reach the terminal as a control sequence but our own colours.
 */
import type { LogLevel } from "../../base/mod.ts";
import type { LineWriter } from "./json_lines.ts";

/** `nowMs` gives milliseconds since the epoch. */
export function textLines(colours: boolean, nowMs: () => number, write: (line: string) => void): LineWriter {
  const paint = (code: string, text: string) => colours ? `\x1b[${code}m${text}\x1b[0m` : text;
  return (level, event, message, fields) => {
    const time = new Date(nowMs()).toISOString().slice(11, 23);
    let line = `${paint("2", time)} ${paint(COLOURS[level], level.toUpperCase().padEnd(5))} ${paint("36", event)}  ${message}`;
    for (const [name, value] of Object.entries(fields)) line += ` ${paint("2", `${name}=`)}${formatValue(value)}`;
    write(line + "\n");
  };
}

const COLOURS: Readonly<Record<LogLevel, string>> = { trace: "2", debug: "34", info: "32", warn: "33", error: "31", fatal: "1;31" };

function formatValue(value: string | number | boolean | null): string {
  return typeof value === "string" && !/^[\w.:/@\[\]-]+$/.test(value) ? JSON.stringify(value) : String(value);
}
