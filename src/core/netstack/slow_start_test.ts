/** HyStart++ (RFC 9406): round trips that grow end slow start, jitter and a short rise do not. */
import { assert, assertEquals } from "@std/assert";
import { SlowStart } from "./slow_start.ts";

const SEGMENT = 1_000, WINDOW = 16 * SEGMENT;

/** Rounds of sixteen segments each that take the given milliseconds; how the window would grow in each, "over" behind the last. */
function grownIn(roundsMs: readonly number[]): (number | "over")[] {
  const slowStart = new SlowStart();
  const grown: (number | "over")[] = [];
  let nowMs = 0, next = 0;
  for (const roundMs of roundsMs) {
    const begin = next;
    for (let i = 0; i < 16; i++) slowStart.onSent(next += SEGMENT, nowMs + i / 10, WINDOW);
    for (let una = begin + SEGMENT, i = 0; una <= next; una += SEGMENT, i++) {
      if (slowStart.onAcked(una, next, nowMs + i / 10 + roundMs)) return [...grown, "over"];
    }
    grown.push(slowStart.growthOf(SEGMENT));
    nowMs += roundMs + 2;
  }
  return grown;
}

Deno.test("equal rounds, and rounds that differ by little, leave slow start as it is", () => {
  assertEquals(new Set(grownIn(Array(20).fill(30))), new Set([SEGMENT]));
  assertEquals(new Set(grownIn(Array.from({ length: 20 }, (_, i) => 30 + (i % 3)))), new Set([SEGMENT]));
});

Deno.test("rounds that grow by an eighth: cautious at once, over after five rounds more", () => {
  const grown = grownIn([30, 30, 36, 40, 44, 48, 52, 56, 60, 64]);
  assertEquals(grown.slice(0, 2), [SEGMENT, SEGMENT]);
  assert(grown.slice(3, -1).every((growth) => growth === SEGMENT / 4), `${grown}`);
  assertEquals(grown.at(-1), "over");
});

Deno.test("a rise that goes away again was none", () => {
  const grown = grownIn([30, 30, 40, 30, 30, 30, 30, 30, 30, 30]);
  assertEquals([grown[2], grown.at(-1)], [SEGMENT / 4, SEGMENT]);
});
