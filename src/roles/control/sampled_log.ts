/**
 * Records and security events that peers and strangers can cause as often as they like: of each kind only some are written in a
 * while, and the next one says how many were left out. Counters count all of them.
 */
import type { LogEvent, LogFields, LogLevel, SecurityEventInput, SecurityEventType } from "../../base/mod.ts";
import type { Plane } from "./plane.ts";

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
  readonly #linesMax: number;
  readonly #windows = new Map<LogEvent, Window>();
  readonly #eventWindows = new Map<SecurityEventType, Window>();

  /** One of `workers` that write into the same log. */
  constructor(plane: Plane, workers = 1) {
    this.#plane = plane;
    this.#linesMax = Math.ceil(LINES_MAX / workers);
  }

  warn(event: LogEvent, message: string, fields: LogFields): void {
    this.write("warn", event, message, fields);
  }

  write(level: LogLevel, event: LogEvent, message: string, fields: LogFields): void {
    if (!this.#plane.isLogged(level, event)) return;
    const leftOut = this.#leftOut(this.#windows, event);
    if (leftOut < 0) return;
    this.#plane.log(level, event, message, leftOut === 0 ? fields : { ...fields, left_out: leftOut });
  }

  /** A security event: so that a stranger can neither push the others out of the audit trail nor flood an alert's receiver. */
  event(input: SecurityEventInput): void {
    this.eventOf(input.event_type, () => input);
  }

  /** As {@linkcode event} for one that costs something to put together: `make` is called only when it is told. */
  eventOf(type: SecurityEventType, make: () => SecurityEventInput): void {
    const leftOut = this.#leftOut(this.#eventWindows, type);
    if (leftOut < 0) return;
    const input = make();
    this.#plane.event(leftOut === 0 ? input : { ...input, details: { ...input.details, left_out: leftOut } });
  }

  /** How many of the kind were left out before this one, which is to be written; -1 when it is left out itself. */
  #leftOut<Kind>(windows: Map<Kind, Window>, kind: Kind): number {
    const { nowMs } = this.#plane.platform.reactor;
    let window = windows.get(kind);
    if (window === undefined) {
      window = { sinceMs: nowMs, written: 0, leftOut: 0 };
      windows.set(kind, window);
    }
    if (nowMs - window.sinceMs >= WINDOW_MS) {
      window.sinceMs = nowMs;
      window.written = 0;
    }
    if (window.written >= this.#linesMax) {
      window.leftOut++;
      return -1;
    }
    window.written++;
    const leftOut = window.leftOut;
    window.leftOut = 0;
    return leftOut;
  }
}
