/**
 * Ready only after resynchronising: the server notes which services have connectors, and after a restart it is not ready before those
 * are back, or a time is over. Whoever sends clients to ready servers only so sends none where nothing can be reached yet.
 *
 * The file has one service id a line. What is not served for a while is forgotten.
 */
import { type LogSink, messageOf, parseServiceId } from "../base/mod.ts";
import type { Platform, RoleHandle, RoleStart } from "./platform.ts";

const LOOK_INTERVAL_MS = 500;
/** Longer than a connector needs to come back, shorter than anybody wants to wait for one that was taken away. */
const FORGET_MS = 60_000;
const FILE_BYTES_MAX = 4 * 1024 * 1024;

type Files = Pick<Platform, "readFile" | "replaceFile" | "nowMs">;

export class Resync {
  readonly #files: Files;
  readonly #log: LogSink;
  readonly #path: string;
  readonly #graceMs: number;
  /** When each noted service was last served, or the start for those of the file. */
  readonly #seen = new Map<string, number>();
  #awaited = new Set<string>();
  #served: () => readonly string[] = () => [];
  #beganMs = 0;
  #written = "";
  #timer: ReturnType<typeof setInterval> | null = null;
  #hasFailed = false;

  private constructor(files: Files, log: LogSink, path: string, graceMs: number) {
    this.#files = files;
    this.#log = log;
    this.#path = path;
    this.#graceMs = graceMs;
  }

  /** What the role's settings ask for; null when that is nothing, or there is no place for the file. */
  static async of(platform: Files, { settings, log }: RoleStart, adminPath: string | null): Promise<Resync | null> {
    if (settings.role !== "server" || !settings.resync) return null;
    const path = settings.resyncPath ?? besideOf(adminPath);
    if (path === null) return null;
    const resync = new Resync(platform, log.sink, path, settings.resyncGraceMs);
    await resync.#read();
    return resync;
  }

  /** The data plane is at work: the time begins. */
  began(host: Pick<RoleHandle["host"], "served">): void {
    this.#served = () => host.served;
    this.#beganMs = this.#files.nowMs();
    for (const service of this.#seen.keys()) this.#seen.set(service, this.#beganMs);
    this.#timer = setInterval(() => void this.#look(), LOOK_INTERVAL_MS);
  }

  /** Why the role is not ready, a sentence. Empty when it waits for nobody. */
  troubles(): string[] {
    this.#judge();
    const missing = [...this.#awaited];
    if (missing.length === 0) return [];
    const shown = missing.slice(0, 5).join(", ") + (missing.length > 5 ? ` and ${missing.length - 5} more` : "");
    return [`connectors of ${shown} are not back after the restart`];
  }

  /** Nothing is noted any more: at the end of the role its connectors leave, which means nothing. */
  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  async #look(): Promise<void> {
    this.#judge();
    const nowMs = this.#files.nowMs();
    for (const service of this.#served()) this.#seen.set(service, nowMs);
    for (const [service, seenMs] of this.#seen) if (nowMs - seenMs > FORGET_MS) this.#seen.delete(service);
    const text = [...this.#seen.keys()].sort().map((service) => `${service}\n`).join("");
    if (text === this.#written) return;
    this.#written = text;
    try {
      await this.#files.replaceFile(this.#path, new TextEncoder().encode(text));
    } catch (error) {
      if (!this.#hasFailed) this.#warn(`${this.#path} cannot be written: ${messageOf(error)}`);
      this.#hasFailed = true;
    }
  }

  /** Whom it still waits for. */
  #judge(): void {
    if (this.#awaited.size === 0 || this.#timer === null) return;
    for (const service of this.#served()) this.#awaited.delete(service);
    const waitedMs = this.#files.nowMs() - this.#beganMs;
    if (this.#awaited.size > 0 && waitedMs < this.#graceMs) return;
    const missing = [...this.#awaited].slice(0, 5).join(", ");
    const message = missing === ""
      ? "All services of before the restart are served again"
      : `Ready without services of before the restart: ${missing}`;
    const fields = { missing: this.#awaited.size, waited_ms: waitedMs };
    this.#log({ level: missing === "" ? "info" : "warn", event: "resynchronised", message, fields });
    this.#awaited.clear();
  }

  async #read(): Promise<void> {
    let bytes: Uint8Array;
    try {
      bytes = await this.#files.readFile(this.#path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) this.#warn(`${this.#path} cannot be read: ${messageOf(error)}`);
      return;
    }
    const text = bytes.length > FILE_BYTES_MAX ? "\0" : new TextDecoder().decode(bytes);
    const lines = text.split("\n").filter((line) => line !== "");
    if (!lines.every((line) => parseServiceId(line, { legacy: true }).ok)) {
      return this.#warn(`${this.#path} is no list of services and is ignored`);
    }
    for (const line of lines) this.#seen.set(line, 0);
    this.#awaited = new Set(lines);
    this.#written = text;
  }

  #warn(message: string): void {
    this.#log({ level: "warn", event: "settings-warning", message, fields: { subject: this.#path } });
  }
}

/** The default place: `server.served` beside `server.sock`, where a process of the same role finds it after a restart. */
function besideOf(adminPath: string | null): string | null {
  return adminPath === null ? null : `${adminPath.replace(/\.sock$/, "")}.served`;
}
