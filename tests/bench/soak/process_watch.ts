/** Memory and descriptors of a process over the time of a long run, and whether it has them back when the load is gone. */
import type { RoleProcess } from "../../e2e/processes_fixture.ts";
import { sleep } from "../../e2e/tcp_fixture.ts";
import type { SoakRun } from "./soak.ts";

const SAMPLE_MS = 500;
/** What the engine of JavaScript may hold more at one moment than at another without anything growing. */
const NOISE_MIB = 24;
/** Under load it lets its heap grow and collects all of it when there is nothing else to do: some ten seconds later. */
const REST_MS = 60_000;
/** Connections that end take a moment to be cleaned up. */
const DESCRIPTORS_LEFT = 4;

export class ProcessWatch implements Disposable {
  readonly #role: RoleProcess;
  readonly #name: string;
  readonly #residentBefore: number;
  readonly #descriptorsBefore: number;
  #residentMost = 0;
  #descriptorsMost = 0;
  readonly #timer: number;

  /** Begins now: what is warm then is the measure. */
  constructor(name: string, role: RoleProcess) {
    this.#name = name;
    this.#role = role;
    this.#residentBefore = role.residentMiB();
    this.#descriptorsBefore = role.descriptors();
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  /** Resident memory now and descriptors now, for a person. */
  get now(): string {
    return `${this.#role.residentMiB().toFixed(0)} MiB, ${this.#role.descriptors()} descriptors`;
  }

  /** Puts figures and checks into the report. Call it when everything that was opened has been closed; waits for memory to come back. */
  async report(run: SoakRun): Promise<void> {
    this.#sample();
    const allowed = this.#residentBefore + NOISE_MIB, begin = performance.now();
    while (!this.#role.hasEnded && this.#role.residentMiB() > allowed && performance.now() - begin < REST_MS) {
      await sleep(SAMPLE_MS);
    }
    const resident = this.#role.hasEnded ? NaN : this.#role.residentMiB();
    const descriptors = this.#role.hasEnded ? NaN : this.#role.descriptors();
    run.figure(`${this.#name}: memory, before`, this.#residentBefore, "MiB");
    run.figure(`${this.#name}: memory, most`, this.#residentMost, "MiB");
    run.figure(`${this.#name}: memory, after`, resident, "MiB");
    run.figure(`${this.#name}: descriptors, before`, this.#descriptorsBefore, "");
    run.figure(`${this.#name}: descriptors, most`, this.#descriptorsMost, "");
    run.figure(`${this.#name}: descriptors, after`, descriptors, "");
    run.check(
      `${this.#name}: memory is given back`,
      resident <= allowed,
      `${this.#residentBefore.toFixed(0)} MiB before, ${resident.toFixed(0)} after, ${NOISE_MIB} more allowed`,
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
    this.#residentMost = Math.max(this.#residentMost, this.#role.residentMiB());
    this.#descriptorsMost = Math.max(this.#descriptorsMost, this.#role.descriptors());
  }
}
