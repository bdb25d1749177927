/** What holds for every container file of deploy: the checkers have nothing to say. */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { lackOfPackages, pythonEnvironment } from "../../tools/python_packages.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
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

const lackOfCheckov = await lackOfPackages("checkov");

Deno.test({
  name: `checkov finds nothing in any container file, but for what is skipped with its reason beside it${
    lackOfCheckov === undefined ? "" : ` [needs checkov: ${lackOfCheckov}]`
  }`,
  ignore: lackOfCheckov !== undefined,
  fn: async () => {
    using folder = new TemporaryFolder();
    // It knows a container file by this name only.
    const copies = FILES.map((file, i) => {
      Deno.mkdirSync(join(folder.path, String(i)));
      const copy = join(folder.path, String(i), "Dockerfile");
      Deno.copyFileSync(join(ROOT, file), copy);
      return copy;
    });
    // It does look: without a user there is something to say.
    const planted = join(folder.path, "planted", "Dockerfile");
    Deno.mkdirSync(join(folder.path, "planted"));
    Deno.writeTextFileSync(planted, Deno.readTextFileSync(copies[0] ?? "").replace(/^USER .*$/m, ""));
    const flags = ["--framework", "dockerfile", "--compact", "--skip-download", "--output", "json"];
    const args = ["-m", "checkov.main", ...flags, ...[...copies, planted].flatMap((file) => ["--file", file])];
    const { stdout } = await run("python3", args, { env: pythonEnvironment("checkov"), cwd: folder.path });
    const { results, summary } = JSON.parse(stdout);
    const failed = results.failed_checks.map((one: { check_id: string; file_path: string }) => [one.check_id, one.file_path]);
    assertEquals(failed.map(([id, path]: [string, string]) => [id, path.endsWith("planted/Dockerfile")]), [["CKV_DOCKER_3", true]]);
    assert(summary.passed > 10, `${summary.passed} checks passed`);
  },
});
