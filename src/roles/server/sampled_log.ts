/**
 * Records that peers and strangers can cause as often as they like: of each kind only some are written in a while, and the next
 * one says how many were left out. Counters count all of them.
 */
import type { LogEvent, LogFields, LogLevel } from "../../base/mod.ts";
import type { Plane } from "../control/mod.ts";

/** So many of one kind in so long. */
const LINES_MAX = 10;
const WINDOW_MS = 10_000;

interface Window {
  sinceMs: number;
  written: number;
  leftOut: number;
}

export class SampledLog {
  readonly #plane: Plane;
  readonly #windows = new Map<LogEvent, Window>();

  constructor(plane: Plane) {
    this.#plane = plane;
  }

  warn(event: LogEvent, message: string, fields: LogFields): void {
    this.write("warn", event, message, fields);
  }

  write(level: LogLevel, event: LogEvent, message: string, fields: LogFields): void {
    if (!this.#plane.isLogged(level, event)) return;
    const { nowMs } = this.#plane.platform.reactor;
    let window = this.#windows.get(event);
    if (window === undefined) {
      window = { sinceMs: nowMs, written: 0, leftOut: 0 };
      this.#windows.set(event, window);
    }
    if (nowMs - window.sinceMs >= WINDOW_MS) {
      window.sinceMs = nowMs;
      window.written = 0;
    }
    if (window.written >= LINES_MAX) {
      window.leftOut++;
      return;
    }
    window.written++;
    const leftOut = window.leftOut;
    window.leftOut = 0;
    this.#plane.log(level, event, message, leftOut === 0 ? fields : { ...fields, left_out: leftOut });
  }
}
