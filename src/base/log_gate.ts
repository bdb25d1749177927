/**
 * Which records are wanted, and how many were left out because they came too fast: cells for each event, in memory that the isolates of
 * a process share. A level that is changed in one holds in all of them at once, whoever would make a record that nobody wants can leave
 * it, and one place tells what all of them left out.
 */
import { LOG_EVENTS, LOG_LEVELS, type LogEvent, type LogLevel } from "./log.ts";

const EVENTS = Object.keys(LOG_EVENTS) as LogEvent[];
const EVENT_AT = Object.fromEntries(EVENTS.map((event, at) => [event, at])) as Readonly<Record<LogEvent, number>>;
const LEVEL_AT = Object.fromEntries(LOG_LEVELS.map((level, at) => [level, at])) as Readonly<Record<LogLevel, number>>;
const OFF = LOG_LEVELS.length;
/** Counts of 32 bits come first, so that they lie at multiples of 4 bytes; then one byte of threshold for each event. */
const COUNT_BYTES = EVENTS.length * 4;

/** So many records of one event were left out. */
export interface LeftOut {
  readonly event: LogEvent;
  readonly count: number;
}

export class LogGate {
  /** What travels to another isolate; `new LogGate(buffer)` is the same there. */
  readonly buffer: SharedArrayBuffer;
  readonly #leftOut: Uint32Array;
  readonly #thresholds: Uint8Array;

  /** Without a buffer everything is wanted until {@linkcode set} says otherwise. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(COUNT_BYTES + EVENTS.length)) {
    this.buffer = buffer;
    this.#leftOut = new Uint32Array(buffer, 0, EVENTS.length);
    this.#thresholds = new Uint8Array(buffer, COUNT_BYTES);
  }

  /** Takes the threshold of each event. */
  set(thresholdOf: (event: LogEvent) => LogLevel | "off"): void {
    EVENTS.forEach((event, at) => {
      const threshold = thresholdOf(event);
      this.#thresholds[at] = threshold === "off" ? OFF : LEVEL_AT[threshold];
    });
  }

  /** Whether a record of this level and event is wanted. */
  isOn(level: LogLevel, event: LogEvent): boolean {
    return LEVEL_AT[level] >= (this.#thresholds[EVENT_AT[event]] ?? OFF);
  }

  /** Counts a record that was wanted and came too fast. */
  leaveOut(event: LogEvent): void {
    Atomics.add(this.#leftOut, EVENT_AT[event], 1);
  }

  /** What was left out, in whatever isolate, since the events were last taken that `mayTell` allows to be told now. */
  takeLeftOut(mayTell: (event: LogEvent) => boolean): LeftOut[] {
    return EVENTS
      .filter((event, at) => Atomics.load(this.#leftOut, at) > 0 && mayTell(event))
      .map((event) => ({ event, count: Atomics.exchange(this.#leftOut, EVENT_AT[event], 0) }));
  }
}
