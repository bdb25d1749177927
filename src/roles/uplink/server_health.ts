/**
 * Which of several servers is tried next. In the order of the settings, except that one that failed goes behind those that did not, and
 * of those that failed the one that did so longest ago comes first. A failure is forgotten when the server works again, or after
 * {@linkcode FAILURE_MEMORY_MS}: the next dial then begins at the front again. A connection that works is never left for a better one.
 */
import type { ServerReport } from "../control/mod.ts";
import { FAILURE_MEMORY_MS } from "./limits.ts";

interface Row {
  failures: number;
  failedMs: number;
  lastError: string;
  /** Trying it again with the same material cannot help. */
  isHopeless: boolean;
  hasWorked: boolean;
}

export class ServerHealth {
  readonly #rows: readonly Row[];

  constructor(count: number) {
    this.#rows = Array.from({ length: count }, () => ({
      failures: 0,
      failedMs: -Infinity,
      lastError: "",
      isHopeless: false,
      hasWorked: false,
    }));
  }

  /** The number of the server that comes first now, of those that `isThere`; -1 where none is. */
  best(nowMs: number, isThere: (server: number) => boolean = () => true): number {
    let best = -1;
    for (let at = 0; at < this.#rows.length; at++) {
      if (isThere(at) && (best < 0 || this.#since(at, nowMs) < this.#since(best, nowMs))) best = at;
    }
    return best;
  }

  /** Whether it has not failed, or so long ago that nobody remembers. */
  isHealthy(server: number, nowMs: number): boolean {
    return this.#since(server, nowMs) === -Infinity;
  }

  /** Whether each of them refused us, or we it, in a way that waiting does not mend. */
  get isHopeless(): boolean {
    return this.#rows.every((row) => row.isHopeless);
  }

  failed(server: number, why: string, isHopeless: boolean, nowMs: number): void {
    const row = this.#rows[server];
    if (row === undefined) return;
    row.failures++;
    row.failedMs = nowMs;
    row.lastError = why;
    row.isHopeless = isHopeless;
  }

  worked(server: number): void {
    const row = this.#rows[server];
    if (row === undefined) return;
    row.failures = 0;
    row.failedMs = -Infinity;
    row.lastError = "";
    row.isHopeless = false;
    row.hasWorked = true;
  }

  /** For the status page. `names` are as the settings have them, `current` is the one in use or being dialled. */
  report(names: readonly string[], current: number, nowMs: number): ServerReport[] {
    return this.#rows.map((row, at) => ({
      server: names[at] ?? "",
      isCurrent: at === current,
      health: row.failures > 0 ? "failed" : row.hasWorked ? "works" : "untried",
      failures: row.failures,
      failedForMs: row.failures > 0 ? nowMs - row.failedMs : null,
      lastError: row.lastError,
    }));
  }

  /** When it failed, as long as that is remembered. */
  #since(server: number, nowMs: number): number {
    const failedMs = this.#rows[server]?.failedMs ?? -Infinity;
    return nowMs - failedMs < FAILURE_MEMORY_MS ? failedMs : -Infinity;
  }
}
