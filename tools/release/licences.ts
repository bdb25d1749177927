/** Parts → THIRD_PARTY_LICENSES: what is in the binary under which licence, and each text that must be passed on, once. */
import type { Part } from "./parts.ts";

const RULE = "=".repeat(80);

/** The file's text; parts that are not in the binary are left out. */
export function formatLicences(parts: readonly Part[]): string {
  const bundled = parts.filter(({ isBundled }) => isBundled);
  const owners = new Map<string, string[]>();
  for (const part of bundled) {
    for (const text of part.texts) {
      const clean = text.replaceAll("\r\n", "\n").trim();
      owners.set(clean, [...(owners.get(clean) ?? []), nameOf(part)]);
    }
  }
  const texts = [...owners].map(([text, names]) => `${RULE}\n${[...new Set(names)].join("\n")}\n${RULE}\n\n${text}\n`);
  return [
    "Postern is under the Apache License 2.0, see LICENSE. Its binary holds these works of others:\n",
    bundled.map((part) => `  ${nameOf(part)}: ${part.license}\n`).join(""),
    "The Deno runtime is built from crates of its own; its lock file at this version names them:\nhttps://github.com/denoland/deno\n",
    ...texts,
  ].join("\n");
}

function nameOf(part: Part): string {
  return `${part.name} ${part.version}`;
}
