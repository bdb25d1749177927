/**
 * Notices that the server falls silent amid what it was sending. When a NAT on the way gives us a new address, what the server
 * sends goes to the old one, and the server finds us again only when we say something (RFC 9000 §9.3): who merely receives would
 * wait for the next keepalive. So every burst that ends is followed by one word of ours. A server that does not answer it may have
 * been started anew: what is on its way to it holds up every further word, for longer and longer, so it is asked beside all that
 * whether it still knows us. The same holds for what we say of ourselves: while it rests, the watch looks whether we were answered.
 *
 *   resting ──heard──► listening ──silence──► asked ──silence──► knocking, again and again
 *    ▲ │                   ▲                   ▲│                   │
 *    │ └──────────said something in vain───────┘│                   │
 *    └────────────────answer┴───────heard───────┴───────────────────┘
 */
import { Timer } from "../../base/mod.ts";
import { KNOCK_MS, SILENCE_MS } from "./limits.ts";

/** The part of the reactor that is needed here. */
interface Timers {
  setTimer(timer: Timer, atMs: number): void;
  cancelTimer(timer: Timer): void;
}

/** What can be done about it. */
export interface SilenceActions {
  /** Says something that the server answers. */
  readonly ask: () => void;
  /** Packets that came from the server so far, answers to us included. */
  readonly received: () => number;
  /** Packets of ours so far. */
  readonly sent: () => number;
  /** Asks whether the server knows the connection. */
  readonly knock: () => void;
}

export class SilenceWatch {
  readonly #timers: Timers;
  readonly #actions: SilenceActions;
  readonly #timer: Timer;
  #heardMs = 0;
  #state: "resting" | "listening" | "asked" = "resting";
  /** At the last look, and when the server was asked. */
  #receivedBefore = 0;
  #sentBefore = 0;

  constructor(timers: Timers, actions: SilenceActions) {
    this.#timers = timers;
    this.#actions = actions;
    this.#timer = new Timer((nowMs) => this.#look(nowMs));
  }

  /** Something of use came from the server; an answer to us alone is not. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
    if (this.#state === "listening") return;
    this.#state = "listening";
    this.#timers.setTimer(this.#timer, nowMs + SILENCE_MS);
  }

  /** We say something that the server answers, whatever was heard. */
  asked(nowMs: number): void {
    if (this.#state !== "resting") return;
    this.#beginToWait();
    this.#timers.setTimer(this.#timer, nowMs + KNOCK_MS);
  }

  stop(): void {
    this.#state = "resting";
    this.#timers.cancelTimer(this.#timer);
  }

  #look(nowMs: number): void {
    const { ask, received, sent, knock } = this.#actions;
    const silentAtMs = this.#heardMs + SILENCE_MS;
    if (this.#state === "listening" && nowMs < silentAtMs) return this.#timers.setTimer(this.#timer, silentAtMs);
    const isAnswered = received() > this.#receivedBefore;
    if (this.#state === "listening" || (this.#state === "resting" && !isAnswered && sent() > this.#sentBefore)) {
      this.#beginToWait();
      ask();
    } else if (isAnswered) {
      this.#state = "resting";
      this.#remember();
    } else if (this.#state === "asked") knock();
    this.#timers.setTimer(this.#timer, nowMs + KNOCK_MS);
  }

  #beginToWait(): void {
    this.#state = "asked";
    this.#remember();
  }

  #remember(): void {
    this.#receivedBefore = this.#actions.received();
    this.#sentBefore = this.#actions.sent();
  }
}
