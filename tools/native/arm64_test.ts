// What the builds of the native library say when the machine lacks something; nothing is built here.
import { assertEquals } from "@std/assert";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
/** Programs of the machine that the scripts may use here, by their names. */
const REAL = ["dirname", "uname", "mkdir", "cat", "rm", "grep", "sort"];

/** Runs a script with nothing on its PATH but {@linkcode REAL} and programs that print these words; what it says of its failure. */
function failure(script: string, args: readonly string[], programs: Readonly<Record<string, string>>): string[] {
  const folder = Deno.makeTempDirSync();
  try {
    for (const name of REAL) {
      const path = ["/usr/bin", "/bin"].map((bin) => join(bin, name)).find((file) => Deno.lstatSync(file).isFile) ?? name;
      Deno.symlinkSync(path, join(folder, name));
    }
    for (const [name, words] of Object.entries(programs)) {
      Deno.writeTextFileSync(join(folder, name), `#!/bin/sh\necho '${words}'\n`, { mode: 0o755 });
    }
    const env = { PATH: folder, HOME: folder, CARGO_HOME: folder, POSTERN_ARM64_ROOT: join(folder, "arm64") };
    const command = new Deno.Command("/bin/sh", { args: [join(ROOT, "tools/native", script), ...args], env, clearEnv: true });
    const { code, stderr } = command.outputSync();
    assertEquals(code, 1);
    return new TextDecoder().decode(stderr).trim().split("\n");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const COMPILERS = { cargo: "", cmake: "", patch: "" };

Deno.test("the native build names the machines that it builds for, and where the compilers for arm64 come from", () => {
  assertEquals(failure("build.sh", ["linux-riscv"], COMPILERS), [
    "postern: error: there is no native library for linux-riscv",
    "postern: hint: say linux-x64 or linux-arm64",
  ]);
  assertEquals(failure("build.sh", ["linux-arm64"], COMPILERS), [
    "postern: error: the native build needs aarch64-linux-gnu-gcc, which is not installed",
    "postern: hint: run tools/native/arm64.sh, or apt-get install gcc-aarch64-linux-gnu",
  ]);
  const gcc = { "aarch64-linux-gnu-gcc": "", "aarch64-linux-gnu-g++": "", "aarch64-linux-gnu-objdump": "" };
  assertEquals(failure("build.sh", ["linux-arm64"], { ...COMPILERS, ...gcc, rustc: "/nonexistent" }), [
    "postern: error: Rust has no standard library for aarch64-unknown-linux-gnu here",
    "postern: hint: run tools/native/arm64.sh, or rustup target add aarch64-unknown-linux-gnu",
  ]);
});

Deno.test("the build for arm64 needs root, debootstrap and a Debian 12", () => {
  assertEquals(failure("arm64.sh", [], { id: "1000" }), [
    "postern: error: laying out a Debian needs root",
    "postern: hint: use the prebuilt library in lib/linux-arm64, or run this as root",
  ]);
  const asRoot = { id: "0", unshare: "", chroot: "" };
  assertEquals(failure("arm64.sh", [], asRoot), [
    "postern: error: the build for arm64 needs debootstrap, which is not installed",
    "postern: hint: apt-get install debootstrap",
  ]);
  const other = { debootstrap: "", "apt-get": "deb http://mirror.example/debian trixie main" };
  assertEquals(failure("arm64.sh", [], { ...asRoot, ...other }).at(-1), "postern: hint: run this on Debian 12 (bookworm)");
});
