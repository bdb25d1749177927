/** iperf3 for benchmarks: a server that stays, and clients that say how much arrived. */

/** From the client: what it sends, or what it receives. */
export type IperfWay = "up" | "down";

/** How a program is started at one end. */
export type Starter = (program: string, ...args: readonly string[]) => Deno.Command;

/** On this machine itself, outside of any namespace. */
export const here: Starter = (program, ...args) => new Deno.Command(program, { args: [...args], ...IperfServer.PIPED });

const TRIES_MAX = 5;

export interface IperfResult {
  /** That arrived at the receiver. */
  readonly bytes: number;
  readonly seconds: number;
}

export class IperfServer implements AsyncDisposable {
  /** In a namespace of its own no port is taken. */
  static readonly PORT = 5_201;
  static readonly PIPED = { stdin: "null", stdout: "piped", stderr: "piped" } as const;
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  private constructor(process: Deno.ChildProcess) {
    this.#process = process;
    // What it says is not wanted, but must not fill the pipe.
    this.#reading = process.stdout.pipeTo(new WritableStream());
  }

  static async start(starter: Starter, port = IperfServer.PORT): Promise<IperfServer> {
    const process = starter("iperf3", "--server", "--port", `${port}`, "--forceflush").spawn();
    const reader = process.stdout.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    if (value === undefined) {
      throw new Error(`iperf3 does not listen on ${port}: ${await new Response(process.stderr).text()}`);
    }
    return new IperfServer(process);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGTERM");
    await this.#process.status;
    await this.#reading;
    await this.#process.stderr.cancel();
  }
}

/** One run of a client. */
export async function runIperf(
  starter: Starter,
  address: string,
  port: number,
  options: { readonly connections: number; readonly way: IperfWay } & ({ readonly seconds: number } | { readonly bytes: number }),
): Promise<IperfResult> {
  const { connections, way } = options;
  const length = "bytes" in options ? ["--bytes", `${options.bytes}`] : ["--time", `${options.seconds}`];
  const args = ["--client", address, "--port", `${port}`, ...length, "--parallel", `${connections}`, "--json"];
  if (way === "down") args.push("--reverse");
  for (let tries = 0;; tries++) {
    const { code, stdout } = await starter("iperf3", ...args).output();
    const said = JSON.parse(new TextDecoder().decode(stdout));
    const received = said.end?.sum_received;
    if (code === 0 && received !== undefined) return { bytes: received.bytes, seconds: received.seconds };
    // One test at a time: the last one may still be saying goodbye, or a connector looks whether the server is there.
    if (tries === TRIES_MAX) throw new Error(`iperf3 to ${address} failed: ${said.error}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}
