/** Follows the log file of a child process: whole lines come out as they are written, those of JSON as records. */

/** One line of a role's log. */
export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly msg: string;
  /** When it was written, ISO 8601 with milliseconds. */
  readonly time: string;
  readonly [field: string]: unknown;
}

/** Lines that are kept of one file; a role that says more has a problem that its last lines show. */
const LINES_MAX = 2_000;
const READ_BYTES = 64 * 1024;
const POLL_MS = 200;

/** The lines of one file. */
export class LogFile implements Disposable {
  readonly path: string;
  /** Lines that are records. */
  readonly records: LogLine[] = [];
  /** Everything, for people. */
  readonly lines: string[] = [];
  readonly #file: Deno.FsFile;
  readonly #buffer = new Uint8Array(READ_BYTES);
  readonly #decoder = new TextDecoder();
  #partial = "";
  #isOpen = true;

  /** Creates the file, which the child then appends to. */
  constructor(path: string) {
    this.path = path;
    this.#file = Deno.openSync(path, { create: true, read: true, append: true, mode: 0o600 });
  }

  /** Takes in what was written since; nothing once it is disposed, for a timer that was due may come after its end. */
  read(): void {
    if (!this.#isOpen) return;
    for (let count; (count = this.#file.readSync(this.#buffer)) !== null && count > 0;) {
      const lines = (this.#partial + this.#decoder.decode(this.#buffer.subarray(0, count), { stream: true })).split("\n");
      this.#partial = (lines.pop() ?? "").slice(-READ_BYTES);
      for (const line of lines) this.#take(line);
    }
  }

  [Symbol.dispose](): void {
    this.#isOpen = false;
    this.#file.close();
  }

  #take(line: string): void {
    const record = parseRecord(line);
    if (record !== null) this.records.push(record);
    this.lines.push(record === null ? line : `${record.level} ${record.event}: ${record.msg}`);
    if (this.lines.length > LINES_MAX) this.lines.shift();
    if (this.records.length > LINES_MAX) this.records.shift();
  }
}

function parseRecord(line: string): LogLine | null {
  if (!line.startsWith("{")) return null;
  try {
    const value = JSON.parse(line);
    return typeof value.event === "string" && typeof value.msg === "string" ? value : null;
  } catch {
    return null;
  }
}

/**
 * Calls `onChange` whenever something in the folder has changed, until it is disposed. The kernel says so (inotify); where all its
 * watches are taken, or a file system that says nothing lies below, it is looked at now and then.
 */
export function watchFolder(path: string, onChange: () => void): Disposable {
  const timer = setInterval(onChange, POLL_MS);
  let watcher: Deno.FsWatcher | null = null;
  try {
    watcher = Deno.watchFs(path, { recursive: false });
    void tellChanges(watcher, onChange);
  } catch {
    // The timer is enough.
  }
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      watcher?.close();
      watcher = null;
    },
  };
}

async function tellChanges(watcher: Deno.FsWatcher, onChange: () => void): Promise<void> {
  for await (const _ of watcher) onChange();
}
