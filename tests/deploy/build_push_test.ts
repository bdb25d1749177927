/** build-push.sh with a Docker that only notes its calls: what is pushed, and above all what is not. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { runWithStubs, type Stub, type StubRun } from "./stub_fixture.ts";
import { ROOT } from "./unit_fixture.ts";

const SCRIPT = join(ROOT, "deploy", "k8s", "build-push.sh");
const TWO = "linux/amd64,linux/arm64";

/** Runs it for a checkout in which only the folders of `staged` processors are laid out. */
async function build(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  docker: Stub | null = {},
  staged: readonly string[] = ["amd64", "arm64"],
): Promise<StubRun> {
  using folder = new TemporaryFolder();
  for (const path of ["deploy/container", ...staged.map((name) => `dist/image/${name}`)]) {
    Deno.mkdirSync(join(folder.path, path), { recursive: true });
  }
  Deno.writeTextFileSync(join(folder.path, "deploy/container/Containerfile"), "FROM scratch\n");
  const result = await runWithStubs(SCRIPT, args, docker === null ? {} : { docker }, { env: { CONTEXT: folder.path, ...env } });
  return {
    ...result,
    stderr: result.stderr.replaceAll(folder.path, ""),
    calls: result.calls.map((call) => call.replaceAll(folder.path, "")),
  };
}

Deno.test("build-push.sh --no-push loads and never pushes", async () => {
  const { code, stdout, calls } = await build(["--no-push"], { PLATFORMS: "linux/amd64" });
  assertEquals([code, stdout], [0, "Loaded ghcr.io/postern/postern:latest (linux/amd64); nothing was pushed\n"]);
  const [, build1 = ""] = calls;
  assertStringIncludes(build1, "docker buildx build --platform linux/amd64 --file /deploy/container/Containerfile ");
  assertStringIncludes(build1, " --tag ghcr.io/postern/postern:latest --load");
  assert(!calls.join("\n").includes("--push"));
});

Deno.test("build-push.sh --no-push for several processors is refused before Docker is called", async () => {
  for (const env of [{}, { PLATFORMS: TWO }]) {
    const { code, stderr, calls } = await build(["--no-push"], env);
    const message = "ERROR: --no-push is incompatible with multi-platform builds (buildx --load requires single platform)\n";
    assertEquals([code, stderr, calls], [1, message, []]);
  }
});

Deno.test("build-push.sh makes the image for what is laid out, unless PLATFORMS names something else", async () => {
  const { code, stdout } = await build([], {}, {}, ["amd64"]);
  assertEquals([code, stdout], [0, "Loaded ghcr.io/postern/postern:latest (linux/amd64); nothing was pushed\n"]);
  const none = await build([], {}, {}, []);
  const words = "lay it out (deploy/container/image.sh --stage-only), or name in PLATFORMS what there is: none";
  assertEquals([none.code, none.stderr, none.calls], [1, `ERROR: no folder /dist/image/amd64: ${words}\n`, []]);
});

Deno.test("build-push.sh needs --push for several processors, or one of them", async () => {
  const { code, stderr, calls } = await build([]);
  assertEquals([code, calls], [1, []]);
  assertStringIncludes(stderr, `ERROR: several processors (${TWO}) need --push; --arm64-only`);
  const arm = await build(["--arm64-only"]);
  assertEquals(arm.code, 0);
  assertStringIncludes(arm.calls[1] ?? "", "--platform linux/arm64 ");
  assertStringIncludes(arm.calls[1] ?? "", " --load");
  const both = await build(["--arm64-only", "--no-push"]);
  assertEquals([both.code, both.calls.join("\n").includes("--push")], [0, false]);
  const one = await build([], { PLATFORMS: "linux/amd64" });
  assertStringIncludes(one.calls[1] ?? "", " --load");
});

Deno.test("build-push.sh --push pushes what the variables name", async () => {
  const { code, stdout, calls } = await build(["--push"], {
    REGISTRY: "registry.example.com:5000",
    OWNER: "team/net",
    TAG: "1.2.3",
  });
  assertEquals([code, stdout], [0, `Pushed registry.example.com:5000/team/net/postern:1.2.3 (${TWO})\n`]);
  assertStringIncludes(calls[1] ?? "", `--platform ${TWO} `);
  assertStringIncludes(calls[1] ?? "", " --tag registry.example.com:5000/team/net/postern:1.2.3 --push");
});

Deno.test("build-push.sh says what is wrong: flags, variables, files, Docker", async () => {
  const wrong: readonly (readonly [readonly string[], Record<string, string>, number, string])[] = [
    [["--push", "--no-push"], {}, 2, "ERROR: --push and --no-push exclude each other"],
    [["--pushh"], {}, 2, "ERROR: unknown flag: --pushh"],
    [["--push"], { PLATFORMS: "linux/amd64 --push" }, 1, "ERROR: Invalid PLATFORMS: 'linux/amd64 --push'"],
    [["--push"], { REGISTRY: "../x" }, 1, "ERROR: Invalid REGISTRY: '../x'"],
    [["--push"], { OWNER: "Some One" }, 1, "ERROR: Invalid OWNER: 'Some One'"],
    [["--push"], { TAG: "a b" }, 1, "ERROR: Invalid TAG: 'a b'"],
    [["--push"], { CONTEXT: "/nonexistent" }, 1, "ERROR: no file /nonexistent/deploy/container/Containerfile"],
  ];
  for (const [args, env, code, message] of wrong) {
    const result = await build(args, env);
    assertEquals([result.code, result.stderr.split("\n")[0], result.calls], [code, message, []]);
  }
  const noBuildx = await build(["--push"], {}, { code: 1 });
  assertEquals([noBuildx.code, noBuildx.stderr], [1, "ERROR: docker has no buildx here\n"]);
  const noBuild = await build(["--push"], {}, { script: 'if [ "$2" = build ]; then exit 1; fi' });
  assertEquals([noBuild.code, noBuild.stderr], [1, "ERROR: docker could not build ghcr.io/postern/postern:latest\n"]);
  const noDocker = await build(["--push"], {}, null);
  assertEquals([noDocker.code, noDocker.stderr], [1, "ERROR: docker is missing\n"]);
  const notStaged = await build(["--push"], { PLATFORMS: TWO }, {}, ["amd64"]);
  assertEquals([notStaged.code, notStaged.stderr, notStaged.calls], [
    1,
    "ERROR: no folder /dist/image/arm64: lay it out (deploy/container/image.sh --stage-only), or name in PLATFORMS what there is: linux/amd64\n",
    [],
  ]);
});

Deno.test("build-push.sh: what the help says holds is what holds", async () => {
  const { code, stdout } = await build(["--help"], { TAG: "seen" });
  assertEquals(code, 0);
  for (const line of ["REGISTRY=ghcr.io", "OWNER=postern", "TAG=seen", `PLATFORMS=${TWO}`]) {
    assertStringIncludes(stdout, `  ${line}\n`);
  }
  const pushed = await build(["--push"], { TAG: "seen" });
  assertStringIncludes(pushed.calls[1] ?? "", " --tag ghcr.io/postern/postern:seen ");
});
