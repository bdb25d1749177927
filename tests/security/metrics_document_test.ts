// docs/SECURITY.md names tests as evidence: each of them must exist.
import { assert, assertEquals } from "@std/assert";
import { sourceFiles } from "../../tools/suites.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** The names of all tests, as expressions: what is computed in a name matches anything. */
function testNames(): RegExp[] {
  const names: RegExp[] = [];
  for (const file of sourceFiles(ROOT, (path) => path.endsWith("_test.ts"))) {
    const text = Deno.readTextFileSync(ROOT + file);
    for (
      const [, , name = ""] of text.matchAll(/(?:Deno\.test\(|name: |needing\([^"`]*?\}, ?)\s*(["`])((?:(?!\1)[^\\\n]|\\.)*)\1/g)
    ) {
      const parts = name.split(/\$\{[^}]*\}/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      names.push(new RegExp(`^${parts.join(".+")}$`));
    }
  }
  return names;
}

/** The names in the last cell of each row; one that begins with `... ` goes on where the first of its cell has a colon. */
function namedTests(markdown: string): string[] {
  const found: string[] = [];
  for (const line of markdown.split("\n").filter((row) => row.startsWith("|") && row.includes("`"))) {
    const cell = line.split("|").at(-2) ?? "";
    let first = "";
    for (const [, name = ""] of cell.matchAll(/`([^`]+)`/g)) {
      if (!name.startsWith("... ")) first = name;
      found.push(name.startsWith("... ") ? `${first.slice(0, first.indexOf(": "))}: ${name.slice(4)}` : name);
    }
  }
  return found;
}

Deno.test("every test that docs/SECURITY.md names exists", () => {
  const names = testNames();
  const named = namedTests(Deno.readTextFileSync(ROOT + "docs/SECURITY.md"));
  assert(named.length > 20);
  assertEquals(named.filter((name) => !names.some((known) => known.test(name))), []);
});
