/**
 * Whether a direct path carries what is sent on it, told by the answers to keepalives (WIRE 6.8).
 *
 *   good ──no answer for 2 s──► doubtful ──three lost in a row──► lost
 *    ▲────────────answer──────────┘                                │
 *    └──────────────an answer to one of 30 s later or more─────────┘
 *
 * New traffic takes a path only while it is good. Sans-IO: what {@linkcode PathHealth.poll} yields is sent by the caller.
 */
export type PathState = "good" | "doubtful" | "lost";

/** From one keepalive to the next: while nothing needs the path; else. */
const IDLE_INTERVAL_MS = 15_000, BUSY_INTERVAL_MS = 1_000;
const DOUBT_AFTER_MS = 2_000;
/** A keepalive without an answer by then is lost. */
const ANSWER_MS = 5_000;
const LOST_IN_A_ROW = 3;
const COOLDOWN_MS = 30_000;

export class PathHealth {
  #state: PathState = "good";
  /** Without an answer to them or to a later one, oldest first: few, for after three a path is lost. */
  #asked: { readonly sequence: number; readonly atMs: number }[] = [];
  #sequence = 0;
  #lostMs = 0;
  #nextAskMs: number;
  #isBusy = false;

  constructor(nowMs: number) {
    this.#nextAskMs = nowMs + BUSY_INTERVAL_MS;
  }

  get state(): PathState {
    return this.#state;
  }

  /** When {@linkcode poll} has something to do. */
  get nextMs(): number {
    const oldest = this.#asked[0];
    if (oldest === undefined || this.#state === "lost") return this.#nextAskMs;
    const lost = this.#asked[LOST_IN_A_ROW - 1];
    const judgeMs = this.#state === "good" ? oldest.atMs + DOUBT_AFTER_MS : lost === undefined ? Infinity : lost.atMs + ANSWER_MS;
    return Math.min(this.#nextAskMs, judgeMs);
  }

  /** Something depends on the path now, or nothing does any more. */
  setBusy(isBusy: boolean, nowMs: number): void {
    if (isBusy === this.#isBusy) return;
    this.#isBusy = isBusy;
    // Who begins to use a path that was at rest wants to know how it is.
    if (isBusy) this.#nextAskMs = Math.min(this.#nextAskMs, nowMs);
  }

  /** The sequence number of a keepalive to be sent now; null when none is due. */
  poll(nowMs: number): number | null {
    this.#judge(nowMs);
    if (nowMs < this.#nextAskMs) return null;
    const isAtRest = this.#state === "good" && !this.#isBusy && this.#asked.length === 0;
    this.#sequence = this.#sequence % 0xffff_ffff + 1;
    // The first ones of a row tell that it is lost; of the others only the last can still be of use.
    if (this.#asked.length > LOST_IN_A_ROW) this.#asked.pop();
    this.#asked.push({ sequence: this.#sequence, atMs: nowMs });
    this.#nextAskMs = nowMs + (isAtRest ? DOUBT_AFTER_MS : BUSY_INTERVAL_MS);
    return this.#sequence;
  }

  /** An answer. One that nobody waits for changes nothing. */
  handleResponse(sequence: number, nowMs: number): void {
    const answered = this.#asked.find((one) => one.sequence === sequence);
    if (answered === undefined) return;
    this.#asked = this.#asked.filter(({ atMs }) => atMs > answered.atMs);
    if (this.#state === "lost") {
      if (answered.atMs < this.#lostMs + COOLDOWN_MS) return;
      this.#asked = [];
    }
    this.#state = "good";
    if (!this.#isBusy && this.#asked.length === 0) this.#nextAskMs = nowMs + IDLE_INTERVAL_MS;
  }

  #judge(nowMs: number): void {
    const oldest = this.#asked[0], third = this.#asked[LOST_IN_A_ROW - 1];
    if (this.#state === "good" && oldest !== undefined && nowMs >= oldest.atMs + DOUBT_AFTER_MS) this.#state = "doubtful";
    if (this.#state === "doubtful" && third !== undefined && nowMs >= third.atMs + ANSWER_MS) {
      this.#state = "lost";
      this.#lostMs = nowMs;
    }
  }
}
