/** What the kernel says of the threads of a process, asked from outside. */

/** One field of the status of every thread. */
export function ofThreads(pid: number, field: string): Set<string> {
  const values = new Set<string>();
  for (const thread of Deno.readDirSync(`/proc/${pid}/task`)) {
    const text = Deno.readTextFileSync(`/proc/${pid}/task/${thread.name}/status`);
    values.add(new RegExp(`^${field}:\\s*(\\S+)`, "m").exec(text)?.[1] ?? "missing");
  }
  return values;
}
