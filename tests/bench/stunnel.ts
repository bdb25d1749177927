/** Two stunnel processes back to back, with client certificates required: what TCP inside of TLS costs with a plain tool. */
import { stopProcess } from "./children.ts";
import { here, type Starter } from "./iperf.ts";

export interface StunnelOptions {
  /** Where the configuration lies. */
  readonly folder: string;
  /** A development PKI's folder. */
  readonly pki: string;
  /** Where the far end connects to, as it sees it: `127.0.0.1:5201`. */
  readonly sink: string;
  /** How each end is started, the address on which it accepts, and a port that is free there. */
  readonly near: StunnelEnd;
  readonly far: StunnelEnd;
}

export interface StunnelEnd {
  readonly start: Starter;
  readonly address: string;
  readonly port: number;
}

export class Stunnel implements AsyncDisposable {
  /** Where the near end accepts. */
  readonly port: number;
  readonly pids: readonly number[];
  readonly #processes: readonly Deno.ChildProcess[];

  private constructor(port: number, processes: readonly Deno.ChildProcess[]) {
    this.port = port;
    this.pids = processes.map((process) => process.pid);
    this.#processes = processes;
  }

  /** Both ends on this machine, in front of a port of 127.0.0.1, with what a gateway has. Null as {@linkcode start} is. */
  static async here(
    { folder, pki }: { readonly folder: string; readonly pki: { readonly folder: string } },
    sinkPort: number,
  ): Promise<Stunnel | null> {
    const end = (): StunnelEnd => ({ start: here, address: "127.0.0.1", port: freePort() });
    return await Stunnel.start({ folder, pki: pki.folder, sink: `127.0.0.1:${sinkPort}`, near: end(), far: end() });
  }

  /** Null, with a word on standard error, where stunnel is not installed or does not start. */
  static async start({ folder, pki, sink, near, far }: StunnelOptions): Promise<Stunnel | null> {
    const common = "foreground = yes\nsyslog = no\npid =\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n";
    const end = (role: string, { address, port }: StunnelEnd, to: string, more: string) => {
      const path = `${folder}/stunnel-${role}.conf`;
      const tls = `cert = ${pki}/${role}-cert.pem\nkey = ${pki}/${role}-key.pem\nCAfile = ${pki}/ca-cert.pem\n`;
      Deno.writeTextFileSync(
        path,
        `${common}[bulk]\naccept = ${address}:${port}\nconnect = ${to}\n${tls}verifyChain = yes\n${more}`,
      );
      return path;
    };
    const processes: Deno.ChildProcess[] = [];
    try {
      processes.push(far.start("stunnel", end("server", far, sink, "requireCert = yes\n")).spawn());
      processes.push(near.start("stunnel", end("agent", near, `${far.address}:${far.port}`, "client = yes\n")).spawn());
      for (const process of processes) await configured(process);
      return new Stunnel(near.port, processes);
    } catch (error) {
      console.error(`stunnel is left out: ${error instanceof Error ? error.message : error}`);
      await Promise.all(processes.map(stopProcess));
      return null;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map(stopProcess));
  }
}

/** It says so when it listens. What else it says is not wanted, but must not fill the pipe. */
async function configured(process: Deno.ChildProcess): Promise<void> {
  const reader = process.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  while (!said.includes("Configuration successful")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(said.trim().split("\n").at(-1) ?? "it ended");
    said += value;
  }
  void (async () => {
    while (!(await reader.read()).done);
  })().catch(() => {});
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
