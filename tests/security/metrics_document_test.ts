// docs/SECURITY.md names tests as evidence: each of them must exist.
import { assert, assertEquals } from "@std/assert";
import { sourceFiles } from "../../tools/suites.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const LITERAL = /(["`])((?:(?!\1)[^\\\n]|\\.)*)\1/g;

/** The texts in all test files, the names of tests among them, as expressions: what is computed in one matches anything. */
function literals(): RegExp[] {
  const found: RegExp[] = [];
  for (const file of sourceFiles(ROOT, (path) => /_(test|cases)\.ts$/.test(path))) {
    for (const [, , text = ""] of Deno.readTextFileSync(ROOT + file).matchAll(LITERAL)) {
      const parts = text.split(/\$\{[^}]*\}/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      if (parts.join("").length >= 10) found.push(new RegExp(`^${parts.join(".+")}$`));
    }
  }
  return found;
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
  const known = literals();
  const named = namedTests(Deno.readTextFileSync(ROOT + "docs/SECURITY.md"));
  assert(named.length > 20);
  assertEquals(named.filter((name) => !known.some((text) => text.test(name))), []);
});
