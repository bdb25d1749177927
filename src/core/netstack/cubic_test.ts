/** The curve of RFC 9438: what is left after a loss, when the window is back, that it is flat there, and never slower than Reno. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Cubic } from "./cubic.ts";

const SEGMENT = 1_000;

/** Acknowledges a window every round trip, in ten parts, for so long. Returns the window then. */
function run(cubic: Cubic, fromBytes: number, fromMs: number, forMs: number, roundTripMs: number): number {
  let window = fromBytes;
  for (let atMs = fromMs; atMs < fromMs + forMs; atMs += roundTripMs / 10) {
    window = cubic.grown(window, window / 10, SEGMENT, roundTripMs, atMs);
  }
  return window;
}

Deno.test("after a loss seven tenths are left; after K seconds the window is back, and flat there, and then it grows beyond", () => {
  const cubic = new Cubic();
  const left = cubic.reduce(1_000 * SEGMENT);
  assertEquals(left, 700 * SEGMENT);
  // RFC 9438 §4.2: K is the cube root of 300 / 0.4.
  const backMs = 1_000 * Math.cbrt(300 / 0.4);
  const half = run(cubic, left, 0, backMs / 2, 100);
  assert(half > 930 * SEGMENT, `most of it comes soon: ${half}`);
  const back = run(cubic, half, backMs / 2, backMs / 2, 100);
  assertAlmostEquals(back, 1_000 * SEGMENT, 10 * SEGMENT);
  assert(run(cubic, back, backMs, backMs, 100) > 1_200 * SEGMENT);
});

Deno.test("a window that was lost again before it was back gives way", () => {
  const cubic = new Cubic();
  cubic.reduce(1_000 * SEGMENT);
  cubic.reduce(800 * SEGMENT);
  const window = run(cubic, 560 * SEGMENT, 0, 10_000, 100);
  assert(window < 800 * SEGMENT, `${window}`);
});

Deno.test("on a short path it is as quick as Reno: a segment each round trip in the end", () => {
  const cubic = new Cubic();
  const left = cubic.reduce(20 * SEGMENT);
  const window = run(cubic, left, 0, 1_000, 2);
  assert(window > 300 * SEGMENT, `${window / SEGMENT} segments after 500 round trips`);
});

Deno.test("time in which the window was not used does not let it jump", () => {
  const cubic = new Cubic();
  const left = cubic.reduce(1_000 * SEGMENT);
  const before = run(cubic, left, 0, 1_000, 100);
  cubic.pause(60_000);
  const after = cubic.grown(before, SEGMENT, SEGMENT, 100, 60_010);
  assert(after - before < SEGMENT, `${after - before}`);
});
