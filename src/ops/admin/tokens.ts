/**
 * Process tokens: what a caller must show to steer. A token is 32 random bytes and belongs to one process: to its user, its pid and the
 * time at which it started, so that neither another process of the same user nor a later one with the same pid can use it. It is void
 * when it was not used for a minute. Only digests are kept.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { PeerCredentials, ProcessNative } from "../../io/http/mod.ts";

export const TOKEN_BYTES = 32;
export const TOKEN_IDLE_MS = 60_000;
const TOKENS_MAX = 256;

export type TokenVerdict = { readonly ok: true } | {
  readonly ok: false;
  readonly why: "missing Authorization header" | "invalid token" | "token UID mismatch" | "token PID mismatch";
};

interface Token {
  readonly uid: number;
  /** Null until the first use binds it. */
  process: { readonly pid: number; readonly startTime: string } | null;
  usedMs: number;
}

export interface TokenStoreOptions {
  /** When a process started, in a form that can be compared; null when it cannot be known. */
  readonly startTime: (pid: number) => string | null;
  /** Monotonic milliseconds. */
  readonly clock: () => number;
  readonly entropy: (bytes: Uint8Array<ArrayBuffer>) => void;
  /** Hears what an operator should know; never a token. */
  readonly note: (level: "info" | "warn", message: string) => void;
}

export class TokenStore {
  readonly #options: TokenStoreOptions;
  readonly #tokens = new Map<string, Token>();

  constructor(options: TokenStoreOptions) {
    this.#options = options;
  }

  /** A new token for the caller's user: bound to the caller itself, or to the first process that uses it. Null when it cannot be bound. */
  issue(caller: PeerCredentials, bind: "caller" | "first-use"): string | null {
    const process = bind === "caller" ? this.#processOf(caller.pid) : null;
    if (bind === "caller" && process === null) return null;
    this.#dropIdle();
    const bytes = new Uint8Array(TOKEN_BYTES);
    this.#options.entropy(bytes);
    const token = Buffer.from(bytes).toString("base64url");
    bytes.fill(0);
    if (this.#tokens.size >= TOKENS_MAX) this.#dropOldest();
    this.#tokens.set(digest(token), { uid: caller.uid, process, usedMs: this.#options.clock() });
    return token;
  }

  /** Judges the value of the Authorization header field. */
  check(authorization: string | undefined, caller: PeerCredentials): TokenVerdict {
    if (authorization === undefined || authorization === "") return { ok: false, why: "missing Authorization header" };
    this.#dropIdle();
    // Looking a digest up leaks nothing about the token that could be used to guess it.
    const token = this.#tokens.get(digest(authorization));
    if (token === undefined) return { ok: false, why: "invalid token" };
    const { note } = this.#options;
    if (token.uid !== caller.uid) {
      note("warn", `SECURITY: Token UID mismatch: expected ${token.uid}, got ${caller.uid}`);
      return { ok: false, why: "token UID mismatch" };
    }
    const process = this.#processOf(caller.pid);
    if (token.process === null && process !== null) {
      token.process = process;
      note("info", `Token bound to PID ${caller.pid}`);
    }
    if (process === null || token.process === null || token.process.pid !== process.pid) {
      note("warn", `SECURITY: Token PID mismatch: expected ${token.process?.pid ?? 0}, got ${caller.pid}`);
      return { ok: false, why: "token PID mismatch" };
    }
    if (token.process.startTime !== process.startTime) {
      note("warn", `SECURITY: Token PID mismatch: expected the process that had PID ${caller.pid} before, got a later one`);
      return { ok: false, why: "token PID mismatch" };
    }
    token.usedMs = this.#options.clock();
    return { ok: true };
  }

  get size(): number {
    return this.#tokens.size;
  }

  #processOf(pid: number): { readonly pid: number; readonly startTime: string } | null {
    const startTime = this.#options.startTime(pid);
    return startTime === null ? null : { pid, startTime };
  }

  #dropIdle(): void {
    const oldest = this.#options.clock() - TOKEN_IDLE_MS;
    for (const [key, token] of this.#tokens) {
      if (token.usedMs < oldest) this.#tokens.delete(key);
    }
  }

  #dropOldest(): void {
    let oldestKey: string | null = null, oldestMs = Infinity;
    for (const [key, token] of this.#tokens) {
      if (token.usedMs < oldestMs) [oldestKey, oldestMs] = [key, token.usedMs];
    }
    if (oldestKey !== null) this.#tokens.delete(oldestKey);
  }
}

/** When a process started, in clock ticks since the machine did: field 22 of proc_pid_stat(5). Null when there is no such process. */
export function processStartTime(native: ProcessNative, pid: number): string | null {
  const bytes = native.readSystemFile(`/proc/${pid}/stat`);
  if (bytes === null) return null;
  const text = new TextDecoder().decode(bytes);
  // The name in the second field may hold spaces and brackets.
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? null;
}

function digest(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
