/** What a check has found, and the list of it. Words of others (reasons, names) are made harmless here, whoever shows them. */
import { PosternError, sanitizeForLog } from "../../base/mod.ts";

export type FindingLevel = "ok" | "warn" | "fail";

/** In the order in which they are made. */
export type Check =
  | "certificate"
  | "key"
  | "token"
  | "authorities"
  | "names"
  | "resolve"
  | "reach"
  | "offload"
  | "buffers"
  | "path"
  | "handshake"
  | "server-certificate"
  | "admission"
  | "clock"
  | "service";

export interface Finding {
  readonly check: Check;
  readonly level: FindingLevel;
  /** Which server it is about, as the settings have it; null when it is about none. */
  readonly server: string | null;
  /** Of what: a file, an address, a service. */
  readonly subject: string;
  readonly message: string;
  /** The command or the setting that mends it; null when nothing need be. */
  readonly mend: string | null;
}

/** The longest sentence: a reason that somebody else wrote is in it. */
const TEXT_MAX = 600;

export class Findings {
  /** What is found from now on is about this server. */
  server: Finding["server"] = null;
  readonly #all: Finding[] = [];
  readonly #onFinding: (finding: Finding) => void;

  /** `onFinding` is told of each at once: some checks take seconds. */
  constructor(onFinding: (finding: Finding) => void = () => {}) {
    this.#onFinding = onFinding;
  }

  get all(): readonly Finding[] {
    return this.#all;
  }

  get worst(): FindingLevel {
    if (this.#all.some(({ level }) => level === "fail")) return "fail";
    return this.#all.some(({ level }) => level === "warn") ? "warn" : "ok";
  }

  ok(check: Check, subject: string, message: string): void {
    this.#add({ check, level: "ok", subject, message, mend: null });
  }

  warn(check: Check, subject: string, message: string, mend: string): void {
    this.#add({ check, level: "warn", subject, message, mend });
  }

  fail(check: Check, subject: string, message: string, mend: string): void {
    this.#add({ check, level: "fail", subject, message, mend });
  }

  /** Something could not be loaded: its error has the words. Another kind of error is a defect, and goes on. */
  failed(check: Check, subject: string, error: unknown): void {
    if (!(error instanceof PosternError)) throw error;
    this.fail(check, subject, error.message, error.hint ?? "look at the file with `postern certs inspect`");
  }

  #add(finding: Omit<Finding, "server">): void {
    const clean: Finding = {
      ...finding,
      server: this.server,
      subject: harmless(finding.subject),
      message: harmless(finding.message),
      mend: finding.mend === null ? null : harmless(finding.mend),
    };
    this.#all.push(clean);
    this.#onFinding(clean);
  }
}

/** Quotation marks stay as they are: nothing here is inside of any. */
function harmless(text: string): string {
  return sanitizeForLog(text, TEXT_MAX).replaceAll('\\"', '"');
}
