/** The checker has nothing to say against any shell script, and those of deploy begin and explain themselves alike. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { sourceFiles } from "../../tools/suites.ts";
import { ROOT, run } from "./unit_fixture.ts";

const isScript = (path: string) => path.endsWith(".sh") || path === ".ci/run";
const SCRIPTS = sourceFiles(ROOT, isScript, "deploy");
const ALL = ["deploy", "tools", "tests", ".ci"].flatMap((folder) => sourceFiles(ROOT, isScript, folder));

Deno.test(needing({ tools: ["shellcheck"] }, "shellcheck finds nothing in any shell script", async () => {
  assert(ALL.includes(".ci/run") && ALL.length > SCRIPTS.length + 4, ALL.join(" "));
  const result = await run("shellcheck", ["--external-sources", "--severity=style", ...ALL], { cwd: ROOT });
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
