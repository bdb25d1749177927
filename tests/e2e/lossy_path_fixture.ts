/** Starts `lossy_path.ts` for a test. */
import { join } from "node:path";
import { linesOf } from "../../tools/test_output.ts";

/** Shares of the packets, 0 to 1, of each direction; 0 when they are not there. */
export interface PathTrouble {
  readonly loss?: number;
  /** Of one direction only, instead. */
  readonly lossUp?: number;
  readonly lossDown?: number;
  readonly duplicate?: number;
  /** Held back for some milliseconds, so that others overtake. */
  readonly reorder?: number;
  readonly seed: number;
  /** From then to then the server sees the client at another address, and what it sends to the one before is lost. */
  readonly rebindEveryMs?: number;
  readonly dark?: Darkness;
  /** Of each direction; without it there is no bound. */
  readonly bytesPerSecond?: number;
  /** What waits in front of the line at most; more is lost. */
  readonly queueBytes?: number;
  /** On the line, one way. */
  readonly delayMs?: number;
}

/** Nothing passes for a while, each time when so many bytes have passed since the path was light. */
export interface Darkness {
  readonly afterBytes: number;
  readonly forMs: number;
  /** Default: without end. */
  readonly times?: number;
}

export interface PathCounts {
  readonly passed: number;
  readonly lost: number;
  readonly doubled: number;
  readonly delayed: number;
  readonly rebinds: number;
  readonly darkened: number;
}

const NOTHING: PathCounts = { passed: 0, lost: 0, doubled: 0, delayed: 0, rebinds: 0, darkened: 0 };

export class LossyPath implements AsyncDisposable {
  /** Send here. */
  readonly address: string;
  /** What it did, a moment ago. */
  counts: PathCounts = NOTHING;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  private constructor(port: number, child: Deno.ChildProcess, lines: AsyncIterableIterator<string>) {
    this.address = `127.0.0.1:${port}`;
    this.#child = child;
    this.#reading = this.#read(lines);
  }

  /** Stands in front of the server at `to`. */
  static async start(to: string, trouble: PathTrouble): Promise<LossyPath> {
    const script = join(import.meta.dirname ?? ".", "lossy_path.ts");
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", script, JSON.stringify({ to, ...trouble })],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const lines = linesOf(child.stdout);
    const { value } = await lines.next();
    return new LossyPath(JSON.parse(value ?? "{}").port, child, lines);
  }

  /** Nothing passes until {@linkcode resume}: what comes waits for the path, as far as the kernel has room. */
  pause(): void {
    this.#child.kill("SIGSTOP");
  }

  resume(): void {
    this.#child.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    this.#child.kill("SIGCONT");
    await this.#child.status;
    await this.#reading;
  }

  async #read(lines: AsyncIterableIterator<string>): Promise<void> {
    for await (const line of lines) this.counts = JSON.parse(line);
  }
}
