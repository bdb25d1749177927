/** What the workers of one server share, and the few numbers that they know of each other. */

import { createRing } from "./record_ring.ts";

/** Between two workers, each way. */
const RING_BYTES = 8 * 1024 * 1024;

/** What one of several workers is given beside its plan. */
export interface WorkerGroup {
  /** Its number, from 0, and how many there are. */
  readonly worker: number;
  readonly workers: number;
  /** One row for each. */
  readonly cells: SharedArrayBuffer;
  /** Of each worker but the first: from it to the first, and back. */
  readonly rings: readonly { readonly up: SharedArrayBuffer; readonly down: SharedArrayBuffer }[];
  /** By number: what wakes a worker. */
  readonly eventFds: readonly number[];
}

/** What each of the workers is given that are woken by these eventfds. */
export function createWorkerGroup(eventFds: readonly number[]): readonly WorkerGroup[] {
  const workers = eventFds.length;
  const cells = new SharedArrayBuffer(WorkerCells.bytes(workers));
  const rings = eventFds.slice(1).map(() => ({ up: createRing(RING_BYTES), down: createRing(RING_BYTES) }));
  return eventFds.map((_, worker) => ({ worker, workers, cells, rings, eventFds }));
}

/** Whether a worker sleeps, and how much it has. A row of cells for each, in a cache line of its own. */
export class WorkerCells {
  static readonly #row = 16;
  readonly #cells: Int32Array;
  readonly #worker: number;

  constructor(cells: SharedArrayBuffer, worker: number) {
    this.#cells = new Int32Array(cells);
    this.#worker = worker;
  }

  static bytes(workers: number): number {
    return workers * WorkerCells.#row * 4;
  }

  set isAsleep(isAsleep: boolean) {
    Atomics.store(this.#cells, this.#at(this.#worker, 0), isAsleep ? 1 : 0);
  }

  /** Whether that worker must be woken: asked once for each sleep. */
  mustWake(worker: number): boolean {
    return Atomics.load(this.#cells, this.#at(worker, 0)) === 1 && Atomics.exchange(this.#cells, this.#at(worker, 0), 0) === 1;
  }

  /** This worker sleeps though it has more to say: the one that reads must wake it when there is room. */
  set wantsRoom(wants: boolean) {
    Atomics.store(this.#cells, this.#at(this.#worker, 3), wants ? 1 : 0);
  }

  roomWantedBy(worker: number): boolean {
    return Atomics.load(this.#cells, this.#at(worker, 3)) === 1;
  }

  /** Connections of this worker and handshakes among them. */
  tell(connections: number, handshakes: number): void {
    this.#cells[this.#at(this.#worker, 1)] = connections;
    this.#cells[this.#at(this.#worker, 2)] = handshakes;
  }

  connectionsOf(worker: number): number {
    return this.#cells[this.#at(worker, 1)] ?? 0;
  }

  handshakesOf(worker: number): number {
    return this.#cells[this.#at(worker, 2)] ?? 0;
  }

  #at(worker: number, cell: number): number {
    return worker * WorkerCells.#row + cell;
  }
}
