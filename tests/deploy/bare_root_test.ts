/** The binary on a system that has nothing: no configuration, no folder to write to, no user to be. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { makePki } from "../e2e/pki_fixture.ts";
import { bareRoot, inRoot, OLDEST_DEBIAN } from "./bare_root_fixture.ts";
import { giveAway, relayThrough } from "./relay_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

/** lib/README.md and the documents promise it. */
const GLIBC_FLOOR = 34;

/** The minor version of the newest glibc 2 whose symbols a program or library asks for. */
function newestGlibc(path: string): number {
  const text = new TextDecoder("latin1").decode(Deno.readFileSync(join(ROOT, path)));
  return Math.max(...[...text.matchAll(/GLIBC_2\.(\d+)\0/g)].map(([, minor]) => Number(minor)));
}

Deno.test({
  name: "binary and native libraries ask for no newer glibc than 2.34",
  ignore: !Deno.readDirSync(ROOT).some(({ name }) => name === "dist"),
  fn: () => {
    for (const machine of ["linux-x64", "linux-arm64"]) {
      assertEquals(newestGlibc(`lib/${machine}/libpostern_native.so`), GLIBC_FLOOR);
    }
    const binary = newestGlibc("dist/postern");
    assert(binary > 0 && binary <= GLIBC_FLOOR, `2.${binary}`);
  },
});

const root = await bareRoot();
const lack = typeof root === "string" ? ` [needs ${root}]` : "";

Deno.test({
  name: `the binary does its work on a bare ${OLDEST_DEBIAN}, for an unprivileged user who can write nowhere${lack}`,
  ignore: typeof root === "string",
  fn: async (t) => {
    if (typeof root === "string") return;
    const folder = Deno.makeTempDirSync({ prefix: "postern-bare-files-" });
    try {
      Deno.copyFileSync(join(ROOT, "dist", "postern"), join(root.path, "opt", "postern"));
      const pki = await makePki(join(folder, "pki"));
      giveAway(folder);
      const inside = (...words: string[]) => {
        const [program = "", ...args] = [...inRoot(root.path, folder), ...words];
        return run(program, args);
      };

      await t.step("there is no folder that it could write to", async () => {
        const { stdout, stderr } = await inside("find", "/", "-xdev", "-type", "d", "-writable", "-not", "-path", `${folder}*`);
        assertEquals(stdout, "", stderr);
        assertStringIncludes(stderr, "/root", "it has looked, and is not root");
      });

      await t.step("it says its version, and reads a certificate with the native library", async () => {
        const { stdout, code, stderr } = await inside("./postern", "version");
        assertEquals(code, 0, stderr);
        assertStringIncludes(stdout, "native sha256:");
        const read = await inside("./postern", "certs", "inspect", pki.server.cert);
        assertEquals(read.code, 0, read.stderr);
        assertStringIncludes(read.stdout, "localhost");
      });

      await t.step("its three roles relay a transfer", async () => {
        // Behind a wrapper stands the binary's path out here; in there it is another.
        await relayThrough((files) => [...inRoot(root.path, files), "/bin/sh", "-c", `shift; exec ./postern "$@"`, "sh"]);
      });
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  },
});
