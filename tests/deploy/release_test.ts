/** A release as a person gets it: made twice from two folders, verified, unpacked, started. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import denoConfig from "../../deno.json" with { type: "json" };
import { LIBRARY_DIGESTS } from "../../ffi/digest.ts";
import { missing } from "../../tools/needs.ts";
import { TARGETS } from "../../tools/targets.ts";
import { copyCheckout, lackOfArm64, runTool } from "./checkout_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const SECONDS = 1_700_000_000;
const MACHINES = Object.values(TARGETS).map(({ name }) => name);
const nameFor = (machine: string) => `postern-${denoConfig.version}-${machine}`;
const NAME = nameFor("linux-x64");
const FILES = ["SHA256SUMS", ...MACHINES.map(nameFor).flatMap((name) => [`${name}.cdx.json`, `${name}.tar.gz`])].sort();

/** Builds and releases in `folder`, signed with the key if one is given; the path of what was made. */
async function release(folder: string, key = ""): Promise<string> {
  await copyCheckout(folder);
  const env = { POSTERN_COMMIT: COMMIT, SOURCE_DATE_EPOCH: String(SECONDS), POSTERN_RELEASE_KEY: key };
  for (const tool of [["tools/build.ts"], ["tools/build.ts", "--target=linux-arm64"], ["tools/release.ts"]]) {
    await runTool(folder, tool, env);
  }
  return join(folder, "dist", "release");
}

/** Whether two files have the same bytes, without holding both in a failure's text. */
function isSame(one: string, other: string): boolean {
  const [first, second] = [Deno.readFileSync(one), Deno.readFileSync(other)];
  return first.length === second.length && first.every((byte, i) => byte === second[i]);
}

const lack = missing({ tools: ["tar", "sha256sum", "ssh-keygen"], files: ["dist/postern"] }) ?? await lackOfArm64();
const PROMISE = "a release is the same bytes from two folders, and is what its papers say";
const title = lack === undefined ? PROMISE : `${PROMISE} [needs ${lack}]`;

