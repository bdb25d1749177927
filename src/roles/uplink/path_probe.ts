/**
 * Whether the server still hears us after the network has changed. Our socket has no address of its own, so that what we say leaves by
 * whatever way there is now, and a server that hears us from a new address goes on there (RFC 9000 §9): one word is all that a
 * connection needs to survive. If no answer comes, the connection is given up long before its idle timeout, to dial anew. While
 * nothing can even be sent there is no network, and nothing to be gained by that.
 */
import { Timer } from "../../base/mod.ts";
import { PROBE_DEADLINE_MS, PROBE_LOOK_MS } from "./limits.ts";

/** The part of the reactor that is needed here. */
interface Timers {
  setTimer(timer: Timer, atMs: number): void;
  cancelTimer(timer: Timer): void;
}

export interface ProbeActions {
  /** Says something that the server answers. */
  readonly ask: () => void;
  /** Packets that came from the server so far. */
  readonly received: () => number;
  /** Times that the kernel would not send so far. */
  readonly sendErrors: () => number;
  /** No answer came in time. */
  readonly onDead: (nowMs: number) => void;
}

export class PathProbe {
  readonly #timers: Timers;
  readonly #actions: ProbeActions;
  readonly #timer: Timer;
  #receivedBefore = 0;
  #errorsBefore = 0;
  #deadlineMs = 0;

  constructor(timers: Timers, actions: ProbeActions) {
    this.#timers = timers;
    this.#actions = actions;
    this.#timer = new Timer((nowMs) => this.#look(nowMs));
  }

  /** The network has changed. One that changes again while it is asked gets its full time anew. */
  begin(nowMs: number): void {
    this.#receivedBefore = this.#actions.received();
    this.#errorsBefore = this.#actions.sendErrors();
    this.#deadlineMs = nowMs + PROBE_DEADLINE_MS;
    this.#actions.ask();
    this.#timers.setTimer(this.#timer, nowMs + PROBE_LOOK_MS);
  }

  stop(): void {
    this.#timers.cancelTimer(this.#timer);
  }

  #look(nowMs: number): void {
    const { ask, received, sendErrors, onDead } = this.#actions;
    if (received() > this.#receivedBefore) return;
    const errors = sendErrors();
    if (errors > this.#errorsBefore) this.#deadlineMs = nowMs + PROBE_DEADLINE_MS;
    this.#errorsBefore = errors;
    if (nowMs >= this.#deadlineMs) return onDead(nowMs);
    ask();
    this.#timers.setTimer(this.#timer, nowMs + PROBE_LOOK_MS);
  }
}
