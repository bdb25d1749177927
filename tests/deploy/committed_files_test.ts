/** What is committed: nothing that belongs to one machine or one person, and a table of findings that is whole. */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const CHECKOUT = { tools: ["git"], files: [".git"] };

Deno.test(needing(CHECKOUT, "certificates that a person makes while trying things out are never committed", async () => {
  for (const path of ["certs/x.pem", "certs/server-key.pem", "certs/metrics/ca.crt", "docs/x.key", "x.pem"]) {
    assertEquals((await run("git", ["check-ignore", "--quiet", "--no-index", path], { cwd: ROOT })).code, 0, path);
  }
}));

Deno.test(needing(CHECKOUT, "no file has the first line of a private key in it, not even as an example", async () => {
  const find = (folder: string) => run("git", ["grep", "-l", ["BEGIN .*PRIVATE", "KEY"].join(" ")], { cwd: folder });
  assertEquals(await find(ROOT), { code: 1, stdout: "", stderr: "" });
  // It does look: a committed key is found.
  using folder = new TemporaryFolder();
  Deno.writeTextFileSync(join(folder.path, "x.txt"), ["-----BEGIN EC PRIVATE", "KEY-----\n"].join(" "));
  for (const args of [["init", "--quiet"], ["add", "x.txt"]]) assertEquals((await run("git", args, { cwd: folder.path })).code, 0);
  assertEquals((await find(folder.path)).stdout, "x.txt\n");
}));

Deno.test(needing(CHECKOUT, "no file names a folder of one person's machine", async () => {
  const pattern = "(^|[^A-Za-z0-9._/~-])/(home|Users)/[a-z][a-z0-9_-]*/";
  const { stdout } = await run("git", ["grep", "-nIE", "-e", pattern, "--", ".", ":!deno.lock"], { cwd: ROOT });
  const found = stdout.split("\n").filter((line) => line !== "" && !/\/(home|Users)\/(user|you|me)\//.test(line));
  // This file has to say what it looks for.
  assertEquals(found.filter((line) => !line.startsWith("tests/deploy/committed_files_test.ts:")), []);
}));

Deno.test("each of the 26 findings in earlier implementations stands in docs/SECURITY.md with its status and a test", () => {
  const expected = Object.entries({ C: 1, H: 4, M: 8, L: 9, I: 4 }).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, i) => `${letter}${i + 1}`)
  );
  const text = Deno.readTextFileSync(join(ROOT, "docs", "SECURITY.md"));
  const rows = [...text.matchAll(/^\| ([CHMLI]\d) +\| (.*) \|$/gm)].map(([, id = "", rest = ""]) => ({
    id,
    cells: rest.split(" | "),
  }));
  assertEquals(rows.map(({ id }) => id), expected);
  assertEquals(expected.length, 26);
  for (const { id, cells } of rows) {
    assertEquals([cells.length, cells[1]?.trim()], [4, "closed"], id);
    // That these tests exist, metrics_document_test.ts sees to.
    assert(/`[^`]{10,}`/.test(cells[3] ?? ""), `${id} names no test`);
  }
});
