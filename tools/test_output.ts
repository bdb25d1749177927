/** What `deno test` prints, line by line, on its way to the reader: successes are left out, everything else passes. */

/** Chooses the lines of one run; both output streams go through the same one. */
export class OutputFilter {
  /** Files that failed outside of any test, while loading for example: the report does not count them. */
  uncaught = 0;
  readonly #verbose: boolean;
  /** The beginning of a test with steps or output; shown only when output follows. */
  #held: string | undefined;

  constructor(verbose: boolean) {
    this.#verbose = verbose;
  }

  /** The lines to show after this one came. */
  take(line: string): string[] {
    const held = this.#held;
    this.#held = undefined;
    if (/^Uncaught error from .* FAILED$/.test(line)) this.uncaught++;
    if (this.#verbose) return [withoutClosingForm(line)];
    if (line.endsWith(" ...")) {
      this.#held = line;
      return [];
    }
    if (/ \.\.\. (ok|ignored) \(\d+m?s?.*\)$/.test(line) || /^(ok|FAILED) \| \d+ passed/.test(line)) return [];
    if (line === "" || line === "error: Test failed") return [];
    return [...(held !== undefined && line === "------- output -------" ? [held] : []), withoutClosingForm(line)];
  }
}

/** A run has one line of the form `N passed, N failed`, its last. A test that prints such a line has it put into brackets. */
function withoutClosingForm(line: string): string {
  return /^\s*(\S+:?\s+)?\d+ passed, \d+ failed/.test(line) ? `(${line.trim()})` : line;
}

/** The lines of a byte stream. */
export async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
