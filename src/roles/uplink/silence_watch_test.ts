import { assertEquals } from "@std/assert";
import type { Timer } from "../../base/mod.ts";
import { KNOCK_MS, SILENCE_MS } from "./limits.ts";
import { SilenceWatch } from "./silence_watch.ts";

/** A watch with a clock of the test; what it did, with the times. */
class Rig {
  readonly done: string[] = [];
  received = 0;
  sent = 0;
  readonly watch: SilenceWatch;
  #nowMs = 0;
  #due: { readonly timer: Timer; readonly atMs: number } | null = null;

  constructor() {
    const timers = {
      setTimer: (timer: Timer, atMs: number) => void (this.#due = { timer, atMs }),
      cancelTimer: () => void (this.#due = null),
    };
    const note = (what: string) => () => void this.done.push(`${what} ${this.#nowMs}`);
    const [ask, knock] = [note("ask"), note("knock")];
    this.watch = new SilenceWatch(timers, { ask, received: () => this.received, sent: () => this.sent, knock });
  }

  /** Lets the time pass until `untilMs`. */
  run(untilMs: number): void {
    for (let due = this.#due; due !== null && due.atMs <= untilMs; due = this.#due) {
      this.#due = null;
      this.#nowMs = due.atMs;
      due.timer.fire(due.atMs);
    }
    this.#nowMs = untilMs;
  }
}

Deno.test("the server is asked once behind every burst; when it answers there is rest", () => {
  const rig = new Rig();
  for (let at = 0; at <= 2_000; at += 100) {
    rig.run(at);
    rig.watch.heard(at);
  }
  rig.run(2_000 + SILENCE_MS);
  assertEquals(rig.done, [`ask ${2_000 + SILENCE_MS}`]);
  rig.received++;
  rig.run(60_000);
  assertEquals(rig.done.length, 1);
  rig.watch.heard(60_000);
  rig.run(60_000 + SILENCE_MS);
  assertEquals(rig.done.length, 2);
});

Deno.test("while it does not answer it is knocked at, until it answers, says something or the connection is gone", () => {
  const rig = new Rig();
  rig.watch.heard(0);
  rig.run(SILENCE_MS + 3 * KNOCK_MS);
  assertEquals(rig.done, ["ask 1000", "knock 2000", "knock 3000", "knock 4000"]);
  rig.received++;
  rig.run(20_000);
  assertEquals(rig.done.length, 4);

  rig.watch.heard(20_000);
  rig.run(22_000);
  rig.watch.heard(22_500);
  rig.run(23_400);
  assertEquals(rig.done.slice(4), ["ask 21000", "knock 22000"], "it is heard again: listening goes on from there");
  rig.watch.stop();
  rig.run(60_000);
  assertEquals(rig.done.length, 6);
});

Deno.test("a keepalive without an answer is followed by knocking; one with an answer by nothing", () => {
  const rig = new Rig();
  rig.watch.asked(0);
  rig.received++;
  rig.run(9_000);
  assertEquals(rig.done, []);
  rig.watch.asked(10_000);
  rig.run(12_000);
  assertEquals(rig.done, ["knock 11000", "knock 12000"]);
  rig.watch.stop();
});

Deno.test("what we say while nothing is heard is asked about, and knocked for when there is no answer", () => {
  const rig = new Rig();
  rig.watch.asked(0);
  rig.received++;
  rig.run(5_500);
  assertEquals(rig.done, [], "answered: there is rest, and nobody says anything");
  rig.sent++;
  rig.run(6_400);
  rig.received++;
  rig.run(10_500);
  assertEquals(rig.done, ["ask 6000"], "the answer was late, and is one");
  rig.sent++;
  rig.received++;
  rig.run(15_500);
  assertEquals(rig.done.length, 1, "what is answered within the time needs no question");
  rig.sent++;
  rig.run(18_500);
  assertEquals(rig.done.slice(1), ["ask 16000", "knock 17000", "knock 18000"]);
  rig.watch.stop();
});
