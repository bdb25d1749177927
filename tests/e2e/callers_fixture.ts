/** Callers of the admin socket that are other processes, as other users: curl, by itself or through setpriv. */

/** The pid after which the kernel looks for the next free one. */
export const LAST_PID = "/proc/sys/kernel/ns_last_pid";

/** Runs curl with a token; if asked for, as the process that gets the given pid. */
export async function spawnCurl(
  path: string,
  free: string,
  pid: number | null,
  identity: readonly string[] = [],
): Promise<{ readonly pid: number; readonly status: number }> {
  if (pid !== null) Deno.writeTextFileSync(LAST_PID, String(pid - 1));
  const args = [
    "-s",
    "-o",
    "/dev/null",
    "-w",
    "%{http_code}",
    "--unix-socket",
    path,
    "-X",
    "POST",
    "-H",
    `Authorization: ${free}`,
    "http://localhost/v1/reload",
  ];
  const [program = "", ...words] = [...identity, "curl", ...args];
  const child = new Deno.Command(program, { args: words, stdout: "piped", stderr: "null" }).spawn();
  const { stdout } = await child.output();
  return { pid: child.pid, status: Number(new TextDecoder().decode(stdout)) };
}

/** The status that curl gets as a user; 0 when it cannot connect. */
export async function curlAs(
  uid: number | null,
  path: string,
  identity: string[] = [],
  extra: string[] = [],
  target = "/v1/status",
): Promise<number> {
  const groups = identity.length > 0 ? identity : [`--regid=${uid}`, "--clear-groups"];
  const curl = [
    "curl",
    "-s",
    "-o",
    "/dev/null",
    "-w",
    "%{http_code}",
    "--unix-socket",
    path,
    ...extra,
    `http://localhost${target}`,
  ];
  const [program = "", ...args] = uid === null ? curl : ["setpriv", `--reuid=${uid}`, ...groups, ...curl];
  const { stdout } = await new Deno.Command(program, { args, stdout: "piped", stderr: "null" }).output();
  return Number(new TextDecoder().decode(stdout));
}
