/**
 * Around the demonstration: its folder, its processes, its signals, and how it ends. What it started ends with it, whatever happens,
 * unless it is to be kept.
 */
import { messageOf, PosternError } from "../../base/mod.ts";
import { type Child, Crew, DemoFailure } from "./crew.ts";
import { type DemoOutput, Screen } from "./screen.ts";
import { DemoFolder } from "./settings.ts";
import { type DemoOptions, type DemoReport, Story } from "./story.ts";

/** How it went. */
export type DemoOutcome =
  | { readonly isOk: true; readonly report: DemoReport }
  | { readonly isOk: false; readonly message: string; readonly hint: string };

/** Somebody does not want to see the rest: nobody's failure. */
class Interruption extends Error {
  constructor(signal: string) {
    super(`interrupted by ${signal}`);
  }
}

/** Runs it and tells it; nothing that it started is left when it returns, unless it was to be kept and went well. */
export async function runDemo(options: DemoOptions, output: DemoOutput): Promise<DemoOutcome> {
  const screen = new Screen(output);
  const folder = new DemoFolder(await makeFolder());
  const crew = new Crew({ folder: folder.path, isKept: options.isKept, environment: options.environment });
  const releases = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) => {
    const handler = () => crew.interrupt(new Interruption(signal));
    Deno.addSignalListener(signal, handler);
    return () => Deno.removeSignalListener(signal, handler);
  });
  let isLeft = false;
  try {
    const story = new Story(options, screen, folder, crew);
    const report = await story.run();
    if (options.isKept) {
      isLeft = true;
      crew.leave();
      story.tellHowToUse();
    } else await story.stop();
    screen.line(`demo: ${screen.paint.green(screen.paint.bold("OK"))}`);
    return { isOk: true, report };
  } catch (error) {
    return tellFailure(error, screen, crew, options.isKept ? folder.path : null);
  } finally {
    if (!isLeft) {
      await crew[Symbol.asyncDispose]();
      if (!options.isKept) await Deno.remove(folder.path, { recursive: true });
    }
    for (const release of releases) release();
  }
}

async function makeFolder(): Promise<string> {
  try {
    return await Deno.makeTempDir({ prefix: "postern-demo-" });
  } catch (cause) {
    const hint = "set TMPDIR to a directory that this user may write";
    throw new PosternError(`no temporary directory can be made: ${messageOf(cause)}`, { code: "demo-folder", hint, cause });
  }
}

function tellFailure(error: unknown, screen: Screen, crew: Crew, folder: string | null): DemoOutcome {
  const { red, bold, cyan } = screen.paint;
  const hint = hintFor(error, folder);
  screen.line(`demo: ${red(bold("FAILED"))} ${messageOf(error)}`);
  for (const child of witnesses(error, crew)) {
    screen.line(`  last words of the ${child.name}:`);
    for (const line of child.tail()) screen.line(`    ${line}`);
  }
  screen.line(`  ${cyan("hint:")} ${hint}`);
  return { isOk: false, message: messageOf(error), hint };
}

/** Who failed speaks; when nobody is to blame, all do. */
function witnesses(error: unknown, crew: Crew): readonly Child[] {
  if (error instanceof Interruption) return [];
  return error instanceof DemoFailure && error.child !== null ? [error.child] : crew.living;
}

function hintFor(error: unknown, folder: string | null): string {
  if (error instanceof Interruption) return "everything that was started ends now";
  if (error instanceof DemoFailure && error.hint !== "") return error.hint;
  if (error instanceof PosternError && error.hint !== null) return error.hint;
  return folder === null ? "`postern demo --keep` keeps settings and logs to look into" : `settings and logs are in ${folder}`;
}
