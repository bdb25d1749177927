/** Processes that a benchmark starts, their CPU time, and their end. */

/** For a server that has one core to itself, and beside what has one thread. */
export const ONE_WORKER = ["--workers", "1"] as const;

/** The kernel counts CPU time in hundredths of a second. */
const TICKS_PER_SECOND = 100;

/** User and system seconds that a live process has used so far. */
export function cpuSeconds(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** The same to the nanosecond, of the threads that the process has now: what ended ones used is not in it. */
export function cpuSecondsExactly(pid: number): number {
  let nanoseconds = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`).split(" ")[0]);
  }
  return nanoseconds / 1e9;
}

/** The same of each thread, by its name; threads of one name count as one. */
export function threadSeconds(pid: number): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const folder = `/proc/${pid}/task/${name}`;
    const called = Deno.readTextFileSync(`${folder}/comm`).trim();
    const used = Number(Deno.readTextFileSync(`${folder}/schedstat`).split(" ")[0]) / 1e9;
    seconds.set(called, (seconds.get(called) ?? 0) + used);
  }
  return seconds;
}

/** Keeps all threads of a process on one core. Does nothing on a machine that has only one. */
export function pin(pid: number, core: number): void {
  new Deno.Command("taskset", { args: ["-a", "-c", "-p", `${core}`, `${pid}`], stdout: "null", stderr: "null" }).outputSync();
}

/** Runs a script of this folder to its end and returns the lines that it printed. */
export async function runScript(script: string, args: readonly string[]): Promise<string[]> {
  const { code, stdout, stderr } = await scriptCommand(script, args).output();
  if (code !== 0) throw new Error(`${script} ended with ${code}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout).trim().split("\n");
}

/** The lines that a script of this folder prints, as it prints them; it may be kept on one core. Throws when it fails. */
export async function* scriptLines(
  script: string,
  args: readonly string[],
  { core }: { readonly core?: number } = {},
): AsyncGenerator<string> {
  const process = scriptCommand(script, args).spawn();
  if (core !== undefined) pin(process.pid, core);
  const problem = new Response(process.stderr).text();
  let rest = "";
  for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  const { code } = await process.status;
  if (code !== 0) throw new Error(`${script} ended with ${code}: ${await problem}`);
}

/** Starts a script of this folder that prints one line when it is ready. */
export async function startScript(
  script: string,
  args: readonly string[],
): Promise<{ readonly firstLine: string; readonly process: Deno.ChildProcess }> {
  const process = scriptCommand(script, args).spawn();
  const lines = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await lines.read();
  lines.releaseLock();
  return { firstLine: (value ?? "").trim(), process };
}

/** A script of this folder as a process that is not started yet. */
export function scriptCommand(script: string, args: readonly string[], stdin: "null" | "piped" = "null"): Deno.Command {
  const path = new URL(script, import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", path, ...args],
    stdin,
    stdout: "piped",
    stderr: "piped",
  });
}

/** Ends a process that was started here. */
export async function stopProcess(process: Deno.ChildProcess): Promise<void> {
  try {
    process.kill("SIGTERM");
  } catch {
    // It ended by itself.
  }
  await process.status;
  await process.stdout.cancel().catch(() => {});
  await process.stderr.cancel().catch(() => {});
}
