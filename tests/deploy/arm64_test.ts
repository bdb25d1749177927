/**
 * The binary for arm64 and the files of its image, which no machine of ours runs: an emulator does, so that the port is more than a file
 * that was linked.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { LIBRARY_DIGESTS } from "../../ffi/digest.ts";
import { missing } from "../../tools/needs.ts";
import { TARGETS } from "../../tools/targets.ts";
import { Gateway } from "../e2e/gateway_fixture.ts";
import { BINARY, TemporaryFolder } from "../e2e/processes_fixture.ts";
import { copyCheckout, lackOfArm64, runTool } from "./checkout_fixture.ts";
import { giveAway, NOBODY } from "./relay_fixture.ts";
import { run } from "./unit_fixture.ts";

const COMMIT = "fedcba9876543210fedcba9876543210fedcba98";
const EMULATOR = "qemu-aarch64-static";
/** Debian's C library for arm64, as its cross compilers have it. */
const LIBRARIES = "/usr/aarch64-linux-gnu/lib";
/** Emulated, a start takes five seconds of a processor that does nothing else. */
const SECONDS_MAX = 240;
/** A processor without pointer authentication: to emulate that alone takes four fifths of the time. */
const PROCESSOR = ["-cpu", "cortex-a72"];
/**
 * With no privileges to lose: a role that has some executes itself anew, which a program cannot whose emulator the kernel does not know.
 */
const POWERLESS = ["setpriv", "--no-new-privs", ...asNobody()];

function asNobody(): string[] {
  return Deno.uid() === 0 ? [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--inh-caps=-all"] : [];
}

const lack = missing({
  tools: [EMULATOR, "setpriv", "timeout", "readelf"],
  files: [`${LIBRARIES}/libgcc_s.so.1`, "/usr/share/ca-certificates/mozilla", "dist/postern"],
}) ??
  await lackOfArm64();
const title = `the binary for arm64 says what it is, and with the files of its image its server takes an agent${
  lack === undefined ? "" : ` [needs ${lack}]`
}`;

Deno.test(title, { ignore: lack !== undefined }, async (t) => {
  using temporary = new TemporaryFolder();
  const folder = join(temporary.path, "checkout");
  await copyCheckout(folder);
  await runTool(folder, ["tools/build.ts", "--target=linux-arm64"], { POSTERN_COMMIT: COMMIT });
  // What the image for it holds is all that the emulator finds: the program, its loader and its shared objects.
  const staging = [
    "deploy/container/image.sh",
    "--stage-only",
    "--binary",
    TARGETS["linux-arm64"].binary,
    "--libraries",
    LIBRARIES,
  ];
  const staged = await run("bash", staging, { cwd: folder });
  assertEquals(staged.code, 0, staged.stderr);
  const stage = join(temporary.path, "image");
  Deno.renameSync(join(folder, "dist/image/arm64"), stage);
  const [binary, emulated] = [join(stage, "postern"), [EMULATOR, ...PROCESSOR, "-L", stage]];
  Deno.chmodSync(temporary.path, 0o755);

  await t.step("its version names the commit and the library for arm64", async () => {
    const { code, stdout, stderr } = await run("timeout", [String(SECONDS_MAX), ...emulated, binary, "version", "--json"]);
    assertEquals(code, 0, stderr);
    const { commit, native } = JSON.parse(stdout);
    assertEquals([commit, native], [COMMIT, `sha256:${LIBRARY_DIGESTS["linux-arm64"]}`]);
  });

  await t.step("a server on arm64 takes an agent on x64", async () => {
    // Behind a wrapper stands the other binary's path.
    const wrapper = [...POWERLESS, "sh", "-c", `shift; exec ${[...emulated, binary].join(" ")} "$@"`, "sh"];
    await using gateway = await Gateway.empty({ wrapper });
    giveAway(gateway.folder);
    const { caCert, server: files, agent } = gateway.pki;
    const server = gateway.run(["server", "--bind", "127.0.0.1:0", "--cert", files.cert, "--key", files.key, "--ca-cert", caCert]);
    await server.until("ready", {}, { ms: SECONDS_MAX * 1000 });
    const address = `127.0.0.1:${(await server.ports())[0]}`;
    const probe = ["probe", ...gateway.uplinkFlags(agent, address), "--service", "web", "--measure-handshake"];
    let { code, stdout, stderr } = await run(BINARY, probe);
    // It waits 10 seconds for an answer, which on a busy machine may come later.
    for (let more = 5; code !== 0 && more > 0; more--) ({ code, stdout, stderr } = await run(BINARY, probe));
    assertEquals(code, 0, stderr + server.tail());
    assertMatch(stdout, /^HANDSHAKE_US:\d+$/m);
    assertEquals((await server.stop("SIGTERM", SECONDS_MAX * 1000)).code, 0, server.tail());
  });
});
