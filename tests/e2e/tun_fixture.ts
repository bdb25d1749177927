/**
 * A host of its own for a test: a network namespace with a TUN device, behind which `tun_agent.ts` connects to the server. What
 * runs there uses the kernel's TCP, UDP and ICMP, and all of its packets go through the tunnel's DATAGRAMs. Needs root.
 *
 *   namespace: curl, python3 ─► kernel ─► TUN ─► tun_agent (outside) ─► DATAGRAMs ─► server ─► connector ─► backends
 */
import { join, resolve } from "node:path";
import { linesOf } from "../../tools/test_output.ts";
import type { CertificateFiles } from "./pki_fixture.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const AGENT = join(ROOT, "tests", "e2e", "tun_agent.ts");
const PROGRAMS = join(ROOT, "tests", "interop", "kernel_programs.py");
/** What an agent of earlier peers can send in one DATAGRAM. */
const DATAGRAM_MAX_BYTES = 1_156;
/** Linux has no IPv6 on a device with less. */
export const DEVICE_MTU = 1_280;
const DECODER = new TextDecoder();

/** What tests with a TUN device ask of the machine. */
export const TUN_NEEDS = {
  root: true,
  tools: ["unshare", "nsenter", "ip", "python3", "curl"],
  files: ["/dev/net/tun", "dist/postern"],
};

/** Which service is where. */
export interface TunRoute {
  readonly service: string;
  readonly addresses: readonly string[];
}

/** The argument of tun_agent.ts. */
export interface TunTarget {
  readonly server: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly routes: readonly TunRoute[];
}

export interface TunOptions {
  /** HOST:PORT of the server, or of what stands in front of it. */
  readonly server: string;
  readonly ca: string;
  readonly files: CertificateFiles;
  readonly routes: readonly TunRoute[];
}

/** One job of kernel_programs.py, and what it said. */
export type Job = Readonly<Record<string, unknown>> & { readonly kind: string };
export type JobResult = Readonly<Record<string, unknown>>;

export class TunHost implements AsyncDisposable {
  /** Addresses of the host that its programs may send from. */
  readonly sources = Array.from({ length: 250 }, (_, i) => `100.64.0.${i + 1}`);
  readonly #namespace: Namespace;
  readonly #agent: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<string>;

  private constructor(namespace: Namespace, agent: Deno.ChildProcess) {
    this.#namespace = namespace;
    this.#agent = agent;
    this.#lines = linesOf(agent.stdout);
  }

  static async start(options: TunOptions): Promise<TunHost> {
    const namespace = await Namespace.open();
    const { files, routes, server, ca } = options;
    const target: TunTarget = { server, ca, cert: files.cert, key: files.key, routes };
    const agent = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", AGENT, JSON.stringify(target)],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const host = new TunHost(namespace, agent);
    try {
      await host.#configure(routes);
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
    return host;
  }

  get agentPid(): number {
    return this.#agent.pid;
  }

  /** The command with which a program runs in the namespace. */
  command(program: string, ...args: readonly string[]): Deno.Command {
    return this.#namespace.command(program, ...args);
  }

  /** Runs a program in the namespace to its end and returns what it printed. Throws when it fails. */
  run(program: string, ...args: readonly string[]): Promise<string> {
    return this.#namespace.run(program, ...args);
  }

  /** Runs a job of kernel_programs.py in the namespace. */
  async job(job: Job): Promise<JobResult> {
    return JSON.parse(await this.run("python3", "-B", PROGRAMS, JSON.stringify(job)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    stop(this.#agent);
    await this.#agent.status;
    await this.#lines.return(undefined);
    await this.#namespace[Symbol.asyncDispose]();
  }

  async #configure(routes: readonly TunRoute[]): Promise<void> {
    const device = String((await this.#say())["device"]);
    await this.#namespace.take(device);
    const idBytes = routes.length > 1 ? 2 + Math.max(...routes.map(({ service }) => service.length)) : 0;
    const to = routes.flatMap(({ addresses }) => addresses);
    await this.run(
      "sh",
      "-ec",
      [
        "ip link set lo up",
        `ip link set ${device} mtu ${DEVICE_MTU} up`,
        `ip addr add 100.64.0.1/32 dev ${device}`,
        // Any address of this network is ours, without a line for each.
        "ip route add local 100.64.0.0/24 dev lo",
        `ip -6 addr add fd00::100/128 dev ${device} nodad`,
        ...to.map((address) =>
          address.includes(":")
            ? `ip -6 route add ${address}/128 dev ${device}`
            : `ip route add ${address}/32 dev ${device} src 100.64.0.1 mtu ${DATAGRAM_MAX_BYTES - idBytes}`
        ),
      ].join("\n"),
    );
    await this.#say();
  }

  async #say(): Promise<Readonly<Record<string, unknown>>> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("the agent with the TUN device ended");
    return JSON.parse(value);
  }
}

/** A network namespace that lives as long as this object, and no longer than this process. */
export class Namespace implements AsyncDisposable {
  readonly #holder: Deno.ChildProcess;

  private constructor(holder: Deno.ChildProcess) {
    this.#holder = holder;
  }

  static async open(): Promise<Namespace> {
    // It holds the namespace until its standard input ends, whatever becomes of us; the echo says that it is there.
    const holder = new Deno.Command("unshare", { args: ["--net", "cat"], stdin: "piped", stdout: "piped", stderr: "inherit" })
      .spawn();
    const writer = holder.stdin.getWriter(), reader = holder.stdout.getReader();
    await writer.write(new Uint8Array(1));
    await reader.read();
    writer.releaseLock();
    reader.releaseLock();
    return new Namespace(holder);
  }

  /** The process whose namespace it is, for `ip link set ... netns PID`. */
  get pid(): number {
    return this.#holder.pid;
  }

  /** Moves a device of this machine here. */
  async take(device: string): Promise<void> {
    await output(new Deno.Command("ip", { args: ["link", "set", device, "netns", `${this.pid}`], ...PIPED }));
  }

  command(program: string, ...args: readonly string[]): Deno.Command {
    return new Deno.Command("nsenter", { args: [`--net=/proc/${this.pid}/ns/net`, program, ...args], ...PIPED });
  }

  async run(program: string, ...args: readonly string[]): Promise<string> {
    return await output(this.command(program, ...args));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.stdin.close();
    await this.#holder.status;
    await this.#holder.stdout.cancel();
  }
}

const PIPED = { stdin: "null", stdout: "piped", stderr: "piped" } as const;

async function output(command: Deno.Command): Promise<string> {
  const { code, stdout, stderr } = await command.output();
  if (code !== 0) throw new Error(`a program in the namespace ended with ${code}: ${DECODER.decode(stderr)}`);
  return DECODER.decode(stdout);
}

function stop(process: Deno.ChildProcess): void {
  try {
    process.kill("SIGTERM");
  } catch (error) {
    // It may have ended by itself.
    if (!(error instanceof TypeError)) throw error;
  }
}
