/** `postern status`: a page for each role that runs here. */
import { messageOf, PosternError, usageError } from "../../base/mod.ts";
import type { StatusJson } from "../admin/mod.ts";
import { AdminClient, findTargets, type Target } from "./admin_client.ts";
import { type CommandInput, type CommandPlatform, JSON_OPTION, type OpsCommand, TARGET_OPTIONS, textOption } from "./command.ts";
import { statusPage } from "./page.ts";

const WATCH_SECONDS = 2;
const WATCH_SECONDS_MAX = 3600;
const CLEAR_SCREEN = "\x1b[H\x1b[2J";

export const statusCommand: OpsCommand = {
  name: "status",
  summary: "Show what the roles on this machine are doing",
  description: "Shows role, uplinks, services, peers, throughput, drops and certificates of every role that runs on this machine.",
  arguments: [],
  options: [...TARGET_OPTIONS, JSON_OPTION, {
    flags: "--watch [SECONDS]",
    description: `again every so often (${WATCH_SECONDS} s)`,
  }],
  examples: [["postern status --watch", "like top"], ["postern status --json --role server", "for a script"]],
  run: async (input, platform, signal) => {
    const seconds = watchSeconds(input);
    if (seconds === null) return await show(input, platform, "");
    const clear = platform.isTerminal("stdout") ? CLEAR_SCREEN : "";
    for (;;) {
      await show(input, platform, clear);
      if (signal?.aborted === true || !await pause(seconds * 1000, signal)) return 0;
    }
  },
};

async function show(input: CommandInput, platform: CommandPlatform, before: string): Promise<number> {
  const pages: StatusJson[] = [];
  const silent: string[] = [];
  for (const target of findTargets(input, platform)) {
    try {
      pages.push(await ask(target));
    } catch (error) {
      if (!(error instanceof PosternError) || error.code !== "not-running") throw error;
      silent.push(error.message);
    }
  }
  if (pages.length === 0) throw new PosternError(silent[0] ?? "nobody answers", { code: "not-running", hint: HINT });
  const isJson = input.options["json"] === true;
  const text = isJson ? JSON.stringify(pages.length === 1 ? pages[0] : pages) + "\n" : pages.map(statusPage).join("\n");
  platform.writeOut(before + text);
  for (const message of silent) platform.writeError(`postern: ${messageOf(message)}\n`);
  return 0;
}

const HINT = "the socket was left behind by a process that has ended; the next start removes it";

async function ask(target: Target): Promise<StatusJson> {
  using client = await AdminClient.open(target);
  return await client.read<StatusJson>("/v1/status");
}

function watchSeconds(input: CommandInput): number | null {
  const watch = input.options["watch"];
  if (watch === undefined || watch === false) return null;
  const text = textOption(input, "watch");
  if (text === undefined) return WATCH_SECONDS;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds >= 0.1 && seconds <= WATCH_SECONDS_MAX) return seconds;
  throw usageError(`--watch ${JSON.stringify(text)} is not a number of seconds`, `0.1 to ${WATCH_SECONDS_MAX}`);
}

/** False when `signal` ended it. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => done(true), ms);
    const abort = () => done(false);
    const done = (result: boolean) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      resolve(result);
    };
    signal?.addEventListener("abort", abort);
  });
}
