/** Everything that can be said of the sources without running them: `deno run -A tools/check.ts`. Each step runs, whatever the others say. */
import { resolve } from "node:path";

const ROOT = resolve(import.meta.dirname ?? ".", "..");

const STEPS: readonly (readonly [name: string, ...args: string[]])[] = [
  ["formatting", "fmt", "--check"],
  ["lint rules", "lint", "--quiet"],
  ["types", "check", "--quiet", "."],
  ["architecture and documents", "test", "--no-check", "--reporter=dot", "-A", "tools/architecture_test.ts", "tools/docs_test.ts"],
];

const failed: string[] = [];
for (const [name, ...args] of STEPS) {
  const started = performance.now();
  const command = new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0" },
    stdin: "null",
  });
  const { code, stdout, stderr } = await command.output();
  console.log(`${code === 0 ? "ok    " : "FAILED"} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  if (code === 0) continue;
  failed.push(name);
  // Not the dots of tests that passed, nor empty lines.
  const lines = [stdout, stderr].flatMap((bytes) => new TextDecoder().decode(bytes).split("\n")).filter((line) =>
    !/^[.!,\s]*$/.test(line)
  );
  console.log(lines.map((line) => "  " + line).join("\n"));
}
if (failed.length > 0) {
  console.error(`postern: error: ${failed.join(", ")} failed\npostern: hint: make fmt repairs formatting; the rest is said above`);
  Deno.exit(1);
}
