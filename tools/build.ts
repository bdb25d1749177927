/**
 * Builds dist/postern: `deno run -A tools/build.ts [--force] [--target=linux-arm64]`. One file that runs anywhere without the checkout: the program, what it
 * uses of its npm packages, and the native library. The modules are bundled first: one text loads in half the time of some hundred,
 * and nothing of a package enters that the program does not reach.
 *
 * A digest over all that goes in is kept beside the binary; when nothing has changed the build is over in a moment. The types are
 * not checked here, that is `make check`'s part.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { type BuildRecord, buildRecord, bundledPackages } from "./build_record.ts";
import { isTestCode } from "./suites.ts";
import { targetOf } from "./targets.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const TARGET = targetOf(Deno.args) ?? stop("there is no such target", "linux-x64 or linux-arm64");
const OUT = join(ROOT, TARGET.binary);
const STAMP = OUT + ".stamp.json";
/** The npm packages of which something is in the binary, as `name@version` lines: what a release accounts for. */
const PACKAGES = OUT + ".packages.txt";
/** Everything that goes into the binary, as it lies in there. */
const STAGE = ".bundle";
/** The bundled modules; one level below, like `ffi` below the root, so that `../lib` is the library for both. */
const PROGRAM = join(STAGE, "program");

/** Modules that start an isolate of their own. */
const ENTRIES = ["main.ts", "worker.ts"];

/** Of the checkout's files, what the binary carries besides its modules: read at run time by way of `import.meta.url`. */
const EMBEDDED = [TARGET.library];

/**
 * The program's permissions, by name. Paths, hosts and programs come from its configuration, so they cannot be listed here; and code
 * that may call a native library is confined by the operating system only. Yet this is less than everything: to named permissions the
 * runtime refuses /proc, /sys and most of /dev, so that no path taken from a configuration or a request can lead there (what the program
 * itself needs of them it asks through libc); it also refuses to ask on the terminal and to import code from the network.
 */
export const PERMISSIONS = [
  "--allow-net", // HTTPS to clouds, ACME and policy sources; Unix sockets
  "--allow-read", // configuration, certificates, policies
  "--allow-write", // audit files, certificate stores, sockets' folders
  "--allow-env", // POSTERN_*, AWS_*
  "--allow-sys", // host name, interfaces, memory for diagnosis
  "--allow-run", // hooks named in the configuration; the demonstration starts itself
  "--allow-ffi", // libc and the native library: unrestricted, since Deno unpacks the latter to a path of its own
  "--deny-import",
  "--no-prompt",
];

/**
 * Young objects get 2 MiB for each isolate instead of 16: hardly any live long where packets flow, and what V8 keeps for them it never
 * gives back. With 4,000 clients the server takes 80 MB less.
 */
const V8_FLAGS = "--v8-flags=--max-semi-space-size=2";

/** In CI the lock file must already say everything; a person's build may add what a new import needs. */
const FROZEN = Deno.env.get("CI") === "true" ? ["--frozen"] : [];

