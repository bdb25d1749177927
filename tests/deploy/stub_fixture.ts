/** Programs that only note how they were called, in the place of those that would change the world. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { run } from "./unit_fixture.ts";

/** What a stub does once it has noted its call; `script` is shell, with the call's words in `"$@"`. */
export interface Stub {
  readonly stdout?: string;
  readonly code?: number;
  readonly script?: string;
}

export interface StubRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Each call of a stub: its name and words. */
  readonly calls: readonly string[];
}

/** What a script may call beside its stubs. Nothing else is on its PATH, so a test cannot reach a real Docker or service manager. */
const HARMLESS =
  "awk basename bash cat chmod chown cmp cp cut date dirname env expr find grep head id install ldd ln ls mkdir mktemp mv od readelf readlink rm rmdir sed sh sleep sort stat tail touch tr uname wc xargs"
    .split(" ");

/** Runs a script from the folder `/` with these stubs and harmless programs, and no others. */
export async function runWithStubs(
  script: string,
  args: readonly string[],
  stubs: Readonly<Record<string, Stub>>,
  options: { readonly env?: Readonly<Record<string, string>>; readonly wrapper?: readonly string[] } = {},
): Promise<StubRun> {
  const folder = Deno.makeTempDirSync({ prefix: "postern-stubs-" });
  try {
    const log = join(folder, "calls");
    Deno.writeTextFileSync(log, "");
    for (const [name, { stdout = "", code = 0, script = "" }] of Object.entries(stubs)) {
      const lines = ["#!/bin/sh", `echo "${name} $*" >>'${log}'`, script, `printf '%s' '${stdout}'`, `exit ${code}`];
      Deno.writeTextFileSync(join(folder, name), lines.join("\n") + "\n", { mode: 0o755 });
    }
    const [program = script, ...words] = [...options.wrapper ?? [], script, ...args];
    for (const name of HARMLESS.filter((name) => stubs[name] === undefined)) {
      const real = ["/usr/bin", "/bin"].map((place) => join(place, name)).find((path) => existsSync(path));
      if (real !== undefined) Deno.symlinkSync(real, join(folder, name));
    }
    const env = { PATH: folder, HOME: folder, ...options.env };
    const result = await run(program, words, { cwd: "/", clearEnv: true, env });
    const calls = Deno.readTextFileSync(log).split("\n").filter((line) => line !== "").map((line) => line.trimEnd());
    return { ...result, calls };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
