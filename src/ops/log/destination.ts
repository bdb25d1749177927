/**
 * Where lines go: standard error, or a file of mode 0600 that can be reopened after logrotate moved it. Writing never throws: a
 * line that cannot be written (disk full, reader gone) is counted, and the process goes on.
 */
import { messageOf, PosternError } from "../../base/mod.ts";

export interface LogDestination {
  /** Writes a whole line, newline included. Returns whether all of it was taken. */
  write(line: string): boolean;
  /** Closes the file and opens its path again; on failure the old one stays in use and the error is thrown. */
  reopen(): void;
  close(): void;
}

const encoder = new TextEncoder();

/** Standard error: nothing to reopen and never closed. */
export function stderrDestination(): LogDestination {
  return {
    write: (line) => writeAll(Deno.stderr, encoder.encode(line)),
    reopen: () => {},
    close: () => {},
  };
}

/** Appends to `path`, created with mode 0600. A file that others may read or write is narrowed to 0600 when it is opened. */
export function fileDestination(path: string): LogDestination {
  let file = openLogFile(path);
  return {
    write: (line) => writeAll(file, encoder.encode(line)),
    reopen: () => {
      const next = openLogFile(path);
      file.close();
      file = next;
    },
    close: () => file.close(),
  };
}

function openLogFile(path: string): Deno.FsFile {
  try {
    const file = Deno.openSync(path, { append: true, create: true, mode: 0o600 });
    const stat = file.statSync();
    if (stat.isFile && stat.mode !== null && (stat.mode & 0o077) !== 0) Deno.chmodSync(path, 0o600);
    return file;
  } catch (error) {
    throw new PosternError(`cannot open the log file ${path}: ${messageOf(error)}`, {
      code: "log-file",
      hint: "give --log-file a path in a directory that this user may write",
      cause: error,
    });
  }
}

function writeAll(target: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): boolean {
  try {
    for (let at = 0; at < bytes.length;) at += target.writeSync(bytes.subarray(at));
    return true;
  } catch {
    return false;
  }
}
