/**
 * Which records are wanted, one cell for each event, in memory that the isolates of a process share: a level that is changed in one
 * holds in all of them at once, and whoever would make a record that nobody wants can leave it.
 */
import { LOG_EVENTS, LOG_LEVELS, type LogEvent, type LogLevel } from "./log.ts";

const EVENTS = Object.keys(LOG_EVENTS) as LogEvent[];
const EVENT_AT = Object.fromEntries(EVENTS.map((event, at) => [event, at])) as Readonly<Record<LogEvent, number>>;
const LEVEL_AT = Object.fromEntries(LOG_LEVELS.map((level, at) => [level, at])) as Readonly<Record<LogLevel, number>>;
const OFF = LOG_LEVELS.length;

export class LogThresholds {
  /** What travels to another isolate; `new LogThresholds(buffer)` is the same there. */
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Uint8Array;

  /** Without a buffer everything is wanted until {@linkcode set} says otherwise. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(EVENTS.length)) {
    this.buffer = buffer;
    this.#cells = new Uint8Array(buffer);
  }

  /** Takes the threshold of each event. */
  set(thresholdOf: (event: LogEvent) => LogLevel | "off"): void {
    EVENTS.forEach((event, at) => {
      const threshold = thresholdOf(event);
      this.#cells[at] = threshold === "off" ? OFF : LEVEL_AT[threshold];
    });
  }

  /** Whether a record of this level and event is wanted. */
  isOn(level: LogLevel, event: LogEvent): boolean {
    return LEVEL_AT[level] >= (this.#cells[EVENT_AT[event]] ?? OFF);
  }
}
