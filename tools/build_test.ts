// Which npm packages the binary carries: those that the program reaches, with what they need in turn, and no others.
import { assertEquals } from "@std/assert";
import { packageOfFolder, packagesReached } from "./build.ts";

const PACKAGES = {
  "a@1.0.0": { name: "a", version: "1.0.0", dependencies: ["b@2.0.0_c@3.0.0", "c@3.0.0"] },
  "b@2.0.0_c@3.0.0": { name: "b", version: "2.0.0", dependencies: ["c@3.0.0"] },
  "c@3.0.0": { name: "c", version: "3.0.0", dependencies: ["a@1.0.0"] },
  "@scope/d@4.0.0": { name: "@scope/d", version: "4.0.0", dependencies: [] },
  "test-only@5.0.0": { name: "test-only", version: "5.0.0", dependencies: ["pure@6.0.0"] },
  "pure@6.0.0": { name: "pure", version: "6.0.0", dependencies: [] },
};

Deno.test("packages reached from any entry are kept, with what they depend on", () => {
  const main = { modules: [{}, { npmPackage: "a@1.0.0" }], npmPackages: PACKAGES };
  const worker = { modules: [{ npmPackage: "@scope/d@4.0.0" }], npmPackages: PACKAGES };
  assertEquals([...packagesReached([main, worker])].sort(), ["@scope/d@4.0.0", "a@1.0.0", "b@2.0.0", "c@3.0.0"]);
});

Deno.test("a program without packages reaches none", () => {
  assertEquals(packagesReached([{ modules: [{}] }]).size, 0);
});

Deno.test("the folder of a package tells its name and version", () => {
  assertEquals(packageOfFolder("commander@15.1.0"), "commander@15.1.0");
  assertEquals(packageOfFolder("@peculiar+x509@2.2.0"), "@peculiar/x509@2.2.0");
  assertEquals(packageOfFolder("b@2.0.0_1"), "b@2.0.0");
  assertEquals(packageOfFolder("b@2.0.0-rc.1"), "b@2.0.0-rc.1");
});
