/**
 * The processes of the demonstration: started from this very program, heard through their log files, ended by their process ids.
 * Every wait of the demonstration is guarded by {@linkcode Crew.guard}: it ends when a process ends that should not, or when
 * somebody presses Ctrl-C.
 */
import { messageOf, sanitizeForLog } from "../../base/mod.ts";
import { LogFile, type LogLine, watchFolder } from "./log_follower.ts";

/** For each wait of the demonstration; a loaded machine needs seconds. */
export const WAIT_MS = 30_000;
/** From SIGTERM to the end of a role: longer than its drain time. */
const STOP_MS = 8_000;
const TAIL_LINES = 8;
const LINE_CHARACTERS_MAX = 300;

/** A step of the demonstration went wrong. */
export class DemoFailure extends Error {
  readonly child: Child | null;
  readonly hint: string;

  constructor(message: string, child: Child | null = null, hint = "") {
    super(message);
    this.name = "DemoFailure";
    this.child = child;
    this.hint = hint;
  }
}

/** One process. */
export class Child {
  readonly name: string;
  readonly pid: number;
  readonly log: LogFile;
  /** `performance.now()` of its start. */
  readonly startedAt = performance.now();
  readonly status: Promise<Deno.CommandStatus>;
  /** Null while it runs. */
  end: Deno.CommandStatus | null = null;
  readonly #process: Deno.ChildProcess;
  #woken = Promise.withResolvers<void>();

  constructor(name: string, process: Deno.ChildProcess, log: LogFile) {
    this.name = name;
    this.pid = process.pid;
    this.log = log;
    this.#process = process;
    this.status = process.status.then((status) => {
      this.end = status;
      this.wake();
      return status;
    });
  }

  /** Looks into its log again. */
  wake(): void {
    this.log.read();
    this.#woken.resolve();
    this.#woken = Promise.withResolvers();
  }

  /** The first record of this event with these fields; waits for it. Rejects when the process ends without it. */
  async until(event: string, fields: Readonly<Record<string, string>> = {}): Promise<LogLine> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const { promise } = this.#woken;
      const found = this.log.records.find((record) =>
        record.event === event && Object.entries(fields).every(([key, value]) => record[key] === value)
      );
      if (found !== undefined) return found;
      if (this.end !== null) throw new DemoFailure(`the ${this.name} ended with code ${this.end.code}`, this);
      await within(promise, deadline - performance.now(), () => new DemoFailure(`the ${this.name} did not say "${event}"`, this));
    }
  }

  /** The ports of its `ready` event, in the order of its settings. */
  async ports(): Promise<number[]> {
    const ready = await this.until("ready");
    return Object.keys(ready).filter((key) => key.startsWith("listen_")).map((key) => Number(/\d+$/.exec(String(ready[key]))?.[0]));
  }

  /** The end of its log, harmless for a terminal; from the error that ended it, if one did. */
  tail(): string[] {
    const { lines } = this.log;
    const error = lines.findIndex((line) => line.startsWith("postern: error: "));
    const last = error < 0 ? lines.slice(-TAIL_LINES) : lines.slice(error, error + TAIL_LINES);
    return last.map((line) => sanitizeForLog(line, LINE_CHARACTERS_MAX).replaceAll('\\"', '"'));
  }

  /** Asks it to end, and makes it when it does not. Returns whether it ended by itself, with code 0. */
  async stop(): Promise<boolean> {
    this.#signal("SIGTERM");
    const timer = setTimeout(() => this.#signal("SIGKILL"), STOP_MS);
    const { success } = await this.status;
    clearTimeout(timer);
    return success;
  }

  #signal(signal: Deno.Signal): void {
    if (this.end !== null) return;
    try {
      this.#process.kill(signal);
    } catch {
      // It ended in this moment.
    }
  }
}

export interface CrewOptions {
  /** Where the log files go. */
  readonly folder: string;
  /** Whether the processes shall outlive this one. */
  readonly isKept: boolean;
  /** The environment of this process. */
  readonly environment: Readonly<Record<string, string>>;
}

