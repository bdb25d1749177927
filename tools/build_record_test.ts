import { assertEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { bundledPackages, sourceDate } from "./build_record.ts";

Deno.test("a bundle's packages are read off the comments above their modules", () => {
  const folder = Deno.makeTempDirSync();
  Deno.writeTextFileSync(
    join(folder, "main.js"),
    [
      "// node_modules/.deno/zod@4.6.7/node_modules/zod/v4/core/core.js",
      "// node_modules/.deno/@peculiar+utils@4.1.0/node_modules/@peculiar/utils/build/index.js",
      "// node_modules/.deno/pkijs@4.0.0_asn1js@4.0.0/node_modules/pkijs/build/index.es.js",
      "// src/base/mod.ts",
      `const text = "// node_modules/.deno/none@1.0.0/x.js";`,
    ].join("\n"),
  );
  Deno.writeTextFileSync(join(folder, "worker.js"), "// node_modules/.deno/zod@4.6.7/node_modules/zod/index.js\n");
  Deno.writeTextFileSync(join(folder, "build.json"), "// node_modules/.deno/other@1.0.0/x.js\n");
  assertEquals(bundledPackages(folder), ["@peculiar/utils@4.1.0", "pkijs@4.0.0", "zod@4.6.7"]);
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("the date of a release is seconds, or nothing is released", async () => {
  assertEquals(await sourceDate(".", "1700000000"), 1_700_000_000);
  await assertRejects(() => sourceDate(".", "yesterday"), Error, "seconds since 1970");
});
