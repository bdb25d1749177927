/**
 * Who may import whom, and what a file looks like. The table is the one place for it; docs/ARCHITECTURE.md says why. Pure: paths and
 * texts come in, sentences about what is wrong go out. architecture_test.ts applies it to the tree. Rules that need the syntax tree are
 * in house_rules.ts.
 */

import { isTestCode } from "./suites.ts";

/** What every role is made of. */
const ROLE_PARTS = ["src/core", "src/io", "src/platform", "src/config"];
/** What roles share; nothing else below src/roles is shared. */
const SHARED_ROLES = ["src/roles/control", "src/roles/uplink"];

/**
 * Folder (or file) to what its files may import besides the folder's own and src/base: exact folders with all below them. Nothing that
 * is shipped can import tools or tests, since no row names them.
 */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "main.ts": ["src", "ffi", "deno.json"],
  "worker.ts": ["src", "ffi"],
  "src/base": [],
  "src/core/auth": [],
  "src/core/netstack": ["src/core/wire"],
  "src/core/quic": ["src/core/wire"],
  "src/core/ratelimit": [],
  "src/core/registry": [],
  "src/core/relay": ["src/core/wire", "src/core/auth", "src/core/registry"],
  "src/core/sched": [],
  "src/core/signal": ["src/core/wire"],
  "src/core/wire": [],
  "src/io": ["src/core/quic", "src/core/wire"],
  "src/platform": ["src/io"],
  "src/config": [],
  "src/roles/mod.ts": ["src/roles"],
  "src/roles/metrics.ts": ["src/roles"],
  "src/roles/control": ROLE_PARTS,
  "src/roles/uplink": [...ROLE_PARTS, "src/roles/control"],
  "src/roles/agent": [...ROLE_PARTS, ...SHARED_ROLES],
  "src/roles/connector": [...ROLE_PARTS, ...SHARED_ROLES],
  "src/roles/server": [...ROLE_PARTS, ...SHARED_ROLES],
  "src/ops": ["src/io", "src/platform", "src/config", "src/core/registry"],
  "src/diag": [...ROLE_PARTS, ...SHARED_ROLES],
  "src/cli": ["src"],
  "ffi": ["src/core/quic", "src/io"],
};

/** Files of interfaces, constants and names, which cost nothing to load: they may be imported past the folder's door. */
const INTERFACES = /^src\/(core\/quic\/engine|io\/(native(_[a-z]+)?|tls_end)|roles\/([a-z]+\/)?metrics)\.ts$/;

/** Code that decides knows no package and no part of the runtime. */
const PURE = ["src/core"];

const LINES_MAX = 400;
const TEST_LINES_MAX = 800;
/** Names that say nothing about what is inside. */
const EMPTY_WORDS = /(^|_)(utils?|helpers?|common|managers?|misc)(_|$)/;
/** Put together here, so that this file does not contain them. */
const UNFINISHED = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME"].join("|")})\\b`);

/** One import: paths from the repository's root; `to` may also be a specifier such as `npm:zod@4` or `node:path`. */
export type Import = { readonly from: string; readonly to: string; readonly typeOnly: boolean };

/** The row of the table that a path belongs to. */
export function unitOf(path: string): string | undefined {
  return Object.keys(MAY_IMPORT).find((unit) => isWithin(path, unit));
}

/** What is wrong with one import, in words, or undefined. `files` are all paths: a folder that has a mod.ts has a door. */
export function judgeImport({ from, to }: Pick<Import, "from" | "to">, files: ReadonlySet<string>): string | undefined {
  const unit = unitOf(from);
  if (unit === undefined) return "its folder is in no row of the table in tools/architecture.ts: add one, or move the file";
  if (/^[a-z]+:/.test(to)) {
    return PURE.some((folder) => isWithin(from, folder)) ? `code that decides imports no package, it imports ${to}` : undefined;
  }
  if (isTestCode(to)) return `shipped code imports nothing of the tests, it imports ${to}`;
  if (!isWithin(to, unit) && ![...MAY_IMPORT[unit] ?? [], "src/base"].some((folder) => isWithin(to, folder))) {
    return `${unit} may not import ${to}; ${mayWords(unit)}`;
  }
  return isByDoor(from, to, unit, files) ? undefined : `a folder's only door is its mod.ts, it imports ${to}`;
}

/** Into another row's folder only a mod.ts leads; inside the own one, folders without a door are part of the folder above. */
function isByDoor(from: string, to: string, unit: string, files: ReadonlySet<string>): boolean {
  if (to.endsWith("/mod.ts") || to.endsWith(".json") || INTERFACES.test(to)) return true;
  if (!isWithin(to, unit)) return false;
  for (let folder = folderOf(to); !isWithin(from, folder); folder = folderOf(folder)) {
    if (files.has(`${folder}/mod.ts`)) return false;
  }
  return true;
}

/** Files that import each other in a circle, each circle once. An import of types alone is none: nothing of it is left at run time. */
export function findCycles(imports: readonly Import[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to, typeOnly } of imports) if (!typeOnly) next.set(from, [...next.get(from) ?? [], to]);
  const cycles = new Map<string, string[]>();
  const finished = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path);
    if (at !== -1) {
      const circle = way.slice(at);
      cycles.set([...circle].sort().join(), circle);
    }
    if (at !== -1 || finished.has(path)) return;
    for (const one of next.get(path) ?? []) visit(one, [...way, path]);
    finished.add(path);
  };
  for (const path of [...next.keys()].sort()) visit(path, []);
  return [...cycles.values()];
}

/** What is wrong with one TypeScript file of ours: its name, its length, its opening. */
export function judgeFile(path: string, text: string): string[] {
  const wrong: string[] = [];
  const lines = text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
  const most = isTestCode(path) ? TEST_LINES_MAX : LINES_MAX;
  if (lines > most) wrong.push(`a file has at most ${most} lines, it has ${lines}: name its parts`);
  const words = path.replace(/(\.d)?\.ts$/, "").split("/");
  if (!words.every((word) => /^[a-z0-9]+(_[a-z0-9]+)*$/.test(word))) wrong.push("names of files and folders are snake_case");
  for (const word of words) if (EMPTY_WORDS.test(word)) wrong.push(`"${word}" says nothing: name it after what is inside`);
  // A test is introduced by the file that it lies beside.
  const isIntroduced = path.endsWith("_test.ts") || /^(#!.*\n)?\s*(\/\*|\/\/)/.test(text);
  if (!isIntroduced) wrong.push("a file opens with a comment: what it is, what flows through it");
  return wrong;
}

/** The lines of any text file that announce unfinished work. */
export function unfinishedLines(text: string): number[] {
  return text.split("\n").flatMap((line, at) => (UNFINISHED.test(line) ? [at + 1] : []));
}

function mayWords(unit: string): string {
  const allowed = MAY_IMPORT[unit] ?? [];
  return allowed.length === 0 ? "only src/base" : `only src/base, ${allowed.join(", ")}`;
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder + "/");
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
