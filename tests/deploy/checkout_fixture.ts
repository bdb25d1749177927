/** A copy of the checkout, as somebody else would have it, in which the tools build and release; and what building for arm64 needs. */
import { assertEquals } from "@std/assert";
import { dirname, join } from "node:path";
import { missing } from "../../tools/needs.ts";
import { ROOT, run } from "./unit_fixture.ts";

/** A slow registry is no failure of ours: the test is skipped then. */
const FETCH_SECONDS_MAX = "300";

/** Copies what is or could be committed, as it stands now, with times of its own; the tool chain stays where it is. */
export async function copyCheckout(folder: string): Promise<void> {
  const listed = await run("git", ["-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
  assertEquals(listed.code, 0, listed.stderr);
  for (const path of listed.stdout.split("\0").filter((path) => path !== "")) {
    Deno.mkdirSync(join(folder, dirname(path)), { recursive: true });
    // A file that was removed and not yet committed so is still listed.
    await Deno.copyFile(join(ROOT, path), join(folder, path)).catch((error: unknown) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }
  Deno.symlinkSync(join(ROOT, ".tools"), join(folder, ".tools"));
}

/** Runs one of the copy's tools, and fails when it fails. */
export async function runTool(
  folder: string,
  tool: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { code, stderr } = await run(Deno.execPath(), ["run", "-A", "--no-check", ...tool], { cwd: folder, env });
  assertEquals(code, 0, `${tool[0]}: ${stderr}`);
}

/** What is missing for building for arm64, in words, or undefined; the runtime for it is fetched first when it is not there. */
export async function lackOfArm64(): Promise<string | undefined> {
  const lack = missing({ tools: ["git", "bash", "timeout", "python3"], files: [".git", ".tools/bin/deno"] });
  if (lack !== undefined) return lack;
  const { code, stderr } = await run("timeout", ["--kill-after=5", FETCH_SECONDS_MAX, join(ROOT, "tools/toolchain.sh"), "--arm64"]);
  return code === 0 ? undefined : `the runtime for arm64: ${stderr.trim().split("\n").at(-1)}`;
}
