/** The floor of `tests/bench/floor/relay.c`: over the library that the product ships, built with a C compiler in a second. */
import { join } from "node:path";
import { missing } from "../../../tools/needs.ts";
import { linesOf } from "../../../tools/test_output.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..", "..");
const SOURCE = join(ROOT, "tests/bench/floor/relay.c");
const LIBRARY = join(ROOT, "lib", Deno.build.arch === "aarch64" ? "linux-arm64" : "linux-x64", "libpostern_native.so");
/** How the library calls itself: a program looks for it by this name. */
const LIBRARY_NAME = "libquiche.so.0";

export class PlainFloor implements AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly #process: Deno.ChildProcess;

  private constructor(process: Deno.ChildProcess, port: number) {
    this.#process = process;
    this.pid = process.pid;
    this.port = port;
  }

  /** What is missing here to build it, if anything is. */
  static missing(): string | undefined {
    return missing({ tools: ["cc"], files: ["/usr/include/stdio.h", LIBRARY] });
  }

  /** Builds it in `folder` and starts it. Throws with the compiler's words. */
  static async start(folder: string, cert: string, key: string, ca: string): Promise<PlainFloor> {
    const program = join(folder, "floor_relay");
    const headers = join(ROOT, "ffi/native/include");
    Deno.symlinkSync(LIBRARY, join(folder, LIBRARY_NAME));
    const args = ["-O2", "-I", headers, "-o", program, SOURCE, `-L${folder}`, `-l:${LIBRARY_NAME}`, `-Wl,-rpath,${folder}`];
    const { code, stderr } = await new Deno.Command("cc", { args, stdin: "null" }).output();
    if (code !== 0) throw new Error(`the floor does not compile: ${new TextDecoder().decode(stderr)}`);
    const process = new Deno.Command(program, { args: [cert, key, ca], stdin: "null", stdout: "piped", stderr: "inherit" }).spawn();
    for await (const line of linesOf(process.stdout)) return new PlainFloor(process, Number(line));
    throw new Error("the floor ended without a port");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
  }
}
