/**
 * Whether the files are still the ones that were read. Looked at every two seconds by inode, size and time through all symbolic links: a
 * swapped link (as Kubernetes does with whole folders), a renamed file and an overwritten one all show, on any file system.
 */
import type { MetricsServerConfig } from "./settings.ts";

/** Differs when any of the three files does. A file that is missing is told apart as well. */
export async function filesFingerprint(config: MetricsServerConfig): Promise<string> {
  const parts = await Promise.all([config.certPath, config.keyPath, config.caPath].map(async (path) => {
    try {
      const { dev, ino, size, mtime } = await Deno.stat(path);
      return `${dev}:${ino}:${size}:${mtime?.getTime()}`;
    } catch {
      return "missing";
    }
  }));
  return parts.join(" ");
}
