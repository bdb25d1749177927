/** Quiche's own floor beside the product: the accept loop of `tests/bench/floor`, built when it is first asked for. */
import { linesOf } from "../../../tools/test_output.ts";

const BUILD = new URL("../floor/build.sh", import.meta.url).pathname;

export class Floor implements AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly #process: Deno.ChildProcess;

  private constructor(process: Deno.ChildProcess, port: number) {
    this.#process = process;
    this.pid = process.pid;
    this.port = port;
  }

  /** Null where it cannot be built: it needs a Rust tool chain. The first build takes minutes. */
  static async start(cert: string, key: string, ca: string): Promise<Floor | null> {
    const { code, stdout } = await new Deno.Command("sh", { args: [BUILD], stdin: "null", stderr: "null" }).output();
    if (code !== 0) return null;
    const program = new TextDecoder().decode(stdout).trim();
    const process = new Deno.Command(program, { args: [cert, key, ca, "--retry"], stdin: "null", stdout: "piped", stderr: "null" })
      .spawn();
    for await (const line of linesOf(process.stdout)) return new Floor(process, Number(line));
    throw new Error("the floor ended without a port");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
  }
}
