/**
 * What goes wrong, in words for a person: what was expected, what came, what to do.
 *
 * Bytes from outside never throw (their decoders return a union); what the world does to us is a {@linkcode PosternError};
 * what only we can do wrong is an {@linkcode assert}.
 */

/** Every exit code, with what it says. `docs/OPERATIONS.md` lists the same; a test compares the two. */
export const EXIT_CODES = {
  0: "Done; for a role: ended by a signal",
  1: "The world differs from what was asked: a file is missing, unreadable, expired or does not fit; a port is busy; a peer refused",
  2: "The command line, a variable or a configuration text is wrong; one of a pair is missing",
} as const;

/** Of what goes wrong. */
export type ExitCode = Exclude<keyof typeof EXIT_CODES, 0>;

export interface PosternErrorOptions {
  /** Stable, for machines: lower-case words joined by `-`. */
  readonly code: string;
  /** What to do about it; printed after `postern: hint: `. */
  readonly hint?: string;
  readonly exitCode?: ExitCode;
  readonly cause?: unknown;
}

/** An error that the user may see. Its message stands alone after `postern: error: `. */
export class PosternError extends Error {
  readonly code: string;
  readonly hint: string | null;
  readonly exitCode: ExitCode;

  constructor(message: string, options: PosternErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "PosternError";
    this.code = options.code;
    this.hint = options.hint ?? null;
    this.exitCode = options.exitCode ?? 1;
  }
}

/** A wrong command line, variable or configuration text: exit code 2. */
export function usageError(message: string, hint?: string): PosternError {
  return new PosternError(message, { code: "usage", exitCode: 2, ...(hint === undefined ? {} : { hint }) });
}

/** Stops the program when an invariant that only we can break does not hold. Never for input from outside. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`postern: internal error: ${message}`);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
