// What the runner reads from a report: outcomes, names with markup, steps counted with their test.
import { assertEquals } from "@std/assert";
import { parseJunit } from "./junit.ts";

const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="6" failures="2" errors="0" time="0.395">
    <testsuite name="./src/a_test.ts" tests="5" disabled="1" errors="0" failures="2">
        <testcase name="plain &gt; name &lt;b&gt; &amp;lt;" classname="./src/a_test.ts" time="0.250" line="1" col="6">
        </testcase>
        <testcase name="skipped" classname="./src/a_test.ts" time="0.000" line="3" col="6">
            <skipped/>
        </testcase>
        <testcase name="steps" classname="./src/a_test.ts" time="0.002" line="4" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="steps &gt; one" classname="./src/a_test.ts" time="0.001" line="4" col="51">
            <failure message="Uncaught Error: boo">Error: boo</failure>
        </testcase>
        <testcase name="steps &gt; two &gt; inner" classname="./src/a_test.ts" time="0.001" line="4" col="51">
        </testcase>
    </testsuite>
    <testsuite name="./src/b_test.ts" tests="1" disabled="0" errors="0" failures="0">
        <testcase name="steps &gt; of another file" classname="./src/b_test.ts" time="1.500" line="1" col="6">
        </testcase>
    </testsuite>
</testsuites>`;

Deno.test("a report gives each test once, with its file, outcome and time", () => {
  assertEquals(parseJunit(REPORT), [
    { file: "src/a_test.ts", name: "plain > name <b> &lt;", outcome: "passed", seconds: 0.25 },
    { file: "src/a_test.ts", name: "skipped", outcome: "skipped", seconds: 0 },
    { file: "src/a_test.ts", name: "steps", outcome: "failed", seconds: 0.002 },
    { file: "src/b_test.ts", name: "steps > of another file", outcome: "passed", seconds: 1.5 },
  ]);
});

Deno.test("an empty report gives no test", () => {
  assertEquals(
    parseJunit('<?xml version="1.0"?><testsuites name="deno test" tests="0" failures="0" errors="0" time="0.0"></testsuites>'),
    [],
  );
});
