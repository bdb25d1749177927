/** What follows a change of the network, and how a machine that slept is noticed: under a clock that the test moves. */
import { assertEquals } from "@std/assert";
import { type Timer, TimerHeap } from "../../base/mod.ts";
import { PROBE_DEADLINE_MS, PROBE_LOOK_MS, SLEEP_MS, WAKE_LOOK_MS } from "./limits.ts";
import { PathProbe } from "./path_probe.ts";
import { WakeWatch } from "./wake_watch.ts";

/** Timers of a clock that stands until the test moves it. */
class Clock {
  clockMs = 0;
  readonly #heap = new TimerHeap();

  setTimer(timer: Timer, atMs: number): void {
    this.#heap.set(timer, atMs);
  }

  cancelTimer(timer: Timer): void {
    this.#heap.cancel(timer);
  }

  pass(ms: number): void {
    const endMs = this.clockMs + ms;
    while (this.#heap.nextMs <= endMs) {
      this.clockMs = this.#heap.nextMs;
      this.#heap.run(this.clockMs);
    }
    this.clockMs = endMs;
  }
}

function probe() {
  const clock = new Clock();
  const world = { asked: 0, received: 7, errors: 0, deadAtMs: -1, cannotSend: false };
  const path = new PathProbe(clock, {
    ask: () => {
      world.asked++;
      if (world.cannotSend) world.errors++;
    },
    received: () => world.received,
    sendErrors: () => world.errors,
    onDead: (nowMs) => world.deadAtMs = nowMs,
  });
  return { clock, world, path };
}

Deno.test("the server is asked at once; with an answer everything stays as it is", () => {
  const { clock, world, path } = probe();
  path.begin(0);
  assertEquals(world.asked, 1);
  world.received++;
  clock.pass(10 * PROBE_DEADLINE_MS);
  assertEquals([world.asked, world.deadAtMs], [1, -1]);
});

Deno.test("without an answer it is asked again, and given up in seconds", () => {
  const { clock, world, path } = probe();
  path.begin(0);
  clock.pass(10 * PROBE_DEADLINE_MS);
  assertEquals([world.asked, world.deadAtMs], [PROBE_DEADLINE_MS / PROBE_LOOK_MS, PROBE_DEADLINE_MS]);
});

Deno.test("while nothing can be sent nothing is given up; the time runs from the first word that left", () => {
  const { clock, world, path } = probe();
  world.cannotSend = true;
  path.begin(0);
  clock.pass(5 * PROBE_DEADLINE_MS);
  assertEquals(world.deadAtMs, -1);
  world.cannotSend = false;
  clock.pass(PROBE_DEADLINE_MS - PROBE_LOOK_MS);
  assertEquals(world.deadAtMs, -1);
  clock.pass(2 * PROBE_LOOK_MS);
  assertEquals(world.deadAtMs > 0, true);
});

Deno.test("a machine that slept is noticed by its clock of the day, once; a clock that is set back is not sleep", () => {
  const clock = new Clock();
  let aheadMs = 1_000_000;
  const slept: number[] = [];
  const watch = new WakeWatch(clock, () => clock.clockMs + aheadMs, (ms) => void slept.push(ms));
  clock.pass(10 * WAKE_LOOK_MS);
  aheadMs += SLEEP_MS - 1;
  clock.pass(2 * WAKE_LOOK_MS);
  assertEquals(slept, []);
  aheadMs += 3_600_000;
  clock.pass(2 * WAKE_LOOK_MS);
  aheadMs -= 7_200_000;
  clock.pass(2 * WAKE_LOOK_MS);
  assertEquals(slept, [3_600_000]);
  watch.stop();
});
