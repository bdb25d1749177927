/**
 * The test suites: where their files lie and how they run. Every `*_test.ts` belongs to exactly one; one that belongs to none is an
 * error, so no test is forgotten by lying in the wrong place.
 */
import { join } from "node:path";

/** How one suite runs. */
export type Suite = {
  readonly name: string;
  /** Folders below the repository's root. */
  readonly folders: readonly string[];
  /** So many files at a time: 1 for what shares the machine's state. Null: as many as there are cores. */
  readonly filesAtOnce: number | null;
  /** In an order that differs from run to run. */
  readonly shuffled: boolean;
  /**
   * Only what the binary itself may do (tools/build.ts), and sockets on this machine only. A suite that steers the machine, with networks
   * and processes of its own, is not limited.
   */
  readonly confined: boolean;
  /**
   * Its tests work with processes, sockets and the clock of a machine that others may keep busy. What fails among them is looked at once
   * more, by itself: when it passes then it is told as unstable, and does not fail the run.
   */
  readonly secondLook: boolean;
  /** Ended and failed after this long. */
  readonly secondsMax: number;
};

const QUICK = { filesAtOnce: null, shuffled: true, confined: true, secondLook: false, secondsMax: 600 };
const SERIAL = { filesAtOnce: 1, shuffled: false, confined: false, secondLook: true, secondsMax: 900 };

/** In the order in which they run: the quickest answer first. */
export const SUITES: readonly Suite[] = [
  { ...QUICK, name: "unit", folders: ["src", "ffi", "tools", "deploy"] },
  { ...QUICK, name: "vectors", folders: ["tests/vectors"] },
  { ...QUICK, name: "abi", folders: ["tests/abi"] },
  { ...QUICK, secondLook: true, name: "sim", folders: ["tests/sim"] },
  { ...QUICK, name: "fuzz", folders: ["tests/fuzz"] },
  { ...QUICK, confined: false, secondLook: true, name: "security", folders: ["tests/security"] },
  { ...SERIAL, name: "deploy", folders: ["tests/deploy"], secondsMax: 1500 },
  { ...SERIAL, name: "bench", folders: ["tests/bench"], secondsMax: 300 },
  { ...SERIAL, name: "interop", folders: ["tests/interop"] },
  // Each test has processes, ports and networks of its own, and waits for them more than it works.
  { ...SERIAL, filesAtOnce: 2, name: "e2e", folders: ["tests/e2e"], secondsMax: 1800 },
];

/** Tests, and what tests share: `name_fixture.ts` beside them. Never shipped; shipped code imports neither. */
export function isTestCode(path: string): boolean {
  return /_(test|fixture)\.ts$/.test(path) || path.startsWith("tests/");
}

/** Folders that hold no sources of ours. */
const SKIPPED = new Set(["node_modules", ".git", ".tools", "dist", "target", "coverage"]);

/** The files below a folder that are wanted, in a fixed order, relative to `root`; none when the folder does not exist. */
export function sourceFiles(root: string, wanted: (path: string) => boolean, folder = ""): string[] {
  const found: string[] = [];
  const visit = (path: string): void => {
    for (const entry of entries(join(root, path))) {
      const inner = path === "" ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory && !SKIPPED.has(entry.name)) visit(inner);
      else if (entry.isFile && wanted(inner)) found.push(inner);
    }
  };
  visit(folder);
  return found.sort();
}

/** The test files below a folder. */
export function testFiles(root: string, folder: string): string[] {
  return sourceFiles(root, (path) => path.endsWith("_test.ts"), folder);
}

/** The test files that no suite would run. */
export function strayFiles(root: string, suites: readonly Suite[] = SUITES): string[] {
  const folders = suites.flatMap((suite) => suite.folders);
  return testFiles(root, "").filter((file) => !folders.some((folder) => file.startsWith(folder + "/")));
}

function entries(path: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(path)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
