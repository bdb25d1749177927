/** What holds for every container file of deploy: the checker has nothing to say. */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { lackOfPackages } from "../../tools/python_packages.ts";
import { sourceFiles } from "../../tools/suites.ts";
import { ROOT, run } from "./unit_fixture.ts";

const FILES = sourceFiles(ROOT, (path) => /(^|[/.])(Container|Docker)file$/.test(path), "deploy");
const lack = await lackOfPackages("hadolint");

Deno.test({
  name: `hadolint has nothing to say against any container file of deploy${lack === undefined ? "" : ` [needs hadolint: ${lack}]`}`,
  ignore: lack !== undefined,
  fn: async () => {
    assert(FILES.length > 0);
    const program = join(ROOT, ".tools", "python_hadolint", "bin", "hadolint");
    assertEquals(await run(program, ["--no-color", ...FILES], { cwd: ROOT }), { code: 0, stdout: "", stderr: "" });
  },
});
