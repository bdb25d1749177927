/** Memory and descriptors of a process over the time of a long run, and whether they come to rest. */
import type { RoleProcess } from "../../e2e/processes_fixture.ts";
import type { SoakRun } from "./soak.ts";

const SAMPLE_MS = 500;
/** What the engine of JavaScript may hold more at one moment than at another without anything growing. */
const NOISE_MIB = 16;
/** Connections that end take a moment to be cleaned up. */
const DESCRIPTORS_LEFT = 4;

export class ProcessWatch implements Disposable {
  readonly #role: RoleProcess;
  readonly #name: string;
  readonly #resident: number[] = [];
  readonly #descriptorsBefore: number;
  #descriptorsMost = 0;
  readonly #timer: number;

  /** Begins now: what is warm then is the measure. */
  constructor(name: string, role: RoleProcess) {
    this.#name = name;
    this.#role = role;
    this.#descriptorsBefore = role.descriptors();
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  /** Resident memory now and descriptors now, for a person. */
  get now(): string {
    return `${this.#role.residentMiB().toFixed(0)} MiB, ${this.#role.descriptors()} descriptors`;
  }

  /** Puts figures and checks into the report. Call it when everything that was opened has been closed. */
  report(run: SoakRun): void {
    this.#sample();
    // The engine lets its heap grow to the size that suits the load before it collects all of it: the first half shows that.
    const quarter = Math.max(1, this.#resident.length >> 2);
    const first = median(this.#resident.slice(0, quarter));
    const third = median(this.#resident.slice(-2 * quarter, -quarter)), last = median(this.#resident.slice(-quarter));
    const descriptors = this.#role.hasEnded ? NaN : this.#role.descriptors();
    run.figure(`${this.#name}: memory, first quarter`, first, "MiB");
    run.figure(`${this.#name}: memory, third quarter`, third, "MiB");
    run.figure(`${this.#name}: memory, last quarter`, last, "MiB");
    run.figure(`${this.#name}: memory, most`, Math.max(...this.#resident), "MiB");
    run.figure(`${this.#name}: descriptors, before`, this.#descriptorsBefore, "");
    run.figure(`${this.#name}: descriptors, most`, this.#descriptorsMost, "");
    run.figure(`${this.#name}: descriptors, after`, descriptors, "");
    run.check(
      `${this.#name}: memory stays flat`,
      last - third <= NOISE_MIB,
      `${(last - third).toFixed(1)} MiB from the third quarter to the last, ${NOISE_MIB} allowed`,
    );
    run.check(
      `${this.#name}: descriptors are given back`,
      descriptors - this.#descriptorsBefore <= DESCRIPTORS_LEFT,
      `${this.#descriptorsBefore} before, ${descriptors} after`,
    );
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #sample(): void {
    if (this.#role.hasEnded) return;
    this.#resident.push(this.#role.residentMiB());
    this.#descriptorsMost = Math.max(this.#descriptorsMost, this.#role.descriptors());
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}
