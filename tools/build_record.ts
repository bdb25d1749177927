/**
 * What a build says of itself: the commit that it was made from and the versions of what is linked into the native library. The record
 * lies in the binary beside the program, and `postern version` shows it. Also which npm packages went into the bundle.
 */
import { join } from "node:path";

/** Shown by `postern version` in this order. */
export type BuildRecord = {
  /** The commit's full name, with `-dirty` behind it when tracked files differ from it; `unknown` outside of a repository. */
  readonly commit: string;
  readonly quiche: string;
  readonly boringssl: string;
};

/** The record for the checkout at `root`. $POSTERN_COMMIT names the commit where there is no repository, as in an export. */
export async function buildRecord(root: string): Promise<BuildRecord> {
  const named = Deno.env.get("POSTERN_COMMIT") ?? "";
  const { quiche, boringssl } = JSON.parse(Deno.readTextFileSync(join(root, "lib", "components.json")));
  return { commit: named === "" ? await commitOf(root) : named, quiche, boringssl };
}

/** Seconds since the epoch that all files of a release carry: `named`, else the commit's time, else 0. */
export async function sourceDate(root: string, named = Deno.env.get("SOURCE_DATE_EPOCH")): Promise<number> {
  const text = named ?? await git(root, "log", "-1", "--format=%ct") ?? "0";
  if (!/^\d{1,11}$/.test(text)) throw new Error(`SOURCE_DATE_EPOCH must be seconds since 1970, and is "${text}"`);
  return Number(text);
}

/**
 * The npm packages of which a bundle has something, as sorted `name@version`. The bundler names each module's file in a comment above
 * it; a package whose modules were all left out is not named.
 */
export function bundledPackages(folder: string): string[] {
  const found = new Set<string>();
  for (const { name } of Deno.readDirSync(folder)) {
    if (!name.endsWith(".js")) continue;
    for (const [, scope = "", rest = ""] of Deno.readTextFileSync(join(folder, name)).matchAll(MODULE_OF_PACKAGE)) {
      found.add(scope === "" ? rest : `${scope}/${rest}`);
    }
  }
  return [...found].sort();
}

/** `// node_modules/.deno/@scope+name@1.2.3/node_modules/...`; behind the version there may be one of a peer, `_peer@...`. */
const MODULE_OF_PACKAGE = /^\s*\/\/ node_modules\/\.deno\/(?:(@[^+/]+)\+)?([^@/]+@[^_/]+)/gm;

async function commitOf(root: string): Promise<string> {
  const commit = await git(root, "rev-parse", "HEAD");
  if (commit === null) return "unknown";
  const changes = await git(root, "status", "--porcelain", "--untracked-files=no");
  return changes === "" ? commit : `${commit}-dirty`;
}

/** What git says, or null when it cannot. */
async function git(root: string, ...args: string[]): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command("git", { args: ["-C", root, ...args], stdin: "null", stderr: "null" })
      .output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null; // there is no git
  }
}
