/** Numbers for people. */

const UNITS = ["B", "KiB", "MiB", "GiB"] as const;

/** `256 MiB`, `1.5 KiB`, `17 B`. */
export function formatBytes(bytes: number): string {
  const unit = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** unit;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** `1.42 Gbit/s`. */
export function formatRate(bytes: number, ms: number): string {
  const bitsPerSecond = (bytes * 8 * 1000) / ms;
  return bitsPerSecond >= 1e9 ? `${(bitsPerSecond / 1e9).toFixed(2)} Gbit/s` : `${(bitsPerSecond / 1e6).toFixed(0)} Mbit/s`;
}

/** Three figures are enough: `0.312 ms`, `4.21 ms`, `213 ms`. */
export function formatMs(ms: number): string {
  return `${ms < 1 ? ms.toFixed(3) : ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/** The beginning of a digest. */
export function shortDigest(sha256: string): string {
  return `${sha256.slice(0, 16)}…`;
}
