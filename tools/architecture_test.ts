// The tree keeps its shape: imports by `deno info --json`, files by their text. All that is wrong is reported at once.
import { assertEquals, fail } from "@std/assert";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { findCycles, type Import, judgeFile, judgeImport, MAY_IMPORT, unfinishedLines } from "./architecture.ts";
import { isTestCode, sourceFiles } from "./suites.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const CODE = sourceFiles(ROOT, (path) => path.endsWith(".ts"));
/** What is built into the binary or could be. */
const SHIPPED = CODE.filter((path) => /^(main\.ts|worker\.ts|src\/|ffi\/)/.test(path) && !isTestCode(path));
const TEXT = /\.(ts|js|rs|sh|py|md|toml|yaml|yml|json|html|css|h|c)$|(^|\/)(Makefile|Dockerfile|run)$/;

type Info = { readonly modules: readonly Module[] };
type Module = { readonly specifier: string; readonly error?: string; readonly dependencies?: readonly Dependency[] };
type Dependency = { readonly code?: { readonly specifier?: string }; readonly type?: { readonly specifier?: string } };

async function importsOf(files: readonly string[]): Promise<{ imports: Import[]; errors: string[] }> {
  const folder = Deno.makeTempDirSync({ prefix: "postern-architecture-" });
  const entry = join(folder, "all.ts");
  Deno.writeTextFileSync(entry, files.map((path) => `import "${pathToFileURL(join(ROOT, path))}";\n`).join(""));
  const args = ["info", "--json", "--config", join(ROOT, "deno.json"), entry];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).output();
  Deno.removeSync(folder, { recursive: true });
  if (code !== 0) fail(new TextDecoder().decode(stderr));
  const { modules }: Info = JSON.parse(new TextDecoder().decode(stdout));
  const path = (specifier: string) => specifier.startsWith("file:") ? relative(ROOT, new URL(specifier).pathname) : specifier;
  const wanted = new Set(files);
  const imports: Import[] = [];
  for (const { specifier, dependencies = [] } of modules) {
    if (!wanted.has(path(specifier))) continue;
    for (const { code, type } of dependencies) {
      const to = code?.specifier ?? type?.specifier;
      if (to !== undefined) imports.push({ from: path(specifier), to: path(to), typeOnly: code === undefined });
    }
  }
  return { imports, errors: modules.flatMap((module) => module.error ?? []) };
}

function report(wrong: readonly string[]): void {
  if (wrong.length > 0) fail(`${wrong.length} broken:\n  ${[...wrong].sort().join("\n  ")}`);
}

Deno.test("the tree imports as the table allows, without circles", async () => {
  const { imports, errors } = await importsOf(SHIPPED);
  const circles = findCycles(imports).map((circle) =>
    `these files import each other in a circle: ${circle.join(" -> ")} -> ${circle[0]}`
  );
  const judged = imports.flatMap((one) => {
    const wrong = judgeImport(one, new Set(CODE));
    return wrong === undefined ? [] : [`${one.from}: ${wrong}`];
  });
  report([...errors, ...circles, ...judged]);
});

Deno.test("every file has its size, its name and its opening comment", () => {
  report(CODE.flatMap((path) => judgeFile(path, Deno.readTextFileSync(join(ROOT, path))).map((wrong) => `${path}: ${wrong}`)));
});

Deno.test("nothing announces unfinished work", () => {
  const wrong = (path: string) =>
    unfinishedLines(Deno.readTextFileSync(join(ROOT, path))).map((line) => `${path}:${line}: say it in an issue`);
  report(sourceFiles(ROOT, (path) => TEXT.test(path)).flatMap(wrong));
});

Deno.test("a row of the table can break no other row's promise", () => {
  for (const [unit, allowed] of Object.entries(MAY_IMPORT)) {
    if (unit.startsWith("src/core/")) assertEquals(allowed.filter((folder) => !folder.startsWith("src/core/")), [], unit);
    if (unit !== "main.ts" && unit !== "worker.ts") assertEquals(allowed.includes("ffi"), false, unit);
  }
});

const FILES = new Set(["src/core/wire/mod.ts", "src/ops/log/mod.ts", "src/io/mod.ts", "ffi/mod.ts"]);

