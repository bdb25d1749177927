/** Completion scripts in the shells that they are for: what they offer, and that hostile words stay words. */

import { assert, assertEquals } from "@std/assert";
import { type CompletionNode, completionScript, type Shell, SHELLS } from "./completions.ts";
import { runInTest } from "./platform_fixture.ts";

async function run(shell: string, script: string): Promise<string> {
  const command = new Deno.Command(shell, {
    args: ["-c", script],
    stdout: "piped",
    stderr: "piped",
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin" },
  });
  const output = await command.output();
  assert(output.success, new TextDecoder().decode(output.stderr));
  return new TextDecoder().decode(output.stdout);
}

const present = new Map<Shell, boolean>();
for (const shell of SHELLS) present.set(shell, await run(shell, "true").then(() => true, () => false));
for (const [shell, isThere] of present) if (!isThere) console.log(`completions: ${shell} is not installed, its tests are left out`);

/** What bash offers for a line; the last word is the one under the cursor. */
async function offered(script: string, ...words: string[]): Promise<string[]> {
  const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  const out = await run(
    "bash",
    `${script}\nCOMP_WORDS=(postern ${quoted}); COMP_CWORD=${words.length}; _postern; printf '%s\\n' "\${COMPREPLY[@]}"`,
  );
  return out.split("\n").filter((line) => line !== "");
}

Deno.test({
  name: "bash: commands, subcommands of aliases, flags, and nothing where a value is wanted",
  ignore: present.get("bash") !== true,
  fn: async () => {
    const { out: script } = await runInTest(["completions", "bash"]);
    assertEquals(await offered(script, "s"), ["server", "status"]);
    assertEquals(await offered(script, "certs", "in"), ["init", "inspect"]);
    assertEquals(await offered(script, "certs", "generate", "--f"), ["--force"]);
    assertEquals(await offered(script, "server", "--no-v"), ["--no-verify-peer"]);
    assertEquals(await offered(script, "server", "--port", "4433", "--ca"), ["--ca-cert"]);
    assertEquals(await offered(script, "server", "--cert", ""), []);
    assertEquals(await offered(script, "config", "show", "agent", "--forw"), ["--forward"]);
    assert((await offered(script, "")).includes("completions"));
  },
});

for (const [shell, isThere] of present) {
  Deno.test({
    name: `${shell}: the script parses`,
    ignore: !isThere,
    fn: async () => {
      const { out } = await runInTest(["completions", shell]);
      const path = await Deno.makeTempFile({ prefix: "postern-completion-" });
      try {
        await Deno.writeTextFile(path, out);
        const check = await new Deno.Command(shell, { args: ["-n", path], stderr: "piped" }).output();
        assertEquals(new TextDecoder().decode(check.stderr), "");
        assert(check.success);
      } finally {
        await Deno.remove(path);
      }
    },
  });
}

const HOSTILE = [
  "a;touch x",
  "`touch x`",
  "$(touch x)",
  "a'b",
  'a"b',
  "a|b",
  "a&&b",
  "*",
  "~root",
  "a\\b",
  "!!",
  "a\nb",
  "$HOME",
  "{a,b}",
];

Deno.test({
  name: "bash: hostile names are offered as they are and never run",
  ignore: present.get("bash") !== true,
  fn: async () => {
    const directory = await Deno.makeTempDir({ prefix: "postern-hostile-" });
    try {
      for (const name of HOSTILE) {
        const nodes: CompletionNode[] = [
          { path: [], commands: [{ name, summary: name }], flags: [] },
          { path: [name], commands: [], flags: [{ name: "--flag", summary: name, takesFile: false, takesValue: false }] },
        ];
        const script = `cd ${directory}\n${completionScript("bash", nodes)}`;
        assertEquals((await offered(script, "")).join("\n"), name);
        assertEquals(await offered(script, name, "--f"), ["--flag"]);
      }
      assertEquals([...Deno.readDirSync(directory)], []);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
});

Deno.test("fish and zsh: every hostile word stands in quotes that it cannot leave", () => {
  for (const name of HOSTILE) {
    const nodes: CompletionNode[] = [{ path: [], commands: [{ name, summary: name }], flags: [] }];
    const inFish = `'${name.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
    assert(completionScript("fish", nodes).includes(`-a ${inFish} -d ${inFish}\n`), name);
    assert(completionScript("zsh", nodes).includes(`candidates=('${name.replaceAll("'", "'\\''")}')`), name);
  }
});
