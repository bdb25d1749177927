import { assertEquals } from "@std/assert";
import { lockedCrates } from "./cargo_lock.ts";

Deno.test("a Cargo.lock gives its registry's crates with their checksums, and not the crate that it lies beside", () => {
  const text = `version = 4

[[package]]
name = "libc"
version = "0.2.1"
source = "registry+https://example.org/index"
checksum = "00ff"

[[package]]
name = "postern_native"
version = "0.1.0"
dependencies = [
 "libc",
]
`;
  assertEquals(lockedCrates(text), [{ name: "libc", version: "0.2.1", checksum: "00ff" }]);
  assertEquals(lockedCrates("version = 4\n"), []);
});
