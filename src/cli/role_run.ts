/**
 * The life of a role's process: what it is seen and steered by, then its data plane, then the signals and callers that reload or end
 * it. Everything is taken down in the other order.
 */
import type { Log } from "../ops/log/mod.ts";
import type { Ops } from "../ops/mod.ts";
import type { Platform, RoleHandle, StopSignal } from "./platform.ts";
import type { ReloadResult, RoleReloader } from "./role_reload.ts";
import { Resync } from "./resync.ts";
import { RoleSource } from "./role_source.ts";

/**
 * Starts a role and waits for its end. The first signal asks for the end, also while the role is still starting; the second
 * does not wait, not even for a start that hangs.
 */
export async function runUntilStopped(platform: Platform, log: Log, reloader: RoleReloader): Promise<void> {
  const run = new RoleRun(platform, log, reloader);
  const on = (signal: StopSignal, handler: () => void) => platform.onSignal(signal, handler);
  const releases = [
    ...(["SIGTERM", "SIGINT"] as const).map((signal) => on(signal, () => run.end(signal))),
    on("SIGHUP", () => run.reload("SIGHUP received")),
    on("SIGUSR1", () => log.reopen()),
  ];
  try {
    await run.untilItEnds();
  } finally {
    reloader.end();
    await run.close();
    for (const release of releases) release();
  }
}

class RoleRun {
  readonly #platform: Platform;
  readonly #log: Log;
  readonly #reloader: RoleReloader;
  readonly #source: RoleSource;
  readonly #hurry = Promise.withResolvers<"hurry">();
  #ops: Ops | null = null;
  #handle: RoleHandle | null = null;
  #resync: Resync | null = null;
  #isStopping = false;
  /** What the next line about a reload begins with. */
  #reloadReason = OPERATOR;

  constructor(platform: Platform, log: Log, reloader: RoleReloader) {
    this.#platform = platform;
    this.#log = log;
    this.#reloader = reloader;
    this.#source = new RoleSource({
      platform,
      current: () => reloader.current,
      reload: () => {
        const why = this.#reloadReason;
        this.#reloadReason = OPERATOR;
        return reloader.run(why);
      },
      waits: () => this.#resync?.troubles() ?? [],
      stop: (why) => {
        if (!this.#isStopping) this.end(why);
      },
    });
    reloader.onResult((result) => this.#reloaded(result));
  }

  /** A reload that a changed file began is seen like one that somebody asked for. */
  #reloaded({ error, wasHandedOver }: ReloadResult): void {
    if (error !== "" && !wasHandedOver) this.#source.refusedToLoad();
    this.#ops?.reloaded(error);
  }

  async untilItEnds(): Promise<void> {
    const handle = await Promise.race([this.#start(), this.#hurry.promise]);
    if (handle === "hurry") return;
    if (this.#isStopping) handle.stop();
    else await this.#reloader.begin(handle);
    const ended = await Promise.race([handle.finished, this.#hurry.promise]);
    if (ended === "hurry") return;
    this.#log.sink({ level: "info", event: "stopped", message: "Graceful shutdown complete", fields: {} });
  }

  /** The first call asks for the end, the second does not wait. */
  end(why: string): void {
    if (this.#isStopping) {
      this.#handle?.abort();
      this.#hurry.resolve("hurry");
      return;
    }
    this.#isStopping = true;
    this.#resync?.close();
    this.#source.ending();
    this.#ops?.stopping();
    const message = `${why}: ending gracefully, once more to end at once`;
    this.#log.sink({ level: "info", event: "stopping", message, fields: { signal: why } });
    this.#handle?.stop();
  }

  reload(why: string): void {
    // Before there is anything to reload the request is kept; what a reload refuses stands in the log.
    if (this.#ops === null || this.#handle === null) return this.#reloader.request(why);
    this.#reloadReason = why;
    this.#ops.reload().catch(() => {}).finally(() => this.#reloadReason = OPERATOR);
  }

  async close(): Promise<void> {
    this.#resync?.close();
    await this.#ops?.close();
  }

  async #start(): Promise<RoleHandle> {
    const { start } = this.#reloader.current;
    const ops = await this.#platform.startOps(this.#source, start);
    this.#ops = ops;
    this.#resync = await Resync.of(this.#platform, start, ops.adminPath);
    const handle = await this.#platform.startRole(start, ops);
    this.#handle = handle;
    if (!this.#isStopping) this.#resync?.began(handle.host);
    this.#source.began(handle);
    if (!this.#isStopping) ops.ready(`${start.settings.role} ${start.settings.name} is at work`);
    return handle;
  }
}

const OPERATOR = "An operator asked";
