/**
 * Gives up privileges for good. Capabilities and no-new-privileges belong to a thread, and the runtime's threads run before our first
 * line, so the limits are set on this thread and the program is executed anew: every thread of the new image inherits them.
 * Forbidding core dumps and tracing belongs to the image, so it is done after that.
 *
 * Call it first, before a file, a socket or a library is opened: whatever is open then is closed by the second start.
 */
import type { CapabilityName, HardeningNative } from "../../io/http/mod.ts";

export interface HardeningResult {
  readonly isComplete: boolean;
  /** Why it is not, a sentence each; the process may go on and should say so. */
  readonly problems: readonly string[];
}

/** Says to the second start that it is one. Holds the pid, which executing does not change, so a child cannot mistake it for its own. */
const MARKER = "POSTERN_EXECUTED";
const NAME = "postern";

/** Returns in the process that is limited; the caller's image is replaced if it is not yet. `keep` names what the role needs. */
export function hardenProcess(native: HardeningNative, keep: readonly CapabilityName[]): HardeningResult {
  const isSecondStart = Deno.env.get(MARKER) === String(Deno.pid);
  Deno.env.delete(MARKER);
  const problems: string[] = [];
  const limits = readLimits(native);
  if (limits === null) {
    return { isComplete: false, problems: ["/proc/self/status cannot be read, so privileges are left as they are"] };
  }
  const wanted = keep.filter((name) => (limits.permitted & native.capabilityMask([name])) !== 0n);
  const isLimited = limits.noNewPrivileges && (limits.permitted & ~native.capabilityMask(wanted)) === 0n;
  if (!isLimited && !isSecondStart) problems.push(...executeLimited(native, wanted));
  else if (!isLimited) problems.push("executing the program anew did not limit its privileges");
  Deno.umask(0o077);
  native.setName(NAME);
  if (native.setDumpable(false) < 0) problems.push("core dumps and tracing could not be forbidden");
  return { isComplete: problems.length === 0, problems };
}

/** Does not return when it succeeds. */
function executeLimited(native: HardeningNative, wanted: readonly CapabilityName[]): string[] {
  if (native.setNoNewPrivileges() < 0) return ["no-new-privileges could not be set"];
  const failed = native.limitCapabilities(wanted);
  if (failed < 0) return [`capabilities could not be dropped (error number ${-failed})`];
  const commandLine = native.readSystemFile("/proc/self/cmdline");
  const variables = native.readSystemFile("/proc/self/environ");
  if (commandLine === null || variables === null) return ["the own command line cannot be read"];
  const environment = splitAtNul(variables);
  environment.push(new TextEncoder().encode(`${MARKER}=${Deno.pid}`));
  const result = native.execSelf(splitAtNul(commandLine), environment);
  return [`the program could not be executed anew (error number ${-result})`];
}

interface Limits {
  readonly noNewPrivileges: boolean;
  readonly permitted: bigint;
}

/** proc_pid_status(5). */
function readLimits(native: HardeningNative): Limits | null {
  const bytes = native.readSystemFile("/proc/self/status");
  const text = bytes === null ? "" : new TextDecoder().decode(bytes);
  const noNew = /^NoNewPrivs:\s*(\d)/m.exec(text)?.[1];
  const permitted = /^CapPrm:\s*([0-9a-f]+)/m.exec(text)?.[1];
  if (noNew === undefined || permitted === undefined) return null;
  return { noNewPrivileges: noNew === "1", permitted: BigInt(`0x${permitted}`) };
}

function splitAtNul(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let from = 0; from < bytes.length;) {
    const nul = bytes.indexOf(0, from);
    const end = nul < 0 ? bytes.length : nul;
    parts.push(bytes.slice(from, end));
    from = end + 1;
  }
  return parts;
}
