import { assert, assertEquals, assertThrows } from "@std/assert";
import { join, resolve } from "node:path";
import { needing } from "../needs.ts";
import { formatBom } from "./bom.ts";
import { formatLicences } from "./licences.ts";
import { type Part, partsOf } from "./parts.ts";
import { TARGETS } from "../targets.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const PRODUCT = { name: "postern", version: "1.2.3", commit: "c0ffee", nativeSha256: "ab".repeat(32) };
const SHIPPED: Part = {
  name: "kept",
  version: "1.0.0",
  purl: "pkg:npm/kept@1.0.0",
  isBundled: true,
  license: "MIT",
  texts: ["the text\r\n"],
  hash: { algorithm: "SHA-256", hex: "cd".repeat(32) },
};
const TOOL: Part = { ...SHIPPED, name: "tool", purl: "pkg:npm/tool@1.0.0", isBundled: false, license: "", texts: [], hash: null };

Deno.test("the bill of materials names what is in the binary as required and what only builds as excluded", () => {
  const bom = JSON.parse(formatBom(PRODUCT, [SHIPPED, TOOL], 86_400));
  assertEquals([bom.bomFormat, bom.specVersion], ["CycloneDX", "1.6"]);
  assertEquals(bom.metadata.timestamp, "1970-01-02T00:00:00.000Z");
  assertEquals(bom.components.map((one: { name: string; scope: string }) => [one.name, one.scope]), [
    ["kept", "required"],
    ["tool", "excluded"],
  ]);
  assertEquals(bom.components[0].hashes, [{ alg: "SHA-256", content: "cd".repeat(32) }]);
  assertEquals(bom.components[0].licenses, [{ expression: "MIT" }]);
  const root = bom.dependencies.find((one: { ref: string }) => one.ref === "postern");
  assertEquals(root.dependsOn, ["pkg:npm/kept@1.0.0"]);
});

Deno.test("a licence's text that several parts share is written once, and what is not in the binary has none", () => {
  const text = formatLicences([SHIPPED, { ...SHIPPED, name: "twin", texts: ["the text\n"] }, TOOL]);
  assertEquals(text.split("the text").length, 2);
  assert(text.includes("kept 1.0.0\ntwin 1.0.0\n"));
  assertEquals(text.includes("tool"), false);
});

const built = { files: ["dist/postern.packages.txt"] };

Deno.test(needing(built, "every part that the built binary holds has its licence and the text of it", () => {
  const parts = partsOf(ROOT, TARGETS["linux-x64"]);
  const bundled = parts.filter(({ isBundled }) => isBundled);
  for (const name of ["zod", "commander", "pino", "quiche", "BoringSSL", "boring", "Deno runtime", "V8", "libstdc++"]) {
    assert(bundled.some((part) => part.name === name), `${name} is in the binary`);
  }
  for (const name of ["fast-check", "@cyclonedx/cyclonedx-library", "bindgen"]) {
    assert(parts.some((part) => part.name === name && !part.isBundled), `${name} only builds or tests`);
  }
  const lock = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.lock")));
  assertEquals(parts.filter(({ purl }) => purl.startsWith("pkg:npm/")).length, Object.keys(lock.npm).length);
}));

Deno.test(needing(built, "licences that belong to another Cargo.lock are refused", () => {
  const root = Deno.makeTempDirSync();
  for (const folder of ["lib", "dist", "ffi/native"]) Deno.mkdirSync(join(root, folder), { recursive: true });
  for (const file of ["lib/components.json", "dist/postern.packages.txt"]) Deno.copyFileSync(join(ROOT, file), join(root, file));
  Deno.writeTextFileSync(join(root, "deno.lock"), `{"npm":{}}`);
  Deno.writeTextFileSync(join(root, "ffi/native/Cargo.lock"), "version = 4\n");
  assertThrows(() => partsOf(root, TARGETS["linux-x64"]), Error, "another Cargo.lock");
  Deno.removeSync(root, { recursive: true });
}));
