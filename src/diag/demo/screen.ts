/**
 * What the person sees while the demonstration runs: one line for each step, with a spinner or a bar on a terminal while it
 * goes on, plain lines elsewhere.
 */
import { formatBytes } from "./format.ts";

/** Where the words go. */
export interface DemoOutput {
  readonly write: (text: string) => void;
  readonly isTerminal: boolean;
  /** Width of the terminal in columns. */
  readonly columns: () => number;
  readonly paint: DemoPaint;
}

/** Colours; each gives its text back as it is where no colours are wanted. */
export interface DemoPaint {
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
  readonly cyan: (text: string) => string;
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
}

/** A running step says how far it is. */
export interface Step {
  /** With "quiet" only on a terminal. */
  readonly progress: (doneBytes: number, totalBytes: number, plainly?: "quiet") => void;
}

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME_MS = 80;
const NAME_COLUMNS = 16;
const BAR_COLUMNS = 22;
const CLEAR_LINE = "\r\x1b[K";

export class Screen {
  readonly #output: DemoOutput;
  #isDrawn = false;

  constructor(output: DemoOutput) {
    this.#output = output;
  }

  get paint(): DemoPaint {
    return this.#output.paint;
  }

  line(text = ""): void {
    this.#clear();
    this.#output.write(text + "\n");
  }

  /** Runs one step and shows how it went; `work` returns its result and what to say of it. */
  async step<T>(name: string, work: (step: Step) => Promise<readonly [value: T, detail: string]>): Promise<T> {
    const { isTerminal, paint } = this.#output;
    const started = performance.now();
    let done = 0, total = 0;
    const progress: Step["progress"] = (doneBytes, totalBytes, plainly) => {
      if (total === 0 && !isTerminal && plainly !== "quiet") {
        this.line(`  ...  ${name.padEnd(NAME_COLUMNS)} ${formatBytes(totalBytes)}`);
      }
      [done, total] = [doneBytes, totalBytes];
    };
    const draw = () => {
      const frame = FRAMES[Math.floor((performance.now() - started) / FRAME_MS) % FRAMES.length] ?? "";
      const bar = total === 0 ? "" : formatBar(done, total, performance.now() - started);
      this.#draw(frame, ` ${name.padEnd(NAME_COLUMNS)} ${bar}`);
    };
    const timer = isTerminal ? setInterval(draw, FRAME_MS) : null;
    if (isTerminal) draw();
    try {
      const [value, detail] = await work({ progress });
      this.line(`  ${paint.green("ok")}   ${name.padEnd(NAME_COLUMNS)} ${detail}`);
      return value;
    } catch (error) {
      this.line(`  ${paint.red("FAIL")} ${name}`);
      throw error;
    } finally {
      if (timer !== null) clearInterval(timer);
    }
  }

  #draw(frame: string, text: string): void {
    // A line that wraps could not be cleared again.
    const room = Math.max(0, this.#output.columns() - 7);
    this.#output.write(`${CLEAR_LINE}   ${this.#output.paint.cyan(frame)}  ${text.slice(0, room)}`);
    this.#isDrawn = true;
  }

  #clear(): void {
    if (this.#isDrawn) this.#output.write(CLEAR_LINE);
    this.#isDrawn = false;
  }
}

function formatBar(done: number, total: number, ms: number): string {
  const full = Math.round((done / total) * BAR_COLUMNS);
  const rate = ms > 0 ? `${((done * 8) / ms / 1e6).toFixed(2)} Gbit/s` : "";
  return `${"█".repeat(full)}${"░".repeat(BAR_COLUMNS - full)} ${formatBytes(done)} of ${formatBytes(total)}  ${rate}`;
}
