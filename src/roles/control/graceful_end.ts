/**
 * The orderly end of a role (WIRE 2.8): what runs may finish and what was said may arrive, for so long and no longer. It looks
 * again and again rather than being told, because bytes that have left tell nobody when they arrived.
 */
import { Timer } from "../../base/mod.ts";
import type { Reactor } from "../../io/mod.ts";

const LOOK_INTERVAL_MS = 10;

export class GracefulEnd {
  readonly #reactor: Reactor;
  readonly #isDone: () => boolean;
  readonly #end: () => void;
  readonly #timer = new Timer((nowMs) => this.#look(nowMs));
  #deadlineMs = 0;

  /** `end` is called once, when `isDone` says that nothing is left, or when the time is over. */
  constructor(reactor: Reactor, isDone: () => boolean, end: () => void) {
    this.#reactor = reactor;
    this.#isDone = isDone;
    this.#end = end;
  }

  begin(nowMs: number, drainMs: number): void {
    this.#deadlineMs = nowMs + drainMs;
    this.#look(nowMs);
  }

  #look(nowMs: number): void {
    if (nowMs >= this.#deadlineMs || this.#isDone()) this.#end();
    else this.#reactor.setTimer(this.#timer, Math.min(nowMs + LOOK_INTERVAL_MS, this.#deadlineMs));
  }
}
