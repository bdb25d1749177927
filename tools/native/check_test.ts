import { assertEquals } from "@std/assert";
import { join, resolve } from "node:path";
import { nativeProblems, sourcesDigest } from "./check.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const MACHINES = ["linux-x64", "linux-arm64"];
const COPIED = [
  "ffi/native/Cargo.toml",
  "ffi/native/Cargo.lock",
  "ffi/native/src",
  "ffi/native/include",
  "ffi/native/patches",
  "ffi/digest.ts",
  "tools/native",
  "lib",
];

/** A copy of everything that the check reads, for the test to change. */
function checkout(change: (root: string) => void): string[] {
  const root = Deno.makeTempDirSync();
  for (const path of COPIED) copy(join(ROOT, path), join(root, path));
  change(root);
  const problems = nativeProblems(root);
  Deno.removeSync(root, { recursive: true });
  return problems;
}

function copy(from: string, to: string): void {
  Deno.mkdirSync(resolve(to, ".."), { recursive: true });
  if (!Deno.statSync(from).isDirectory) return Deno.copyFileSync(from, to);
  for (const entry of Deno.readDirSync(from)) copy(join(from, entry.name), join(to, entry.name));
}

const append = (path: string) => Deno.writeTextFileSync(path, "\n", { append: true });

Deno.test("the committed native library belongs to the committed sources", () => {
  assertEquals(nativeProblems(ROOT), []);
});

Deno.test("the digest of the sources is the one that the build writes", async () => {
  const { stdout } = await new Deno.Command("sh", { args: [join(ROOT, "tools/native/sources.sh")] }).output();
  assertEquals(new TextDecoder().decode(stdout).trim(), sourcesDigest(ROOT));
});

Deno.test("a source that moved on, was added or removed is found", () => {
  const moved = MACHINES.map((machine) => `the sources in ffi/native have changed since lib/${machine} was built`);
  assertEquals(checkout((root) => append(join(root, "ffi/native/src/verify.rs"))), moved);
  assertEquals(checkout((root) => append(join(root, "ffi/native/Cargo.lock"))), moved);
  assertEquals(checkout((root) => append(join(root, "tools/native/build.sh"))), moved);
  assertEquals(checkout((root) => Deno.writeTextFileSync(join(root, "ffi/native/src/extra.rs"), "")), moved);
  assertEquals(checkout((root) => Deno.removeSync(join(root, "ffi/native/src/name.rs"))), moved);
  assertEquals(checkout((root) => append(join(root, "ffi/native/patches/quiche-0.30.0-fin.patch"))), moved);
});

for (const machine of MACHINES) {
  Deno.test(`a changed or missing product of ${machine} is found`, () => {
    const folder = `lib/${machine}`;
    assertEquals(checkout((root) => append(join(root, folder, "libpostern_native.so"))), [
      `${folder}/SHA256SUMS is not that of the files beside it`,
      `ffi/digest.ts names another library than the one in ${folder}`,
    ]);
    assertEquals(checkout((root) => append(join(root, folder, "postern_native.h"))), [
      `${folder}/SHA256SUMS is not that of the files beside it`,
      `${folder}/postern_native.h is not the header in ffi/native/include`,
    ]);
    for (const file of ["libpostern_native.so", "compilers.json"]) {
      assertEquals(checkout((root) => Deno.removeSync(join(root, folder, file))), [`${folder}/${file} is missing`]);
    }
  });
}
