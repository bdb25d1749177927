// Which lines of a test run are shown, and that none of them can be taken for its closing line.
import { assertEquals } from "@std/assert";
import { linesOf, OutputFilter } from "./test_output.ts";

function shown(lines: readonly string[], verbose = false): { lines: string[]; uncaught: number } {
  const filter = new OutputFilter(verbose);
  return { lines: lines.flatMap((line) => filter.take(line)), uncaught: filter.uncaught };
}

Deno.test("successes are left out, failures and file names are shown", () => {
  const lines = [
    "running 2 tests from ./a_test.ts",
    "good ... ok (1ms)",
    "long ... ok (2m3s)",
    "later ... ignored (0ms)",
    "bad ... FAILED (3ms)",
    "FAILED | 1 passed | 1 failed (5ms)",
  ];
  assertEquals(shown(lines).lines, ["running 2 tests from ./a_test.ts", "bad ... FAILED (3ms)"]);
  assertEquals(shown(lines, true).lines, lines);
});

Deno.test("what a test prints is shown together with the test's name", () => {
  const lines = [
    "quiet ...",
    "  step ... ok (0ms)",
    "quiet ... ok (0ms)",
    "loud ...",
    "------- output -------",
    "hello",
    "----- output end -----",
    "loud ... ok (1ms)",
  ];
  assertEquals(shown(lines).lines, ["loud ...", "------- output -------", "hello", "----- output end -----"]);
});

Deno.test("files that fail while loading are counted", () => {
  assertEquals(shown(["Uncaught error from ./a_test.ts FAILED", "Uncaught error from ./b_test.ts FAILED"]).uncaught, 2);
});

Deno.test("a printed closing line is put into brackets", () => {
  assertEquals(shown(["3 passed, 0 failed", "unit: 3 passed, 0 failed, 1 skipped", "it passed, 0 failed"]).lines, [
    "(3 passed, 0 failed)",
    "(unit: 3 passed, 0 failed, 1 skipped)",
    "it passed, 0 failed",
  ]);
});

Deno.test("a stream is cut into lines wherever its chunks end", async () => {
  const parts = ["a", "b\nc", "\n", "\nd é".slice(0, 3), "é"];
  const stream = ReadableStream.from(parts.map((part) => new TextEncoder().encode(part)));
  const lines: string[] = [];
  for await (const line of linesOf(stream)) lines.push(line);
  assertEquals(lines, ["ab", "c", "", "d é"]);
});
