/** rathole with noise: a tunnel in Rust whose server stands on the way and whose client stands beside the service, two processes. */
import { stopProcess } from "./children.ts";
import type { Starter } from "./iperf.ts";

export interface RatholeOptions {
  readonly program: string;
  /** Where the configuration lies. */
  readonly folder: string;
  readonly server: Starter;
  readonly client: Starter;
  /** Of the server, as everybody sees it; `port` is where it takes what is for the service. */
  readonly address: string;
  readonly controlPort: number;
  readonly port: number;
  /** Where the client connects to. */
  readonly sink: string;
}

const READY_MS = 10_000;

export class Rathole implements AsyncDisposable {
  readonly pids: readonly number[];
  readonly #processes: readonly Deno.ChildProcess[];

  private constructor(processes: readonly Deno.ChildProcess[]) {
    this.pids = processes.map((process) => process.pid);
    this.#processes = processes;
  }

  /** Starts both and waits until the service is offered. */
  static async start(options: RatholeOptions): Promise<Rathole> {
    const { program, folder, address, controlPort, port, sink } = options;
    const keys = await new Deno.Command(program, { args: ["--genkey"], stderr: "null" }).output();
    const [privateKey, publicKey] = new TextDecoder().decode(keys.stdout).split("\n").filter((line) =>
      /^[A-Za-z0-9+/]+=*$/.test(line)
    );
    const token = crypto.randomUUID();
    const noise = (key: string) => `type = "noise"\n[PART.transport.noise]\n${key}\n`;
    const part = (name: string, text: string) => {
      const path = `${folder}/rathole-${name}.toml`;
      Deno.writeTextFileSync(path, text.replaceAll("PART", name), { mode: 0o600 });
      return path;
    };
    const server = part(
      "server",
      `[PART]\nbind_addr = "${address}:${controlPort}"\ndefault_token = "${token}"\n[PART.transport]\n${
        noise(`local_private_key = "${privateKey}"`)
      }[PART.services.bulk]\nbind_addr = "${address}:${port}"\n`,
    );
    const client = part(
      "client",
      `[PART]\nremote_addr = "${address}:${controlPort}"\ndefault_token = "${token}"\n[PART.transport]\n${
        noise(`remote_public_key = "${publicKey}"`)
      }[PART.services.bulk]\nlocal_addr = "${sink}"\n`,
    );
    const processes = [options.server(program, "--server", server).spawn()];
    processes.push(options.client(program, "--client", client).spawn());
    const [, offering] = processes;
    if (offering !== undefined) await saying(offering, "Control channel established");
    return new Rathole(processes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map(stopProcess));
  }
}

async function saying(process: Deno.ChildProcess, words: string): Promise<void> {
  const reader = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const late = setTimeout(() => process.kill("SIGKILL"), READY_MS);
  let said = "";
  while (!said.includes(words)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`rathole did not say ${words}: ${said}`);
    said += value;
  }
  clearTimeout(late);
  void (async () => {
    while (!(await reader.read()).done);
  })().catch(() => {});
}
