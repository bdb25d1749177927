/** image.sh with a buildah that only notes its calls: what is laid out of which binary, what is called, and what stops it. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { sourceFiles } from "../../tools/suites.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { runWithStubs, type Stub, type StubRun } from "./stub_fixture.ts";
import { ROOT } from "./unit_fixture.ts";

const NEEDS = { tools: ["ldd", "readelf", "find", "install"], files: ["/usr/bin/true"] };
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const SECONDS = 1_700_000_000;
/** Some small program of this machine, in the place of a binary that takes seconds to copy. */
const PROGRAM = "/usr/bin/true";

/** A folder as a release unpacks, with `program` as its binary, beside authorities of two files. */
class Release implements Disposable {
  readonly #folder = new TemporaryFolder();
  readonly path = this.#folder.path;
  readonly stage = join(this.path, "dist", "image", "amd64");

  constructor(program: string | null = PROGRAM) {
    for (const name of ["deploy/container", "authorities"]) Deno.mkdirSync(join(this.path, name), { recursive: true });
    for (const name of ["image.sh", "Containerfile"]) {
      Deno.copyFileSync(join(ROOT, "deploy", "container", name), join(this.path, "deploy", "container", name));
    }
    if (program !== null) Deno.copyFileSync(program, join(this.path, "postern"));
    for (const name of ["b.crt", "a.crt"]) {
      Deno.writeTextFileSync(join(this.path, "authorities", name), `# ${name}\n\n${CERTIFICATE}`);
    }
  }

  async image(args: readonly string[], buildah: Stub | null = {}): Promise<StubRun> {
    const script = join(this.path, "deploy", "container", "image.sh");
    const words = args.includes("--authorities") ? args : [...args, "--authorities", join(this.path, "authorities")];
    const env = { SOURCE_DATE_EPOCH: String(SECONDS) };
    const result = await runWithStubs(script, words, buildah === null ? {} : { buildah }, { env });
    const here = (text: string) => text.replaceAll(this.path, "");
    return { code: result.code, stdout: here(result.stdout), stderr: here(result.stderr), calls: result.calls.map(here) };
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

Deno.test(needing(NEEDS, "image.sh lays out a binary with what it maps, and with --stage-only calls nobody", async () => {
  using release = new Release();
  const { code, stdout, stderr, calls } = await release.image(["--stage-only"]);
  assertEquals([code, stderr, calls], [0, "", []]);
  const files = sourceFiles(release.stage, () => true);
  for (const wanted of ["postern", "etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt", "lib64/ld-linux-x86-64.so.2"]) {
    assert(files.includes(wanted), `${wanted} is missing: ${files.join(" ")}`);
  }
  assert(files.some((file) => file.endsWith("/libc.so.6")), files.join(" "));
  for (const file of files) {
    assertEquals(Deno.statSync(join(release.stage, file)).mtime?.getTime(), SECONDS * 1000, file);
    assertStringIncludes(stdout, ` /${file}\n`);
  }
  assertEquals(
    Deno.readTextFileSync(join(release.stage, "etc/ssl/certs/ca-certificates.crt")),
    `# a.crt\n${CERTIFICATE}# b.crt\n${CERTIFICATE}`,
  );
  assertMatch(stdout, /MiB in \d+ files for amd64\n$/);
}));

Deno.test(needing(NEEDS, "image.sh has buildah build from nothing, without a network, and write an archive", async () => {
  using release = new Release();
  const { code, stdout, calls } = await release.image(["--tag", "registry.example.com:5000/team/postern:1.2"]);
  assertEquals(code, 0);
  const [build = "", push, ...more] = calls;
  for (const flag of ["bud", "--pull-never", "--network=none", "--format=docker", `--timestamp=${SECONDS}`, "--arch=amd64"]) {
    assertStringIncludes(`${build} `, ` ${flag} `);
  }
  assertStringIncludes(build, " --file=/deploy/container/Containerfile --tag=registry.example.com:5000/team/postern:1.2 ");
  const archive = "/dist/image/postern-1.2-amd64.tar";
  assertEquals(
    push,
    `buildah push --quiet registry.example.com:5000/team/postern:1.2 docker-archive:${archive}:registry.example.com:5000/team/postern:1.2`,
  );
  assertEquals(more, []);
  assertStringIncludes(stdout, `registry.example.com:5000/team/postern:1.2: ${archive}\n`);
}));

Deno.test(needing(NEEDS, "image.sh says what is wrong: flags, binary, authorities, shared objects, buildah", async () => {
  using release = new Release();
  const text = join(release.path, "authorities", "a.crt");
  const foreign = join(ROOT, "lib", "linux-arm64", "libpostern_native.so");
  const wrong: readonly (readonly [readonly string[], number, RegExp])[] = [
    [["--stage"], 2, /^ERROR: unknown flag: --stage\n/],
    [["--stage-only", "--tag"], 2, /^ERROR: --tag needs a value\n/],
    [["--tag", "Some One"], 1, /^ERROR: Invalid tag: 'Some One'\n$/],
    [["--binary", "/none"], 1, /^ERROR: no file \/none: name the binary with --binary, or make it \(make build\)\n$/],
    [["--binary", text], 1, /^ERROR: \S+\/a\.crt is no program for x86-64 or arm64\n$/],
    [["--authorities", "/none"], 1, /^ERROR: no \/none: apt-get install ca-certificates, or name a bundle with --authorities\n$/],
    [["--tag", "x:1", "--authorities", "/dev/null"], 1, /^ERROR: there is no certificate in \/dev\/null\n$/],
    [["--binary", foreign], 1, /^ERROR: --tag is needed: \S+ does not run here to say its version\n$/],
    [
      ["--binary", foreign, "--stage-only", "--libraries", "/none"],
      1,
      /^ERROR: no folder \/none: name the one of the shared objects/,
    ],
    [["--binary", foreign, "--stage-only", "--libraries", release.path], 1, /^ERROR: \S+ names no loader\n$/],
    [["--stage-only", "--libraries", release.path], 1, /^ERROR: no file \S*\/ld-linux-x86-64\.so\.2, which \/postern needs\n$/],
  ];
  for (const [args, code, message] of wrong) {
    // The flag that lacks its value stands last.
    const words = args.at(-1) === "--tag" ? ["--authorities", text, ...args] : args;
    const result = await release.image(words);
    assertEquals([result.code, result.calls], [code, []], args.join(" "));
    assertMatch(result.stderr, message);
  }
  for (const [verb, message] of [["bud", "build x:1"], ["push", "write /dist/image/x-1-amd64.tar"]]) {
    const failed = await release.image(["--tag", "x:1"], { script: `if [ "$1" = ${verb} ]; then exit 7; fi` });
    assertEquals([failed.code, failed.stderr], [1, `ERROR: buildah could not ${message}\n`]);
  }
  const none = await release.image(["--tag", "x:1"], null);
  assertEquals([none.code, none.stderr], [1, "ERROR: buildah is missing: apt-get install buildah\n"]);
}));

Deno.test(
  needing(NEEDS, "image.sh looks for the release's binary, then for the checkout's, and asks it for the version", async () => {
    using empty = new Release(null);
    const nothing = await empty.image([]);
    assertEquals([nothing.code, nothing.calls], [1, []]);
    assertStringIncludes(nothing.stderr, "ERROR: no file /dist/postern: ");
    // Its name would have a version in it that nobody said.
    using release = new Release("/usr/bin/false");
    const silent = await release.image([]);
    assertEquals([silent.code, silent.stderr, silent.calls], [1, "ERROR: /postern does not say its version\n", []]);
  }),
);
