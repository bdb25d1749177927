/**
 * Writes a set of files into a directory so that nothing is half done: either nothing existed before and all are new, or (with
 * `force`) each old file is replaced by renaming a complete new one over it. Private keys have mode 0600 from their first byte.
 */

import { messageOf, PosternError } from "../../base/mod.ts";

/** One file of the set. */
export interface PemFile {
  /** Below the directory, with `/`. */
  readonly name: string;
  readonly text: string;
  readonly isPrivate: boolean;
}

/** Writes all files, or none of them if one is there already and `force` is off. Rejects with exit code 1. */
export async function writePemFiles(directory: string, files: readonly PemFile[], force: boolean): Promise<void> {
  const paths = files.map((file) => joinPath(directory, file.name));
  if (!force) {
    const present: string[] = [];
    for (const path of paths) if (await exists(path)) present.push(path);
    if (present.length > 0) {
      throw new PosternError(`${present.join(", ")} ${present.length === 1 ? "is" : "are"} there already`, {
        code: "file-exists",
        hint: "choose another directory, or replace the whole set with --force",
      });
    }
  }
  const created: string[] = [];
  try {
    for (const [i, file] of files.entries()) {
      const path = paths[i] ?? "";
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")) || "/", { recursive: true });
      const first = force ? `${path}.${crypto.randomUUID()}.new` : path;
      await writeNew(first, file);
      created.push(first);
      if (force) {
        await Deno.rename(first, path);
        created.pop();
      }
    }
  } catch (cause) {
    for (const path of created) await Deno.remove(path).catch(() => {});
    if (cause instanceof PosternError) throw cause;
    throw new PosternError(`Cannot write to ${directory}: ${messageOf(cause)}`, {
      code: "file-unwritable",
      hint: "choose a directory that you may write to",
      cause,
    });
  }
}

/** Creates the file with its final mode; never opens one that exists (O_EXCL), so no foreign file or link is followed. */
async function writeNew(path: string, file: PemFile): Promise<void> {
  using handle = await Deno.open(path, { write: true, createNew: true, mode: file.isPrivate ? 0o600 : 0o644 });
  const bytes = new TextEncoder().encode(file.text);
  for (let written = 0; written < bytes.length;) written += await handle.write(bytes.subarray(written));
  await handle.sync();
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return false;
    throw new PosternError(`Cannot look at ${path}: ${messageOf(cause)}`, { code: "file-unreadable", cause });
  }
}

/** `directory/name`, where the directory may end in `/`. */
export function joinPath(directory: string, name: string): string {
  return directory.endsWith("/") ? directory + name : `${directory}/${name}`;
}