export class Crew implements AsyncDisposable {
  readonly #options: CrewOptions;
  readonly #children: Child[] = [];
  readonly #watcher: Disposable;
  readonly #trouble = Promise.withResolvers<never>();
  /** Processes that must live on; others may end. */
  readonly #needed = new Set<Child>();

  constructor(options: CrewOptions) {
    this.#options = options;
    this.#watcher = watchFolder(options.folder, () => {
      for (const child of this.#children) child.wake();
    });
    this.#trouble.promise.catch(() => {});
  }

  /** The processes that run, in the order of their start. */
  get living(): Child[] {
    return this.#children.filter((child) => child.end === null);
  }

  get pids(): number[] {
    return this.living.map((child) => child.pid);
  }

  /** Starts `postern` with these arguments. With `isNeeded` its end is the demonstration's. */
  start(name: string, args: readonly string[], isNeeded: boolean): Child {
    const { folder, isKept, environment } = this.#options;
    const log = new LogFile(`${folder}/${name}.log`);
    // The shell opens the log and becomes the program: a pipe to us would break when we leave it running.
    const shell = ["-c", 'log=$1; shift; exec "$@" 2>>"$log"', "sh", log.path, ...ownCommand(), ...args];
    let process: Deno.ChildProcess;
    try {
      process = new Deno.Command("/bin/sh", {
        args: shell,
        clearEnv: true,
        env: childEnvironment(environment, folder),
        stdin: "null",
        stdout: "null",
        stderr: "null",
        detached: isKept,
      }).spawn();
    } catch (error) {
      throw new DemoFailure(`the ${name} could not be started: ${messageOf(error)}`, null, "the demonstration needs /bin/sh");
    }
    const child = new Child(name, process, log);
    this.#children.push(child);
    if (isNeeded) this.#needed.add(child);
    child.status.then((status) => {
      if (this.#needed.has(child)) this.#trouble.reject(new DemoFailure(`the ${name} ended with code ${status.code}`, child));
    });
    return child;
  }

  /** Ends every guarded wait with this error. */
  interrupt(error: Error): void {
    this.#trouble.reject(error);
  }

  /** The promise, or what went wrong meanwhile. */
  async guard<T>(work: Promise<T>): Promise<T> {
    work.catch(() => {});
    return await Promise.race([work, this.#trouble.promise]);
  }

  /** Ends all processes, last started first. Returns those that had to be made to, or ended with an error. */
  async stop(): Promise<Child[]> {
    const wanted = [...this.#needed].filter((child) => child.end === null);
    this.#needed.clear();
    const ends = await Promise.all(this.#children.toReversed().map(async (child) => ({ child, isGraceful: await child.stop() })));
    return ends.filter(({ child, isGraceful }) => wanted.includes(child) && !isGraceful).map(({ child }) => child);
  }

  /** Stops hearing the processes; they go on. */
  leave(): void {
    this.#needed.clear();
    this.#watcher[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.leave();
    for (const child of this.#children) child.log[Symbol.dispose]();
  }
}

/** How this program is started: as the binary, or by the runtime with its main module. */
function ownCommand(): string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  return [Deno.execPath(), "run", "--quiet", "--no-check", "--allow-all", Deno.mainModule];
}

/** What is set for other roles on this machine must not reach these: no POSTERN_*, and a place of their own for sockets. */
function childEnvironment(environment: Readonly<Record<string, string>>, folder: string): Record<string, string> {
  const kept = Object.entries(environment).filter(([name]) => !/^(POSTERN_|RUST_LOG$|NOTIFY_SOCKET$|WATCHDOG_)/.test(name));
  return { ...Object.fromEntries(kept), XDG_RUNTIME_DIR: folder, NO_COLOR: "1" };
}

/** The promise, or after `ms` the error. */
export async function within<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeout.reject(late()), Math.max(0, ms));
  try {
    return await Promise.race([work, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}
