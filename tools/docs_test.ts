// The documents keep what they promise: each `make x` exists, each relative link leads to a file, each #heading to a heading.
import { assertEquals, fail } from "@std/assert";
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { anchors, makeCommands, makeTargets, relativeLinks } from "./docs.ts";
import { sourceFiles } from "./suites.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const DOCUMENTS = sourceFiles(ROOT, (path) => path.endsWith(".md"));
const read = (path: string): string => Deno.readTextFileSync(join(ROOT, path));

Deno.test("there is a README, and every make command in the documents exists", () => {
  assertEquals(DOCUMENTS.includes("README.md"), true, "README.md is missing");
  const targets = makeTargets(read("Makefile"));
  const wrong = DOCUMENTS.flatMap((path) =>
    makeCommands(read(path)).filter((name) => !targets.has(name)).map((name) => `${path}: make ${name}`)
  );
  if (wrong.length > 0) fail(`not in the Makefile:\n  ${wrong.join("\n  ")}`);
});

Deno.test("every relative link in the documents leads somewhere", () => {
  const wrong = DOCUMENTS.flatMap((path) =>
    relativeLinks(read(path)).filter((link) => !leadsSomewhere(path, link)).map((link) => `${path}: ${link}`)
  );
  if (wrong.length > 0) fail(`links to nothing:\n  ${wrong.join("\n  ")}`);
});

function leadsSomewhere(document: string, link: string): boolean {
  const [path = "", anchor] = decodeURI(link).split("#");
  const file = path === "" ? join(ROOT, document) : resolve(join(ROOT, dirname(document)), path);
  // A link that leaves the repository works on nobody else's machine.
  if (relative(ROOT, file).startsWith("..") || !existsSync(file)) return false;
  return anchor === undefined || !file.endsWith(".md") || anchors(Deno.readTextFileSync(file)).has(anchor);
}

Deno.test("commands are found in code, not in prose", () => {
  const text = "To make sense, type `make test` or:\n```\nmake build && make demo KEEP=1\n  make check\n```\n";
  assertEquals(makeCommands(text).sort(), ["build", "check", "demo", "test"]);
});

Deno.test("targets are those with a line of help", () => {
  assertEquals(makeTargets("build: tools ## Builds\nhidden: build\n.PHONY: x\n"), new Set(["build"]));
});

Deno.test("links to files are found, addresses and code are none", () => {
  const text =
    "[a](docs/A.md#b) [c](https://example.com) `[d](e)` [f](#g) ![h](i.png 'x') [j](k.md \"title\")\n\n[ref]: l.md\n```\n[m](n)\n```\n";
  assertEquals(relativeLinks(text), ["docs/A.md#b", "#g", "i.png", "k.md", "l.md"]);
});

Deno.test("headings make anchors; equal ones are numbered", () => {
  assertEquals(
    anchors("# A `b` c!\n## 3. The tree\n## Same\n## Same\n```\n# none\n```\n"),
    new Set(["a-b-c", "3-the-tree", "same", "same-1"]),
  );
});
