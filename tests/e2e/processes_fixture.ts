/**
 * The three roles as processes of the compiled binary: started on free ports, heard through their JSON log, ended by their own
 * process id. Whatever a test does, what it started is gone when its `await using` ends.
 */
import { join, resolve } from "node:path";
import { linesOf } from "../../tools/test_output.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
export const BINARY = join(ROOT, "dist", "postern");

/** Generous: the machine may be busy with other things. */
const WAIT_MS = 60_000;
const KILL_AFTER_MS = 8_000;

/** One line of a role's log. */
export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** What a log line must have to be the one that is waited for. */
export type LogMatch = Readonly<Record<string, string | number | boolean>>;

/** How a process ended. */
export interface ProcessEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  /** What it said that was no log line: the words for people. */
  readonly said: string;
  /** From the signal to the end. */
  readonly ms: number;
}

export class RoleProcess implements AsyncDisposable {
  readonly pid: number;
  /** Where it keeps its admin socket, unless a flag says another place. */
  readonly runtimeFolder: string;
  /** The log so far. */
  readonly lines: LogLine[] = [];
  readonly #args: readonly string[];
  readonly #child: Deno.ChildProcess;
  readonly #status: Promise<Deno.CommandStatus>;
  readonly #stdout: Promise<string>;
  readonly #reading: Promise<void>;
  #said = "";
  #hasEnded = false;
  /** Its log has been read to the end. */
  #isOver = false;
  #wake = Promise.withResolvers<void>();

  /** `wrapper`: a command that ends by replacing itself with the one behind it. */
  constructor(
    args: readonly string[],
    cwd: string,
    env: Readonly<Record<string, string>> = {},
    wrapper: readonly string[] = [],
  ) {
    this.#args = args;
    // Each has its own place for sockets: two roles of a kind must not meet there.
    this.runtimeFolder = env["XDG_RUNTIME_DIR"] ?? Deno.makeTempDirSync({ dir: cwd, prefix: "run-" });
    const [program = BINARY, ...words] = [...wrapper, BINARY, ...args];
    this.#child = new Deno.Command(program, {
      args: words,
      cwd,
      clearEnv: true,
      env: { HOME: cwd, NO_COLOR: "1", ...env, XDG_RUNTIME_DIR: this.runtimeFolder },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#child.pid;
    this.#stdout = new Response(this.#child.stdout).text();
    this.#reading = this.#read();
    this.#status = this.#child.status.then((status) => {
      this.#hasEnded = true;
      return status;
    });
  }

  /** The first line of this event with these fields, from line `from` on; waits for it. Throws when the process ends without it. */
  async until(
    event: string,
    match: LogMatch = {},
    options: { readonly from?: number; readonly ms?: number } = {},
  ): Promise<LogLine> {
    const { ms = WAIT_MS } = options;
    const deadline = performance.now() + ms;
    for (let at = options.from ?? 0;;) {
      for (; at < this.lines.length; at++) {
        const line = this.lines[at];
        if (line !== undefined && line.event === event && matches(line, match)) return line;
      }
      const left = deadline - performance.now();
      const wanted = `${event} ${JSON.stringify(match)}`;
      if (this.#isOver) throw new Error(`${this.#title} ended without ${wanted}\n${this.tail()}`);
      if (left <= 0) throw new Error(`${this.#title} did not log ${wanted} within ${ms} ms\n${this.tail()}`);
      await soonest(this.#wake.promise, Math.min(left, 500));
    }
  }

  /** The lines of an event so far. */
  linesOf(event: string, match: LogMatch = {}): LogLine[] {
    return this.lines.filter((line) => line.event === event && matches(line, match));
  }

  /** The ports that it bound, in the order of its flags. */
  async ports(): Promise<number[]> {
    const ready = await this.until("ready");
    const listens = Object.entries(ready).filter(([key]) => key.startsWith("listen_"));
    return listens.map(([, text]) => Number(String(text).slice(String(text).lastIndexOf(":") + 1)));
  }

  /** The end of its log, for a failure's text. */
  tail(): string {
    return [...this.lines.slice(-12).map((line) => "  " + JSON.stringify(line)), this.#said].join("\n");
  }

  /** Resident memory in MiB. */
  residentMiB(): number {
    const status = Deno.readTextFileSync(`/proc/${this.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? NaN) / 1024;
  }

  /** Open file descriptors. */
  descriptors(): number {
    return [...Deno.readDirSync(`/proc/${this.pid}/fd`)].length;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Sends a signal and goes on. A process that is gone already gets none. */
  signal(signal: Deno.Signal): void {
    if (this.#hasEnded) return;
    try {
      this.#child.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** Waits for its end, which must come by itself. */
  async end(ms = WAIT_MS): Promise<ProcessEnd> {
    const started = performance.now();
    const timer = setTimeout(() => this.signal("SIGKILL"), ms);
    const status = await this.#status;
    clearTimeout(timer);
    await this.#reading;
    const code = status.signal === null ? status.code : null;
    return { code, stdout: await this.#stdout, said: this.#said, ms: performance.now() - started };
  }

  /** Sends the signal and waits for the end. */
  async stop(signal: Deno.Signal = "SIGTERM", ms = WAIT_MS): Promise<ProcessEnd> {
    this.signal(signal);
    return await this.end(ms);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGTERM");
    // The second signal ends what does not want to end gracefully; the last one is the kernel's.
    const timers = [
      setTimeout(() => this.signal("SIGTERM"), 200),
      setTimeout(() => this.signal("SIGKILL"), KILL_AFTER_MS),
    ];
    await this.#status;
    for (const timer of timers) clearTimeout(timer);
    await Promise.all([this.#reading, this.#stdout]);
  }

  get #title(): string {
    return `postern ${this.#args[0] ?? ""} (${this.pid})`;
  }

  async #read(): Promise<void> {
    for await (const text of linesOf(this.#child.stderr)) {
      const line = parseLine(text);
      if (line === null) this.#said += text + "\n";
      else this.lines.push(line);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    }
    this.#isOver = true;
    this.#wake.resolve();
  }
}

function parseLine(text: string): LogLine | null {
  if (!text.startsWith("{")) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function matches(line: LogLine, match: LogMatch): boolean {
  return Object.entries(match).every(([key, value]) => line[key] === value);
}

/** Waits for the promise, but no longer than that. */
async function soonest(promise: Promise<void>, ms: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([promise, late]);
  clearTimeout(timer);
}

/** Runs a command of the binary to its end, which must come within `ms`. */
export async function runPostern(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
  ms = WAIT_MS,
): Promise<ProcessEnd & { readonly lines: readonly LogLine[] }> {
  await using process = new RoleProcess(args, cwd, env);
  const end = await process.end(ms);
  return { ...end, lines: process.lines };
}

/** A folder of its own, removed at the end. */
export class TemporaryFolder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "postern-e2e-" });

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
