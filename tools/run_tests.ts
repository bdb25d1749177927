/**
 * Runs the tests: `deno run -A tools/run_tests.ts [--suite=NAME] [--filter=WORDS] [--raise-floor] [--summary=FILE] [--verbose]`.
 *
 * Suite by suite it starts `deno test`, passes on what is worth reading (tools/test_output.ts) and takes the numbers from the JUnit
 * report. What failed in a suite that shares a busy machine is looked at once more and named as unstable if it passes alone; nothing
 * else is ever repeated. The last line is `N passed, N failed`, with `, N skipped` when there are any. The exit code is 0 only when nothing failed, at
 * least one test ran, and no suite has fewer tests than tests/count.txt says. Types are not checked here: `make check` does that.
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { PERMISSIONS } from "./build.ts";
import { belowFloor, formatFloor, parseFloor } from "./count_floor.ts";
import { parseJunit, type TestCase } from "./junit.ts";
import { strayFiles, type Suite, SUITES, testFiles } from "./suites.ts";
import { linesOf, OutputFilter } from "./test_output.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const FLOOR = join(ROOT, "tests", "count.txt");
/** What is left of a suite that does not stop when told to is ended after this long. */
const GRACE_MS = 10_000;
/** Failures in more files than these are no accident of a busy machine: there is no second look. */
const SECOND_LOOK_FILES_MAX = 3;

type Options = { readonly filter: string; readonly verbose: boolean };
type Result = {
  readonly suite: Suite;
  readonly cases: readonly TestCase[];
  readonly failed: number;
  /** Failed at first and passed at the second look. */
  readonly unstable: readonly TestCase[];
};
type Run = { readonly cases: readonly TestCase[]; readonly failed: number };

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      suite: { type: "string", default: "" },
      filter: { type: "string", default: "" },
      summary: { type: "string", default: "" },
      "raise-floor": { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
    },
  });
  const stray = strayFiles(ROOT);
  if (stray.length > 0) return stop(`no suite runs ${stray.join(", ")}`, "move it, or name its folder in tools/suites.ts");
  const chosen = SUITES.filter((suite) => values.suite === "" || suite.name === values.suite);
  if (chosen.length === 0) {
    return stop(
      `there is no suite "${values.suite}"`,
      `choose one of ${SUITES.map((suite) => suite.name).join(", ")}`,
    );
  }

  const results: Result[] = [];
  for (const suite of chosen) {
    const files = suite.folders.flatMap((folder) => testFiles(ROOT, folder));
    if (files.length > 0) results.push(await runSuite(suite, files, { filter: values.filter, verbose: values.verbose }));
  }
  const counts = new Map(results.map(({ suite, cases }) => [suite.name, cases.length]));
  const floor = parseFloor(readIfThere(FLOOR));
  if (values["raise-floor"]) Deno.writeTextFileSync(FLOOR, formatFloor(floor, counts));
  const tooFew = values.filter === "" ? belowFloor(floor, counts, chosen.map((suite) => suite.name)) : [];
  return report(results, tooFew, values.summary);
}

