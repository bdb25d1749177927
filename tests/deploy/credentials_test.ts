/** check-credentials.sh: whether a reload would see what was renewed. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { run, UNITS } from "./unit_fixture.ts";

const SCRIPT = join(UNITS, "check-credentials.sh");

/** A folder of copies and one of sources with these contents. */
async function check(copies: Readonly<Record<string, string>>, sources: Readonly<Record<string, string>>) {
  const folder = Deno.makeTempDirSync();
  try {
    for (const [name, files] of Object.entries({ copies, sources })) {
      Deno.mkdirSync(join(folder, name));
      for (const [file, text] of Object.entries(files)) Deno.writeTextFileSync(join(folder, name, file), text);
    }
    const { code, stderr } = await run(SCRIPT, [join(folder, "copies"), join(folder, "sources")]);
    return { code, stderr: stderr.replaceAll(folder, "") };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a reload goes on while certificates are those of the start, and those from elsewhere are nobody's business", async () => {
  assertEquals(await check({ "a.crt": "1", "b.key": "2", "other": "x" }, { "a.crt": "1", "b.key": "2", "new": "3" }), {
    code: 0,
    stderr: "",
  });
  assertEquals((await check({}, {})).code, 0);
});

Deno.test("a reload that could not see renewed certificates fails and says which", async () => {
  const { code, stderr } = await check({ "a.crt": "1", "b.key": "2" }, { "a.crt": "1", "b.key": "22" });
  assertEquals(code, 1);
  assertStringIncludes(stderr, "ERROR: changed since the service started: /sources/b.key\n");
  assertStringIncludes(stderr, "renewed-files.conf");
});

Deno.test("check-credentials.sh refuses a missing folder and a wrong command line", async () => {
  assertEquals(await run(SCRIPT, ["/nonexistent/x", "/tmp"]), {
    code: 1,
    stdout: "",
    stderr: "ERROR: no folder of credentials: /nonexistent/x\n",
  });
  assertEquals((await run(SCRIPT, ["/tmp"])).code, 2);
});
