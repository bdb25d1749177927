/** Memory and descriptors of a process over the time of a long run: whether memory comes to rest, whether descriptors are given back. */
import type { RoleProcess } from "../../e2e/processes_fixture.ts";
import type { SoakRun } from "./soak.ts";

const SAMPLE_MS = 500;
/** What the engine of JavaScript may hold more at one moment than at another without anything growing. */
const NOISE_MIB = 16;
/** It lets its heap grow to what suits the load, collects all of it now and then, and grows it again: what must not grow is the most. */
const FIRST_PART = 2 / 3;
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
    const part = Math.ceil(this.#resident.length * FIRST_PART);
    const first = Math.max(...this.#resident.slice(0, part)), last = Math.max(...this.#resident.slice(part), 0);
    const descriptors = this.#role.hasEnded ? NaN : this.#role.descriptors();
    run.figure(`${this.#name}: memory, before`, this.#resident[0] ?? NaN, "MiB");
    run.figure(`${this.#name}: memory, most of the first two thirds`, first, "MiB");
    run.figure(`${this.#name}: memory, most of the last third`, last, "MiB");
    run.figure(`${this.#name}: descriptors, before`, this.#descriptorsBefore, "");
    run.figure(`${this.#name}: descriptors, most`, this.#descriptorsMost, "");
    run.figure(`${this.#name}: descriptors, after`, descriptors, "");
    run.check(
      `${this.#name}: memory comes to rest`,
      last <= first + NOISE_MIB,
      `at most ${last.toFixed(0)} MiB in the last third of the time, ${first.toFixed(0)} before, ${NOISE_MIB} more allowed`,
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
