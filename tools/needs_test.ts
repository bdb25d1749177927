// What is missing is named; what is there is not.
import { assertEquals } from "@std/assert";
import { missing, needing } from "./needs.ts";

Deno.test("nothing is missing where all is there", () => {
  assertEquals(missing({ tools: ["sh"], files: ["deno.json", "/"], env: ["PATH"] }), undefined);
  assertEquals(missing({}), undefined);
});

Deno.test("everything that is missing is named", () => {
  const needs = { tools: ["sh", "no-such-tool"], files: ["no/such/file"], env: ["POSTERN_NO_SUCH_VARIABLE"] };
  assertEquals(missing(needs), "no-such-tool, no/such/file, $POSTERN_NO_SUCH_VARIABLE");
});

Deno.test("root is asked for only where it is needed", () => {
  assertEquals(missing({ root: false }), undefined);
  assertEquals(missing({ root: true }), Deno.uid() === 0 ? undefined : "root");
});

Deno.test("a test that lacks something is skipped and says what", () => {
  const fn = () => {};
  assertEquals(needing({ tools: ["no-such-tool"] }, "a", fn), { name: "a [needs no-such-tool]", ignore: true, fn });
  assertEquals(needing({ tools: ["sh"] }, "a", fn), { name: "a", ignore: false, fn });
});
