/** How a program without a worker turns its reactor: while somebody waits, in short turns, so that the rest of the program runs too. */
import { Timer } from "../../base/mod.ts";
import type { Reactor } from "../../io/mod.ts";

/** The longest pause in which nothing else of the program runs. */
const TURN_MS = 5;

/** Lets things happen until `isDone`, or for so long, or until there is nothing to wait for. Returns whether it came to that. */
export async function turnUntil(
  reactor: Reactor,
  isDone: () => boolean,
  ms: number,
  isHopeless: () => boolean = () => false,
): Promise<boolean> {
  const tick = new Timer(() => {});
  const deadlineMs = reactor.clockMs + ms;
  while (!isDone()) {
    if (isHopeless() || reactor.clockMs >= deadlineMs) return false;
    reactor.setTimer(tick, Math.min(deadlineMs, reactor.clockMs + TURN_MS));
    reactor.turn();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return true;
}
