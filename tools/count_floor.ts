/**
 * The floor under the number of tests: tests/count.txt holds one line `SUITE NUMBER` per suite. A run with fewer fails, so that a test
 * does not vanish unseen. A skipped test counts: it is still there. `make count` raises the numbers; lowering one is an edit by hand.
 */

const HEADING = [
  "# At least so many tests in each suite; a run with fewer fails. `make count` raises the numbers to what it finds.",
  "# Lowering one is an edit by hand, with its reason in the commit.",
];

/** The numbers by suite. */
export function parseFloor(text: string): Map<string, number> {
  const floor = new Map<string, number>();
  for (const line of text.split("\n")) {
    const found = /^(\w+) (\d+)$/.exec(line);
    if (found !== null) floor.set(found[1] ?? "", Number(found[2]));
    else if (line !== "" && !line.startsWith("#")) throw new Error(`tests/count.txt: expected "SUITE NUMBER", found "${line}"`);
  }
  return floor;
}

/** The text with every number raised to what was counted; none is lowered. */
export function formatFloor(floor: ReadonlyMap<string, number>, counts: ReadonlyMap<string, number>): string {
  const names = [...new Set([...floor.keys(), ...counts.keys()])].sort();
  const lines = names.map((name) => `${name} ${Math.max(floor.get(name) ?? 0, counts.get(name) ?? 0)}`);
  return [...HEADING, ...lines, ""].join("\n");
}

/** One sentence for each suite among `ran` that has fewer tests than its floor. */
export function belowFloor(
  floor: ReadonlyMap<string, number>,
  counts: ReadonlyMap<string, number>,
  ran: readonly string[],
): string[] {
  return [...floor].filter(([name, least]) => ran.includes(name) && (counts.get(name) ?? 0) < least).map(([name, least]) =>
    `suite ${name} has ${counts.get(name) ?? 0} tests, fewer than the ${least} of tests/count.txt`
  );
}
