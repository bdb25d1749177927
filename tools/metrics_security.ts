/**
 * What the metrics listener must have before anything is released, one named check a line: `deno run -A tools/metrics_security.ts`.
 * Its tests run once, and leave their names, how they ended, and which lines of the module they reached; the rest is read in the
 * sources and the documents. Ends with 1 when a check fails.
 */
import { join, resolve } from "node:path";
import { parseJunit } from "./junit.ts";
import { sourceFiles } from "./suites.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const MODULE = "src/ops/metrics_server";
const TESTS = ["listener", "config", "document"].map((name) => `tests/security/metrics_${name}_test.ts`);

/** What the checks look at. */
interface Evidence {
  /** Names of the tests that passed. */
  readonly passed: ReadonlySet<string>;
  /** Lines of the module that no test reached, `path:line`; and how many there are. */
  readonly unreached: readonly string[];
  readonly lines: number;
}

/** Says what is wrong; nothing when it is as it must be. */
type Check = (evidence: Evidence) => readonly string[];

const CHECKS: readonly (readonly [name: string, check: Check])[] = [
  [
    "mutual TLS is mandatory",
    tested(
      "refused before a byte of HTTP: no certificate",
      "refused before a byte of HTTP: a certificate of another CA",
      "refused before a byte of HTTP: plain HTTP",
      "the proof at the start fails on a listener that lets anonymous clients in",
      "a listener that would let anonymous clients in is taken down before it serves anybody",
    ),
  ],
  [
    "IPv6 only",
    tested(
      "metrics server config: default [::1]:9090",
      "metrics server config: custom [::]:9090",
      "metrics server config: rejects IPv4",
      "refused before a connection: IPv4 and mapped IPv4, bound to [::]",
    ),
  ],
  [
    "validation at the start",
    tested(
      "metrics server validation: missing cert",
      "metrics server validation: missing key",
      "metrics server validation: missing CA",
      "metrics server creation requires certs",
      "metrics server startup requires certs",
    ),
  ],
  [
    "no secrets in the sources",
    () => sourcesWith(["src", "ffi", "main.ts", "worker.ts"], /-----\s*[A-Za-z0-9+/]{40}|\bpassword\s*[:=]\s*["'`]\w/),
  ],
  [
    "clear errors",
    tested(
      "a file that cannot be read, is too long, or holds nothing is refused with its name",
      "the start says where it listens and with which files",
    ),
  ],
  [
    "NIST controls are named with their evidence",
    (evidence) => [...tested("every test that docs/SECURITY.md names exists")(evidence), ...missingControls()],
  ],
  ["no native calls outside of ffi", () => sourcesWith(["src"], /\bDeno\.(dlopen|UnsafePointer|UnsafeCallback|UnsafeFnPointer)/)],
  ["type safe", () => [...sourcesWith([MODULE], /\bas any\b|: any\b|@ts-|\bas unknown as\b/), ...typeErrors()]],
  [
    "all or nothing",
    tested(
      "without any setting and without default files there is no listener; anything partial wants all three",
      "metrics server startup requires certs",
    ),
  ],
  ["every line is reached by a test", ({ unreached, lines }) => lines === 0 ? ["nothing was measured"] : unreached],
];

function main(): number {
  const evidence = gather();
  if (evidence === null) return 1;
  let failures = 0;
  for (const [name, check] of CHECKS) {
    const problems = check(evidence);
    console.log(
      `${problems.length === 0 ? "ok    " : "FAILED"} ${name}${problems.map((problem) => `\n       ${problem}`).join("")}`,
    );
    if (problems.length > 0) failures++;
  }
  console.log(`${CHECKS.length - failures} of ${CHECKS.length} checks hold; ${evidence.lines} lines of ${MODULE}`);
  return failures === 0 ? 0 : 1;
}

/** Runs the tests under measurement. Null, with what they said, when they cannot be run. */
function gather(): Evidence | null {
  const folder = Deno.makeTempDirSync({ prefix: "postern-coverage-" });
  try {
    const report = join(folder, "report.xml"), data = join(folder, "data"), found = join(folder, "lines.lcov");
    const said = deno("test", "-A", "--no-check", "--quiet", `--coverage=${data}`, `--junit-path=${report}`, ...TESTS);
    deno("coverage", data, `--include=${MODULE}`, "--lcov", `--output=${found}`);
    const cases = parseJunit(Deno.readTextFileSync(report));
    const failed = cases.filter(({ outcome }) => outcome === "failed");
    if (failed.length > 0) console.error(said.text);
    return {
      passed: new Set(cases.filter(({ outcome }) => outcome === "passed").map(({ name }) => name)),
      ...readLines(Deno.readTextFileSync(found)),
    };
  } catch (error) {
    console.error(`postern: error: the tests of ${MODULE} left no report: ${error}`);
    return null;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** The lines of an LCOV report and those that were never run. */
function readLines(lcov: string): Pick<Evidence, "unreached" | "lines"> {
  const unreached: string[] = [];
  let file = "", lines = 0;
  for (const text of lcov.split("\n")) {
    if (text.startsWith("SF:")) file = text.slice(3).replace(`${ROOT}/`, "");
    const [, line, count] = /^DA:(\d+),(\d+)/.exec(text) ?? [];
    if (line === undefined) continue;
    lines++;
    if (count === "0") unreached.push(`${file}:${line}`);
  }
  return { unreached, lines };
}

function tested(...names: readonly string[]): Check {
  return ({ passed }) => names.filter((name) => !passed.has(name)).map((name) => `this test did not pass: ${name}`);
}

/** Where sources, tests left out, have what they must not have. */
function sourcesWith(folders: readonly string[], forbidden: RegExp): string[] {
  const files = sourceFiles(ROOT, (path) => path.endsWith(".ts") && !/_(test|fixture|cases)\.ts$/.test(path));
  const within = files.filter((path) => folders.some((folder) => path === folder || path.startsWith(`${folder}/`)));
  if (within.length === 0) return [`there are no sources in ${folders.join(", ")}`];
  return within.flatMap((path) =>
    Deno.readTextFileSync(join(ROOT, path)).split("\n").flatMap((line, i) => forbidden.test(line) ? [`${path}:${i + 1}`] : [])
  );
}

function missingControls(): string[] {
  const document = Deno.readTextFileSync(join(ROOT, "docs/SECURITY.md"));
  return ["SC-7", "SC-8", "SC-13", "IA-2", "IA-5"].filter((control) => !document.includes(control)).map((control) =>
    `${control} is not named`
  );
}

function typeErrors(): string[] {
  const { code, text } = deno("check", "--quiet", `${MODULE}/mod.ts`);
  return code === 0 ? [] : text.split("\n").slice(0, 20);
}

function deno(...args: readonly string[]): { readonly code: number; readonly text: string } {
  const env = { NO_COLOR: "1", RUST_BACKTRACE: "0" };
  const { code, stdout, stderr } = new Deno.Command(Deno.execPath(), { args: [...args], cwd: ROOT, env, stdin: "null" })
    .outputSync();
  return { code, text: [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("") };
}

Deno.exit(main());
