// The binary stands alone: nothing of the checkout, of this machine, or of packages that only tests use.
import { assert, assertEquals } from "@std/assert";
import { needing } from "./needs.ts";

const BINARY = new URL("../dist/postern", import.meta.url);

/** Whether the file has these bytes anywhere, read in overlapping pieces. */
function contains(file: URL, text: string): boolean {
  const needle = new TextEncoder().encode(text);
  const bytes = Deno.readFileSync(file);
  for (let at = bytes.indexOf(needle[0] ?? 0); at >= 0; at = bytes.indexOf(needle[0] ?? 0, at + 1)) {
    if (needle.every((byte, i) => bytes[at + i] === byte)) return true;
  }
  return false;
}

Deno.test(needing({ files: ["dist/postern"] }, "the binary has the program and no package that only tests use", () => {
  assert(contains(BINARY, "uplink-connected"), "the program's own words");
  for (const testOnly of ["Property failed after", "Counterexample:"]) assertEquals(contains(BINARY, testOnly), false, testOnly);
}));

Deno.test(needing({ files: ["dist/postern"] }, "the binary names no folder of the machine that built it", () => {
  const checkout = new URL("../src/", import.meta.url).pathname;
  assertEquals(contains(BINARY, checkout), false, checkout);
}));
