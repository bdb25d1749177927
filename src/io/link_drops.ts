/** What the kernel dropped on its way into a network interface of ours, because nobody read it in time (proc_pid_net(5), `dev`). */

/** Where the kernel tells its counts; not the runtime but `readSystemFile` may read there. */
export const LINK_COUNTS_PATH = "/proc/self/net/dev";
/** Behind the name: eight counts of what the machine received there, then of what it sent bytes, packets, errors and drops. */
const SENT_DROPS_AT = 8 + 3;

/** The count of `link` in what stands there, since the interface was made; null when there is none of this name. */
export function linkDrops(link: string, counts: Uint8Array): number | null {
  for (const line of new TextDecoder().decode(counts).split("\n")) {
    const [name, numbers] = line.split(":");
    if (name?.trim() !== link || numbers === undefined) continue;
    const drops = Number(numbers.trim().split(/\s+/)[SENT_DROPS_AT]);
    return Number.isSafeInteger(drops) ? drops : null;
  }
  return null;
}
