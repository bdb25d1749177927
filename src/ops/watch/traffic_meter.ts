/** Throughput of the last ten seconds, from totals that are sampled every two. */
import type { TrafficTotals } from "../source.ts";

const SAMPLE_MS = 2_000;
const SAMPLES = 6;

export interface Throughput {
  readonly bytes_per_second: number;
  readonly datagrams_per_second: number;
}

export class TrafficMeter implements Disposable {
  readonly #totals: () => TrafficTotals;
  readonly #clock: () => number;
  readonly #samples: { readonly atMs: number; readonly totals: TrafficTotals }[] = [];
  readonly #timer: number;

  /** `clock` is monotonic milliseconds. */
  constructor(totals: () => TrafficTotals, clock: () => number = () => performance.now()) {
    this.#totals = totals;
    this.#clock = clock;
    this.sample();
    this.#timer = setInterval(() => this.sample(), SAMPLE_MS);
    Deno.unrefTimer(this.#timer);
  }

  /** Takes a sample now. The timer does it by itself. */
  sample(): void {
    this.#samples.push({ atMs: this.#clock(), totals: this.#totals() });
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** Since the oldest sample, up to now. */
  throughput(): Throughput {
    const first = this.#samples[0];
    const seconds = first === undefined ? 0 : (this.#clock() - first.atMs) / 1000;
    if (first === undefined || seconds <= 0) return { bytes_per_second: 0, datagrams_per_second: 0 };
    const now = this.#totals();
    return {
      bytes_per_second: Math.round((now.bytes - first.totals.bytes) / seconds),
      datagrams_per_second: Math.round((now.datagrams - first.totals.datagrams) / seconds),
    };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
