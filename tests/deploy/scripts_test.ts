/** What holds for every shell script of deploy: the checker has nothing to say, and each begins and explains itself alike. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { sourceFiles } from "../../tools/suites.ts";
import { ROOT, run } from "./unit_fixture.ts";

const SCRIPTS = sourceFiles(ROOT, (path) => path.endsWith(".sh"), "deploy");

Deno.test(needing({ tools: ["shellcheck"] }, "shellcheck finds nothing in any script of deploy", async () => {
  assert(SCRIPTS.length > 0);
  const result = await run("shellcheck", ["--external-sources", "--severity=style", ...SCRIPTS], { cwd: ROOT });
  assertEquals(result, { code: 0, stdout: "", stderr: "" });
}));

for (const script of SCRIPTS) {
  Deno.test(`${script} stops at its first failure and explains itself from any folder`, async () => {
    const text = Deno.readTextFileSync(join(ROOT, script));
    const code = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    assertEquals([text.split("\n")[0], code[0]], ["#!/usr/bin/env bash", "set -euo pipefail"]);
    assert(((Deno.statSync(join(ROOT, script)).mode ?? 0) & 0o111) === 0o111, "it can be executed");
    const { code: exit, stdout, stderr } = await run(join(ROOT, script), ["--help"], { cwd: "/" });
    assertEquals([exit, stderr], [0, ""]);
    assertStringIncludes(stdout, `Usage: ${script.slice(script.lastIndexOf("/") + 1)}`);
  });
}