/** One suite, one `deno test`; for some a second one of what failed. */
async function runSuite(suite: Suite, files: readonly string[], options: Options): Promise<Result> {
  const started = performance.now();
  const first = await runFiles(suite, files, options);
  const { cases, failed, unstable } = await secondLook(suite, first, options);
  for (const one of cases.filter((one) => one.outcome === "skipped")) console.log(`   skipped: ${one.name} (${one.file})`);
  const passed = cases.filter((one) => one.outcome === "passed").length;
  console.log(`   ${suite.name}: ${passed} passed and ${failed} failed in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return { suite, cases, failed, unstable };
}

/** Runs the files with failures once more, alone, where the suite asks for it; a test counts as it did the last time. */
async function secondLook(suite: Suite, first: Run, options: Options): Promise<Omit<Result, "suite">> {
  const failures = first.cases.filter((one) => one.outcome === "failed");
  const files = [...new Set(failures.map(({ file }) => file))];
  // Only failures of tests: not of a run that ended early or of an error outside of every test.
  const isWanted = suite.secondLook && failures.length === first.failed && files.length > 0 &&
    files.length <= SECOND_LOOK_FILES_MAX;
  if (!isWanted) return { ...first, unstable: [] };
  console.log(`   a second look at ${files.join(", ")}`);
  const second = await runFiles({ ...suite, filesAtOnce: 1 }, files, options);
  if (second.failed > 0 || second.cases.length === 0) return { ...first, unstable: [] };
  const isUnstable = (one: TestCase) =>
    one.outcome === "failed" &&
    second.cases.some(({ file, name, outcome }) => file === one.file && name === one.name && outcome === "passed");
  const unstable = first.cases.filter(isUnstable);
  const cases = first.cases.map((one): TestCase => isUnstable(one) ? { ...one, outcome: "passed" } : one);
  return { cases, failed: first.failed - unstable.length, unstable };
}

async function runFiles(suite: Suite, files: readonly string[], options: Options): Promise<Run> {
  const folder = Deno.makeTempDirSync({ prefix: "postern-tests-" });
  const junit = join(folder, "junit.xml");
  const seed = crypto.getRandomValues(new Uint16Array(1))[0] ?? 0;
  const order = [...(suite.filesAtOnce === 1 ? [] : ["--parallel"]), ...(suite.shuffled ? [`--shuffle=${seed}`] : [])];
  const jobs = suite.filesAtOnce === null ? {} : { DENO_JOBS: `${suite.filesAtOnce}` };
  console.log(`== ${suite.name}: ${files.length} files${suite.shuffled ? `, shuffle seed ${seed}` : ""}`);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["test", "--no-check", `--junit-path=${junit}`, ...permissions(suite), ...order],
      ...(options.filter === "" ? [] : [`--filter=${options.filter}`]),
      ...files,
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0", ...jobs },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const filter = new OutputFilter(options.verbose);
  const reading = [child.stdout, child.stderr].map((stream) => passOn(stream, filter));
  const { code, late } = await endOf(child, suite.secondsMax);
  // A program that a test left behind may still hold the pipes: what it says is of no interest.
  await Promise.race([Promise.all(reading), sleep(2000)]);

  const cases = parseJunit(readIfThere(junit));
  Deno.removeSync(folder, { recursive: true });
  const notes = late ? [`ended after ${suite.secondsMax} s`] : [];
  const failures = cases.filter((one) => one.outcome === "failed").length + filter.uncaught;
  if (code !== 0 && failures === 0 && notes.length === 0) notes.push(`deno test ended with ${code}`);
  for (const note of notes) console.log(`   FAILED: ${note}`);
  return { cases, failed: failures + notes.length };
}

/** What the product may do is enough for tests inside one process: what they cannot reach, the binary cannot either. */
function permissions(suite: Suite): string[] {
  if (!suite.confined) return ["--allow-all"];
  return PERMISSIONS.map((flag) => (flag === "--allow-net" ? "--allow-net=127.0.0.1,[::1],localhost" : flag));
}

async function passOn(stream: ReadableStream<Uint8Array<ArrayBuffer>>, filter: OutputFilter): Promise<void> {
  for await (const line of linesOf(stream)) for (const shown of filter.take(line)) console.log(shown);
}

/** Waits for the child; one that takes too long is told to stop, then made to, and what it had started goes with it. */
async function endOf(child: Deno.ChildProcess, secondsMax: number): Promise<{ code: number; late: boolean }> {
  let family: number[] | undefined;
  const timers = [
    setTimeout(() => {
      family = descendants(child.pid);
      child.kill("SIGTERM");
    }, secondsMax * 1000),
    setTimeout(() => child.kill("SIGKILL"), secondsMax * 1000 + GRACE_MS),
  ];
  const { code } = await child.status;
  for (const timer of timers) clearTimeout(timer);
  for (const pid of family ?? []) {
    try {
      Deno.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself.
    }
  }
  return { code, late: family !== undefined };
}

/** The processes that a process started, and those started by them, by the parents that /proc names (field 4 of `stat`, proc(5)). */
function descendants(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const { name } of Deno.readDirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? statOf(name) : "";
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    if (stat !== "") children.set(parent, [...children.get(parent) ?? [], Number(name)]);
  }
  const found: number[] = [];
  for (const open = [root]; open.length > 0;) {
    const below = children.get(open.pop() ?? root) ?? [];
    found.push(...below);
    open.push(...below);
  }
  return found;
}

function statOf(pid: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/stat`);
  } catch {
    return ""; // it ended meanwhile
  }
}

/** Prints the end of the run, the closing line last, and gives the exit code. */
function report(results: readonly Result[], tooFew: readonly string[], summaryPath: string): number {
  const cases = results.flatMap((result) => result.cases);
  const passed = cases.filter((one) => one.outcome === "passed").length;
  const skipped = cases.filter((one) => one.outcome === "skipped").length;
  const failed = results.reduce((sum, result) => sum + result.failed, 0) + tooFew.length;
  for (const { file, name } of cases.filter((one) => one.outcome === "failed")) console.log(`FAILED: ${name} (${file})`);
  for (const { file, name } of results.flatMap(({ unstable }) => unstable)) {
    console.log(`UNSTABLE: ${name} (${file}): passed alone`);
  }
  for (const words of tooFew) console.log(`FAILED: ${words}`);
  if (passed + failed === 0) console.log("FAILED: no test ran");
  if (summaryPath !== "") Deno.writeTextFileSync(summaryPath, `${passed} ${failed} ${skipped}\n`);
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return failed > 0 || passed === 0 ? 1 : 0;
}

function stop(message: string, hint: string): number {
  console.error(`postern: error: ${message}\npostern: hint: ${hint}`);
  return 1;
}

function readIfThere(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => Deno.unrefTimer(setTimeout(done, ms)));
}

Deno.exit(await main());