const IMPORTS: readonly (readonly [from: string, to: string, wrong: string | undefined])[] = [
  ["src/core/wire/a.ts", "src/core/wire/b.ts", undefined],
  ["src/core/wire/a.ts", "src/base/mod.ts", undefined],
  ["src/core/wire/a.ts", "src/base/bytes.ts", "a folder's only door is its mod.ts, it imports src/base/bytes.ts"],
  ["src/core/wire/a.ts", "src/core/auth/mod.ts", "src/core/wire may not import src/core/auth/mod.ts; only src/base"],
  [
    "src/core/wire/a.ts",
    "src/core/wire/b_fixture.ts",
    "shipped code imports nothing of the tests, it imports src/core/wire/b_fixture.ts",
  ],
  ["src/core/relay/a.ts", "src/core/auth/mod.ts", undefined],
  ["src/core/wire/a.ts", "node:buffer", "code that decides imports no package, it imports node:buffer"],
  [
    "src/core/shelf/a.ts",
    "src/base/mod.ts",
    "its folder is in no row of the table in tools/architecture.ts: add one, or move the file",
  ],
  ["src/roles/server/a.ts", "src/roles/control/mod.ts", undefined],
  ["src/roles/agent/a.ts", "src/core/netstack/mod.ts", undefined],
  ["src/cli/a.ts", "src/roles/agent/mod.ts", undefined],
  ["src/ops/metrics/a.ts", "src/ops/log/mod.ts", undefined],
  ["src/ops/metrics/a.ts", "src/ops/log/open.ts", "a folder's only door is its mod.ts, it imports src/ops/log/open.ts"],
  ["src/ops/metrics/a.ts", "src/ops/clock.ts", undefined],
  ["src/ops/metrics/a.ts", "src/ops/metrics/text/b.ts", undefined],
  ["src/ops/log/a.ts", "src/ops/log/text/b.ts", undefined],
  ["src/ops/log/text/b.ts", "src/ops/log/a.ts", undefined],
  ["ffi/tls/a.ts", "ffi/quiche/b.ts", undefined],
  ["main.ts", "ffi/quiche/b.ts", "a folder's only door is its mod.ts, it imports ffi/quiche/b.ts"],
  ["main.ts", "ffi/mod.ts", undefined],
  ["worker.ts", "src/roles/server/mod.ts", undefined],
  ["src/config/a.ts", "npm:zod@4.6.7", undefined],
];

for (const [from, to, wrong] of IMPORTS) {
  Deno.test(`${from} importing ${to} is ${wrong === undefined ? "fine" : "refused"}`, () => {
    assertEquals(judgeImport({ from, to }, FILES), wrong);
  });
}

Deno.test("roles never import each other, nothing but the entries imports ffi, nothing shipped imports tools or tests", () => {
  const refused = (from: string, to: string) => judgeImport({ from, to }, FILES)?.includes("may not import") ?? false;
  assertEquals(refused("src/roles/server/a.ts", "src/roles/agent/mod.ts"), true);
  assertEquals(refused("src/roles/uplink/a.ts", "src/roles/connector/mod.ts"), true);
  assertEquals(refused("src/cli/a.ts", "ffi/mod.ts"), true);
  assertEquals(refused("src/roles/server/a.ts", "ffi/quiche/mod.ts"), true);
  assertEquals(refused("src/base/a.ts", "tools/needs.ts"), true);
  assertEquals(judgeImport({ from: "main.ts", to: "tests/sim/mod.ts" }, FILES)?.includes("nothing of the tests"), true);
});

Deno.test("the files of interfaces may be imported past the door, for those who may import the folder", () => {
  const judge = (to: string) => judgeImport({ from: "ffi/libc/a.ts", to }, FILES);
  assertEquals(judge("src/io/native.ts"), undefined);
  assertEquals(judge("src/io/native_process.ts"), undefined);
  assertEquals(judge("src/io/arena.ts"), "a folder's only door is its mod.ts, it imports src/io/arena.ts");
  assertEquals(judgeImport({ from: "src/config/a.ts", to: "src/io/native.ts" }, FILES)?.includes("may not import"), true);
});

Deno.test("circles are found once each; types close none", () => {
  const edge = (from: string, to: string, typeOnly = false): Import => ({ from, to, typeOnly });
  assertEquals(findCycles([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("d", "a")]), [["a", "b", "c"]]);
  assertEquals(findCycles([edge("a", "b"), edge("b", "a", true)]), []);
  assertEquals(findCycles([edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")]), []);
});

Deno.test("files are judged by name, length and opening", () => {
  const text = "// what it is\n";
  assertEquals(judgeFile("src/core/wire/frame.ts", text), []);
  assertEquals(judgeFile("tools/types/deno_std/assert.d.ts", text), []);
  assertEquals(judgeFile("src/a.ts", "export {};\n"), ["a file opens with a comment: what it is, what flows through it"]);
  assertEquals(judgeFile("src/a.ts", text + "\n".repeat(399)), []);
  assertEquals(judgeFile("src/a.ts", text + "\n".repeat(400)), ["a file has at most 400 lines, it has 401: name its parts"]);
  assertEquals(judgeFile("src/a_test.ts", text + "\n".repeat(799)), []);
  assertEquals(judgeFile("src/a_test.ts", text + "\n".repeat(800)).length, 1);
  assertEquals(judgeFile("src/wireFrame.ts", text), ["names of files and folders are snake_case"]);
  assertEquals(judgeFile("src/io/tcp-socket.ts", text), ["names of files and folders are snake_case"]);
  assertEquals(judgeFile("src/common/a.ts", text), ['"common" says nothing: name it after what is inside']);
  assertEquals(judgeFile("src/session_manager.ts", text), ['"session_manager" says nothing: name it after what is inside']);
});

Deno.test("announcements of unfinished work are found as words", () => {
  assertEquals(unfinishedLines(["a", "// TO" + "DO later", "FIX" + "ME", "todo list", "TO" + "DOS"].join("\n")), [2, 3]);
});