async function build(): Promise<void> {
  for (const entry of ENTRIES) if (!existsSync(join(ROOT, entry))) stop(`${entry} is missing`, "this is not a complete checkout");
  if (!existsSync(join(ROOT, TARGET.library))) stop(`${TARGET.library} is missing`, "make native builds it");
  const record = await buildRecord(ROOT);
  const digest = digestOfInputs(record);
  if (!Deno.args.includes("--force") && isCurrent(digest)) return console.log(`${TARGET.binary} is up to date`);
  const started = performance.now();
  await run(["install", "--quiet", ...FROZEN]);
  Deno.mkdirSync(dirname(OUT), { recursive: true });
  try {
    await stage(record);
    Deno.writeTextFileSync(PACKAGES, bundledPackages(join(ROOT, PROGRAM)).join("\n") + "\n");
    await compile();
  } finally {
    removeStage();
  }
  const { size, mtime } = Deno.statSync(OUT);
  Deno.writeTextFileSync(STAMP, JSON.stringify({ digest, size, mtime: mtime?.getTime() }) + "\n");
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${TARGET.binary}: ${(size / 1e6).toFixed(1)} MB, ${seconds} s`);
}

/** Lays out what goes into the binary. No file keeps its time: the binary would carry it, and differ with each build. */
async function stage(record: BuildRecord): Promise<void> {
  removeStage();
  Deno.mkdirSync(join(ROOT, PROGRAM), { recursive: true });
  // Without the condition the bundler takes the wrapper of tslib that only Node can import: certificates could not be made.
  const bundling = ["--platform", "deno", "--conditions=module", "--code-splitting", "--outdir", PROGRAM];
  await run(["bundle", "--quiet", ...FROZEN, ...bundling, ...ENTRIES]);
  Deno.writeTextFileSync(join(ROOT, PROGRAM, "build.json"), JSON.stringify(record) + "\n");
  for (const path of EMBEDDED) {
    Deno.mkdirSync(join(ROOT, STAGE, dirname(path)), { recursive: true });
    Deno.copyFileSync(join(ROOT, path), join(ROOT, STAGE, path));
  }
  for (const path of inputFiles(join(ROOT, STAGE))) Deno.utimeSync(path, 0, 0);
}

async function compile(): Promise<void> {
  const [main = "", ...isolates] = ENTRIES.map((entry) => join(PROGRAM, entry.replace(/\.ts$/, ".js")));
  const embedded = [join(PROGRAM, "build.json"), ...EMBEDDED.map((path) => join(STAGE, path))];
  const includes = [...isolates, ...embedded].flatMap((path) => ["--include", path]);
  const alone = ["--no-config", "--no-lock", "--no-npm", "--node-modules-dir=none"];
  const fresh = OUT + ".new";
  const options = [...alone, "--target", TARGET.triple, V8_FLAGS, "--no-check", "--no-code-cache", ...PERMISSIONS, ...includes];
  await run(["compile", "--quiet", ...options, "--output", fresh, main], runtimeEnv());
  Deno.renameSync(fresh, OUT);
}

function removeStage(): void {
  if (existsSync(join(ROOT, STAGE))) Deno.removeSync(join(ROOT, STAGE), { recursive: true });
}

/** Where the runtime comes from, and a stack that is deep enough for what `deno compile` does with large packages. */
function runtimeEnv(): Record<string, string> {
  const own = join(ROOT, TARGET.runtime);
  const denort = Deno.env.get(TARGET.runtimeVariable) ?? (existsSync(own) ? own : undefined);
  // Without one the compiler would fetch it by itself, unchecked; only a person's own Deno for this machine may do so.
  if (denort === undefined && TARGET.name !== "linux-x64") stop(`${TARGET.runtime} is missing`, "tools/toolchain.sh --arm64");
  return { RUST_MIN_STACK: "16777216", ...(denort === undefined ? {} : { DENORT_BIN: denort }) };
}

function isCurrent(digest: string): boolean {
  try {
    const stamp = JSON.parse(Deno.readTextFileSync(STAMP));
    const { size, mtime } = Deno.statSync(OUT);
    return existsSync(PACKAGES) && stamp.digest === digest && stamp.size === size && stamp.mtime === mtime?.getTime();
  } catch {
    return false; // never built, or an interrupted build
  }
}

/** A digest over everything that can change the binary. */
function digestOfInputs(record: BuildRecord): string {
  const hash = createHash("sha256").update(JSON.stringify([Deno.version, TARGET, runtimeEnv(), record]));
  for (const root of [...ENTRIES, "src", "ffi", "deno.json", "deno.lock", "tools/build.ts", "tools/build_record.ts", ...EMBEDDED]) {
    for (const path of inputFiles(join(ROOT, root))) {
      hash.update(`${createHash("sha256").update(Deno.readFileSync(path)).digest("hex")} ${relative(ROOT, path)}\n`);
    }
  }
  return hash.digest("hex");
}

/** The files below a path in a fixed order, without tests and without the native library's source. */
function* inputFiles(path: string): Generator<string> {
  if (path === join(ROOT, "ffi", "native")) return;
  if (!Deno.statSync(path).isDirectory) {
    if (!isTestCode(path)) yield path;
    return;
  }
  for (const name of [...Deno.readDirSync(path)].map((entry) => entry.name).sort()) yield* inputFiles(join(path, name));
}

/** Runs one deno command and gives its standard output; ends this program when it fails. */
async function run(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: [...args], cwd: ROOT, env, stdin: "null" })
    .output();
  if (code !== 0) {
    console.error(new TextDecoder().decode(stderr));
    stop(`deno ${args[0]} ended with ${code}`, "its own words stand above");
  }
  return new TextDecoder().decode(stdout);
}

function stop(message: string, hint: string): never {
  console.error(`postern: error: ${message}\npostern: hint: ${hint}`);
  Deno.exit(1);
}

if (import.meta.main) await build();
