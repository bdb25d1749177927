/**
 * The orderly end of a role (WIRE 2.8): what runs may finish and what was said may arrive, for so long and no longer. It looks
 * again and again rather than being told, because bytes that have left tell nobody when they arrived.
 */
import { Timer } from "../../base/mod.ts";
import type { Plane } from "./plane.ts";

const LOOK_INTERVAL_MS = 10;

export class GracefulEnd {
  readonly #plane: Plane;
  readonly #isDone: () => boolean;
  readonly #end: () => void;
  readonly #timer = new Timer((nowMs) => this.#look(nowMs));
  #drainMs = 0;
  #deadlineMs = 0;

  /** `end` is called once, when `isDone` says that nothing is left, or when the time is over. */
  constructor(plane: Plane, isDone: () => boolean, end: () => void) {
    this.#plane = plane;
    this.#isDone = isDone;
    this.#end = end;
  }

  begin(nowMs: number, drainMs: number): void {
    this.#drainMs = drainMs;
    this.#deadlineMs = nowMs + drainMs;
    this.#look(nowMs);
  }

  #look(nowMs: number): void {
    if (this.#isDone()) return this.#end();
    if (nowMs < this.#deadlineMs) {
      return this.#plane.platform.reactor.setTimer(this.#timer, Math.min(nowMs + LOOK_INTERVAL_MS, this.#deadlineMs));
    }
    this.#plane.log("warn", "drain-over", "The time to finish is over: what still runs is cut", { drain_ms: this.#drainMs });
    this.#end();
  }
}
