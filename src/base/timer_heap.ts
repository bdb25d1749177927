/**
 * Deadlines in a binary heap: the earliest is read in O(1), set and cancelled in O(log n), with nothing done per turn for
 * timers that are not due. The owner passes `now`; nothing here reads a clock.
 */

/** A deadline of one owner. Set it as often as needed; it fires once per setting. */
export class Timer {
  /** Milliseconds on the owner's clock; Infinity when not armed. */
  deadlineMs = Infinity;
  /** Position in the heap, -1 when not armed. Owned by {@linkcode TimerHeap}. */
  position = -1;
  readonly fire: (nowMs: number) => void;

  constructor(fire: (nowMs: number) => void) {
    this.fire = fire;
  }
}

export class TimerHeap {
  readonly #heap: Timer[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** The earliest deadline, Infinity when there is none. */
  get nextMs(): number {
    const first = this.#heap[0];
    return first === undefined ? Infinity : first.deadlineMs;
  }

  /** Arms the timer, or moves it. */
  set(timer: Timer, deadlineMs: number): void {
    if (timer.position < 0) {
      timer.position = this.#heap.length;
      timer.deadlineMs = deadlineMs;
      this.#heap.push(timer);
      this.#up(timer.position);
      return;
    }
    const earlier = deadlineMs < timer.deadlineMs;
    timer.deadlineMs = deadlineMs;
    if (earlier) this.#up(timer.position);
    else this.#down(timer.position);
  }

  cancel(timer: Timer): void {
    const at = timer.position;
    if (at < 0) return;
    const last = this.#heap.pop() as Timer;
    if (last !== timer) {
      this.#heap[at] = last;
      last.position = at;
      this.#up(at);
      this.#down(last.position);
    }
    timer.position = -1;
    timer.deadlineMs = Infinity;
  }

  /** Fires every timer that is due, earliest first; a timer set again for a due time while firing waits for the next call. */
  run(nowMs: number): void {
    let budget = this.#heap.length;
    while (budget-- > 0) {
      const first = this.#heap[0];
      if (first === undefined || first.deadlineMs > nowMs) return;
      this.cancel(first);
      first.fire(nowMs);
    }
  }

  #up(from: number): void {
    let at = from;
    const timer = this.#heap[at] as Timer;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#heap[parentAt] as Timer;
      if (parent.deadlineMs <= timer.deadlineMs) break;
      this.#heap[at] = parent;
      parent.position = at;
      at = parentAt;
    }
    this.#heap[at] = timer;
    timer.position = at;
  }

  #down(from: number): void {
    let at = from;
    const timer = this.#heap[at] as Timer;
    for (;;) {
      let childAt = 2 * at + 1;
      const left = this.#heap[childAt];
      if (left === undefined) break;
      const right = this.#heap[childAt + 1];
      let child = left;
      if (right !== undefined && right.deadlineMs < left.deadlineMs) {
        child = right;
        childAt++;
      }
      if (child.deadlineMs >= timer.deadlineMs) break;
      this.#heap[at] = child;
      child.position = at;
      at = childAt;
    }
    this.#heap[at] = timer;
    timer.position = at;
  }
}
