/**
 * Reads the JUnit XML that `deno test --junit-path` writes. Not an XML parser: it knows the few elements of that one writer.
 * Deno writes a step as one more test case named `test > step`; here a test counts once, whatever its steps.
 */

/** One `Deno.test`. */
export type TestCase = {
  readonly file: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly seconds: number;
};

/** The tests of a report in its order, steps left out. */
export function parseJunit(xml: string): TestCase[] {
  const cases: TestCase[] = [];
  for (const [, file = "", body = ""] of xml.matchAll(/<testsuite name="([^"]*)"[^>]*>([\s\S]*?)<\/testsuite>/g)) {
    const found = [...body.matchAll(/<testcase name="([^"]*)"[^>]* time="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g)];
    const names = new Set(found.map(([, name = ""]) => unescapeXml(name)));
    for (const [, name = "", time = "", content = ""] of found) {
      const plain = unescapeXml(name);
      if (isStep(plain, names)) continue;
      const outcome = content.includes("<failure") ? "failed" : content.includes("<skipped") ? "skipped" : "passed";
      cases.push({ file: unescapeXml(file).replace(/^\.\//, ""), name: plain, outcome, seconds: Number(time) });
    }
  }
  return cases;
}

/** A step's name begins with the name of a test of the same file. */
function isStep(name: string, names: ReadonlySet<string>): boolean {
  for (let at = name.indexOf(" > "); at !== -1; at = name.indexOf(" > ", at + 1)) {
    if (names.has(name.slice(0, at))) return true;
  }
  return false;
}

function unescapeXml(text: string): string {
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => ({ lt: "<", gt: ">", quot: '"', apos: "'" })[name] ?? "&");
}
