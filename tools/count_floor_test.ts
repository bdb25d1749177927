// The floor rises, never sinks, and a suite that vanished whole is noticed.
import { assertEquals, assertThrows } from "@std/assert";
import { belowFloor, formatFloor, parseFloor } from "./count_floor.ts";

const FLOOR = parseFloor("# words\ne2e 5\nsecurity 250\nunit 100\n");

Deno.test("a suite below its floor is named, one that did not run is not", () => {
  const counts = new Map([["unit", 99], ["security", 250]]);
  assertEquals(belowFloor(FLOOR, counts, ["unit", "security"]), ["suite unit has 99 tests, fewer than the 100 of tests/count.txt"]);
  assertEquals(belowFloor(FLOOR, counts, ["security"]), []);
});

Deno.test("a suite without a single file is below its floor", () => {
  assertEquals(belowFloor(FLOOR, new Map(), ["e2e"]), ["suite e2e has 0 tests, fewer than the 5 of tests/count.txt"]);
});

Deno.test("counting raises and adds, but lowers nothing", () => {
  const text = formatFloor(FLOOR, new Map([["unit", 120], ["security", 3], ["abi", 7]]));
  assertEquals(parseFloor(text), new Map([["abi", 7], ["e2e", 5], ["security", 250], ["unit", 120]]));
});

Deno.test("a line that says something else is an error", () => {
  assertThrows(() => parseFloor("unit many\n"), Error, 'found "unit many"');
});
