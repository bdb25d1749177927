/** What the documents promise and can be checked without running it: `make` targets that exist, links that lead somewhere. Pure. */

/** The targets of a Makefile that a person may type. */
export function makeTargets(makefile: string): Set<string> {
  return new Set([...makefile.matchAll(/^([a-z][a-z_-]*):.*## /gm)].map((found) => found[1] ?? ""));
}

/** The `make x` of a document, as code in a line or in a block. */
export function makeCommands(markdown: string): string[] {
  const code = [...markdown.matchAll(/```[\s\S]*?```|`[^`\n]+`/g)].map((found) => found[0]).join("\n");
  return [...code.matchAll(/(?:^|[\s`&;])make ([a-z][a-z_-]*)/g)].map((found) => found[1] ?? "");
}

/** The targets of a document's links that are not addresses: paths with an optional #heading. */
export function relativeLinks(markdown: string): string[] {
  const prose = markdown.replace(/```[\s\S]*?```|`[^`\n]+`/g, "");
  const targets = [...prose.matchAll(/\]\(([^()\s]+)(?:\s+["'][^)]*)?\)/g), ...prose.matchAll(/^\[[^\]]+\]:\s+(\S+)/gm)].map((
    found,
  ) => found[1] ?? "");
  return targets.filter((target) => !/^[a-z]+:/i.test(target));
}

/** The anchors that the headings of a document make, by the rules that code hosts share. */
export function anchors(markdown: string): Set<string> {
  const found = new Set<string>();
  const prose = markdown.replace(/```[\s\S]*?```/g, "");
  for (const [, heading = ""] of prose.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const plain = heading.toLowerCase().replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(
      /\s/g,
      "-",
    );
    let anchor = plain;
    for (let n = 1; found.has(anchor); n++) anchor = `${plain}-${n}`;
    found.add(anchor);
  }
  return found;
}