Deno.test(title, { ignore: lack !== undefined }, async (t) => {
  const temporary = Deno.makeTempDirSync({ prefix: "postern-release-" });
  try {
    const first = await release(join(temporary, "one"));
    const key = join(temporary, "key");
    assertEquals((await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key])).code, 0);
    const second = await release(join(temporary, "another folder with a longer name"), key);

    await t.step("every file of it is the same, byte by byte", () => {
      assertEquals([...Deno.readDirSync(first)].map(({ name }) => name).sort(), FILES);
      for (const name of FILES) assert(isSame(join(first, name), join(second, name)), `${name} differs`);
    });

    await t.step("its checksums are signed, and the signature holds for these and no others", async () => {
      Deno.writeTextFileSync(join(temporary, "signers"), `release ${Deno.readTextFileSync(`${key}.pub`)}`);
      const words = `ssh-keygen -Y verify -f '${temporary}/signers' -I release -n postern-release -s '${second}/SHA256SUMS.sig'`;
      assertEquals((await run("sh", ["-c", `${words} <'${first}/SHA256SUMS'`])).code, 0);
      assertEquals((await run("sh", ["-c", `sed 's/0/1/' '${first}/SHA256SUMS' | ${words}`])).code, 255);
    });

    await t.step("sha256sum verifies it, and refuses it when a byte was changed", async () => {
      const verify = () => run("sh", ["-c", `cd '${second}' && sha256sum --check --strict SHA256SUMS`]);
      assertEquals((await verify()).code, 0);
      using archive = Deno.openSync(join(second, `${NAME}.tar.gz`), { write: true });
      archive.seekSync(1000, Deno.SeekMode.Start);
      archive.writeSync(new TextEncoder().encode("changed"));
      assertEquals((await verify()).code, 1);
    });

    await t.step("no file in it has an owner or a time of the machine", async () => {
      for (const name of MACHINES.map(nameFor)) {
        const { stdout } = await run("tar", [
          "--list",
          "--verbose",
          "--numeric-owner",
          "--utc",
          "-f",
          join(first, `${name}.tar.gz`),
        ]);
        const lines = stdout.trim().split("\n");
        assert(lines.length > 20, stdout);
        for (const line of lines) {
          assertMatch(line, /^[d-]r[w-][x-]r-[x-]r-[x-] 0\/0 +\d+ 2023-11-14 22:13 postern-/);
          assert(line.includes(` ${name}/`), line);
        }
        assertEquals(lines.filter((line) => /_(test|fixture)\.ts$/.test(line)), []);
      }
    });

    const unpacked = join(temporary, "unpacked");
    Deno.mkdirSync(unpacked);
    for (const machine of MACHINES) {
      assertEquals((await run("tar", ["-xf", join(first, `${nameFor(machine)}.tar.gz`), "-C", unpacked])).code, 0);
    }
    const inside = (name: string, machine = "linux-x64") => join(unpacked, nameFor(machine), name);

    await t.step("each binary is for the processor that its archive names", () => {
      // The field e_machine of an ELF file.
      const machineOf = (path: string) => new DataView(Deno.readFileSync(path).buffer).getUint16(18, true);
      assertEquals(MACHINES.map((machine) => machineOf(inside("postern", machine))), [62, 183]);
    });

    await t.step("its binary says which commit and which library it was made of", async () => {
      const { stdout } = await run(inside("postern"), ["version", "--json"]);
      const { commit, native, quiche, deno } = JSON.parse(stdout);
      assertEquals([commit, native, deno], [COMMIT, `sha256:${LIBRARY_DIGESTS["linux-x64"]}`, Deno.version.deno]);
      assertMatch(quiche, /^\d+\.\d+\.\d+$/);
    });

    await t.step("its own script lays out the image of it, with the time of its files", async () => {
      const bundle = join(temporary, "bundle.crt");
      Deno.writeTextFileSync(bundle, "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
      const { code, stderr } = await run(inside("deploy/container/image.sh"), ["--stage-only", "--authorities", bundle]);
      assertEquals(code, 0, stderr);
      assert(isSame(inside("dist/image/amd64/postern"), inside("postern")));
      const times = ["postern", "etc/nsswitch.conf", "etc"].map((name) => Deno.statSync(inside(`dist/image/amd64/${name}`)).mtime);
      assertEquals(times.map((time) => time?.getTime()), times.map(() => SECONDS * 1000));
    });

    for (const machine of MACHINES) {
      await t.step(`the bill of materials for ${machine} names every package and every crate of the lock files`, () => {
        const bom = JSON.parse(Deno.readTextFileSync(inside("postern.cdx.json", machine)));
        const ids = new Set(bom.components.map((one: { purl?: string }) => one.purl));
        for (const key of Object.keys(JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.lock"))).npm)) {
          const id = key.replace(/^(@?[^@]+@[^_]+).*$/, "$1").replace(/^@/, "%40");
          assert(ids.has(`pkg:npm/${id}`), `${id} is missing`);
        }
        const crates = [
          ...Deno.readTextFileSync(join(ROOT, "ffi/native/Cargo.lock")).matchAll(/^name = "(.+)"\nversion = "(.+)"\nsource/gm),
        ];
        assert(crates.length > 50);
        for (const [, name, version] of crates) {
          assert(ids.has(`pkg:cargo/${name}@${version}`), `${name} ${version} is missing`);
        }
        assertEquals(
          bom.metadata.component.properties.map((one: { value: string }) => one.value),
          [COMMIT, LIBRARY_DIGESTS[machine]],
        );
      });
    }

    for (const machine of MACHINES) {
      await t.step(`the licences for ${machine} name what is in the binary`, () => {
        const text = Deno.readTextFileSync(inside("THIRD_PARTY_LICENSES", machine));
        for (const words of ["quiche 0.30.0: BSD-2-Clause", "BoringSSL", "the Deno authors", "the V8 project authors", "zod "]) {
          assertStringIncludes(text, words);
        }
        assertEquals(text.includes("fast-check"), false);
      });
    }
  } finally {
    Deno.removeSync(temporary, { recursive: true });
  }
});
