/** What a benchmark counts: requests and answers, and the times between them in steps, so that its memory does not grow with its time. */

const STEPS_PER_MS = 100, STEPS = 1_000 * STEPS_PER_MS;

export class Tally {
  sent = 0;
  answered = 0;
  /** Payload that arrived where it was to arrive, as far as this end knows. */
  bytes = 0;
  readonly #steps = new Uint32Array(STEPS + 1);

  /** One answer, so long after its request. */
  answer(ms: number, bytes: number): void {
    const step = Math.max(0, Math.min(STEPS, Math.floor(ms * STEPS_PER_MS)));
    this.#steps[step] = (this.#steps[step] ?? 0) + 1;
    this.answered++;
    this.bytes += bytes;
  }

  /** Milliseconds within which this share of the answers came, to a hundredth; null without any, or when it took longer than a second. */
  within(share: number): number | null {
    let seen = 0;
    for (let step = 0; step < STEPS; step++) {
      seen += this.#steps[step] ?? 0;
      if (seen > 0 && seen >= share * this.answered) return (step + 1) / STEPS_PER_MS;
    }
    return null;
  }
}
