/** What every command gets, and where it leaves its exit code. */

import type { Platform } from "./platform.ts";

export interface CliContext {
  readonly platform: Platform;
  /** Set by the action that ran. */
  exitCode: number;
}
