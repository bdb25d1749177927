/**
 * Builds dist/postern: `deno run -A tools/build.ts [--force]`. One file that runs anywhere without the checkout: the program, the npm
 * packages that it imports (and no others: packages that only tests use stay outside) and the native library.
 *
 * A digest over all that goes in is kept beside the binary; when nothing has changed the build is over in a moment. The types are
 * not checked here, that is `make check`'s part.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { basename, extname, join, relative, resolve } from "node:path";
import { isTestCode } from "./suites.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const OUT = join(ROOT, "dist", "postern");
const STAMP = join(ROOT, "dist", "postern.stamp.json");
const NATIVE = "lib/linux-x64/libpostern_native.so";

/** Modules that start an isolate of their own. */
const ENTRIES = ["main.ts", "worker.ts"];

/** What the binary carries besides its modules: files and folders, read at run time by way of `import.meta.dirname`. */
const EMBEDDED = [NATIVE];

/**
 * The program's permissions, by name. Paths, hosts and programs come from its configuration, so they cannot be listed here; and code
 * that may call a native library is confined by the operating system only (deploy/ has the sandboxes for that). Yet this is less than
 * everything: to named permissions the runtime refuses /proc, /sys and most of /dev, so that no path taken from a configuration or a
 * request can lead there (what the program itself needs of them it asks through libc); it also refuses to ask on the terminal and to
 * import code from the network.
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

/** Of an npm package only what runs is embedded; the rest would also bring this machine's paths into the binary. */
const RUNNABLE = new Set([".js", ".mjs", ".cjs", ".json", ".wasm"]);

/** The part of `deno info --json` that is read here. */
export type Graph = {
  readonly modules: readonly { readonly npmPackage?: string }[];
  readonly npmPackages?: Readonly<
    Record<string, { readonly name: string; readonly version: string; readonly dependencies: readonly string[] }>
  >;
};

/** The packages, as `name@version`, that these module graphs can reach. */
export function packagesReached(graphs: readonly Graph[]): Set<string> {
  const reached = new Set<string>();
  for (const { modules, npmPackages = {} } of graphs) {
    const seen = new Set<string>();
    const open = modules.flatMap((module) => module.npmPackage ?? []);
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      const found = npmPackages[id];
      if (found === undefined || seen.has(id)) continue;
      seen.add(id);
      reached.add(`${found.name}@${found.version}`);
      open.push(...found.dependencies);
    }
  }
  return reached;
}

/** Name and version of a folder in node_modules/.deno: `@scope+name@1.2.3_1` is `@scope/name@1.2.3`. */
export function packageOfFolder(folder: string): string {
  return folder.replace(/^(@[^+]+)\+/, "$1/").replace(/^(.+@[^_]+)_.*$/, "$1");
}

/** In CI the lock file must already say everything; a person's build may add what a new import needs. */
const FROZEN = Deno.env.get("CI") === "true" ? ["--frozen"] : [];

async function build(): Promise<void> {
  for (const entry of ENTRIES) if (!existsSync(join(ROOT, entry))) stop(`${entry} is missing`, "this is not a complete checkout");
  if (!existsSync(join(ROOT, NATIVE))) stop(`${NATIVE} is missing`, "make native builds it");
  const digest = digestOfInputs();
  if (!Deno.args.includes("--force") && isCurrent(digest)) return console.log("dist/postern is up to date");
  const started = performance.now();
  await run(["install", "--quiet", ...FROZEN]);
  const graphs: Graph[] = [];
  for (const entry of ENTRIES) graphs.push(JSON.parse(await run(["info", "--json", ...FROZEN, entry])));
  const keep = packagesReached(graphs);
  const fresh = OUT + ".new";
  Deno.mkdirSync(join(ROOT, "dist"), { recursive: true });
  const includes = [...ENTRIES.slice(1), ...EMBEDDED].flatMap((path) => ["--include", path]);
  const excludes = [...unwantedPaths(keep)].flatMap((path) => ["--exclude", relative(ROOT, path)]);
  await run(
    [
      "compile",
      "--quiet",
      ...FROZEN,
      "--no-check",
      "--no-code-cache",
      ...PERMISSIONS,
      ...includes,
      ...excludes,
      "--output",
      fresh,
      "main.ts",
    ],
    runtimeEnv(),
  );
  Deno.renameSync(fresh, OUT);
  const { size, mtime } = Deno.statSync(OUT);
  Deno.writeTextFileSync(STAMP, JSON.stringify({ digest, size, mtime: mtime?.getTime() }) + "\n");
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`dist/postern: ${(size / 1e6).toFixed(1)} MB, ${keep.size} npm packages, ${seconds} s`);
}

/** Where the runtime comes from, and a stack that is deep enough for what `deno compile` does with large packages. */
function runtimeEnv(): Record<string, string> {
  const own = join(ROOT, ".tools", "bin", "denort");
  const denort = Deno.env.get("DENORT_BIN") ?? (existsSync(own) ? own : undefined);
  return { RUST_MIN_STACK: "16777216", ...(denort === undefined ? {} : { DENORT_BIN: denort }) };
}

function isCurrent(digest: string): boolean {
  try {
    const stamp = JSON.parse(Deno.readTextFileSync(STAMP));
    const { size, mtime } = Deno.statSync(OUT);
    return stamp.digest === digest && stamp.size === size && stamp.mtime === mtime?.getTime();
  } catch {
    return false; // never built, or an interrupted build
  }
}

/** A digest over everything that can change the binary. */
function digestOfInputs(): string {
  const hash = createHash("sha256").update(JSON.stringify([Deno.version, runtimeEnv()]));
  for (const root of [...ENTRIES, "src", "ffi", "deno.json", "deno.lock", "tools/build.ts", ...EMBEDDED]) {
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

/** What `deno compile` would embed from node_modules although the program cannot reach it. */
function* unwantedPaths(keep: ReadonlySet<string>): Generator<string> {
  const keepNames = new Set([...keep].map((id) => id.slice(0, id.lastIndexOf("@"))));
  const store = join(ROOT, "node_modules", ".deno");
  yield* linksNotIn(keepNames, join(ROOT, "node_modules"));
  yield* linksNotIn(keepNames, join(store, "node_modules"));
  for (const { name, isFile } of Deno.readDirSync(store)) {
    if (name === "node_modules") continue;
    if (isFile || !keep.has(packageOfFolder(name))) yield join(store, name);
    else yield* notRunnable(join(store, name));
  }
}

/** The packages in a node_modules folder, `@scope/name` too, whose name is not in `names`. */
function* linksNotIn(names: ReadonlySet<string>, folder: string, scope = ""): Generator<string> {
  for (const { name, isSymlink, isFile } of Deno.readDirSync(folder)) {
    if (isFile) yield join(folder, name);
    else if (name.startsWith("@") && !isSymlink) yield* linksNotIn(names, join(folder, name), name + "/");
    else if (!name.startsWith(".") && isSymlink && !names.has(scope + name)) yield join(folder, name);
  }
}

function* notRunnable(folder: string): Generator<string> {
  for (const { name, isDirectory, isFile } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* notRunnable(join(folder, name));
    else if (isFile && !RUNNABLE.has(extname(basename(name)))) yield join(folder, name);
  }
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
