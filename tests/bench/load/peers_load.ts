/** The load of `peers.ts` in the hands of a measurement, and what it does to the server. */
import { type RoleProcess, runPostern } from "../../e2e/processes_fixture.ts";
import { linesOf } from "../../../tools/test_output.ts";
import { cpuSeconds, pin, scriptCommand } from "../children.ts";

/** What the load says when all are registered. */
export interface Registered {
  readonly count: number;
  readonly established: number;
  /** Connections that ended on the way. */
  readonly lost: number;
  readonly seconds: number;
}

export interface LoadOptions {
  readonly server: string;
  /** A folder with `ca-cert.pem`, `agent-cert.pem` and `agent-key.pem`. */
  readonly pki: string;
  readonly count: number;
  /** Handshakes at one time; 0: all at once. */
  readonly window?: number;
  /** Between two keepalives; default: as agents do. */
  readonly keepaliveMs?: number;
  /** Default: any. */
  readonly core?: number;
}

export class PeersLoad implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #problem: Promise<string>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;

  constructor({ server, pki, count, window = 0, keepaliveMs, core }: LoadOptions) {
    const args = ["--server", server, "--pki", pki, "--count", `${count}`, "--window", `${window}`];
    if (keepaliveMs !== undefined) args.push("--keepalive", `${keepaliveMs}`);
    this.#process = scriptCommand("load/peers.ts", args, "piped").spawn();
    if (core !== undefined) pin(this.#process.pid, core);
    this.#lines = linesOf(this.#process.stdout)[Symbol.asyncIterator]();
    this.#problem = new Response(this.#process.stderr).text();
    this.#input = this.#process.stdin.getWriter();
  }

  /** Waits until all are registered, from the start or the last {@linkcode redial} on. */
  async registered(): Promise<Registered> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the load ended: ${await this.#problem}`);
    return JSON.parse(value) as Registered;
  }

  /** All forget their connections and dial again in the same moment. */
  async redial(): Promise<void> {
    await this.#input.write(new TextEncoder().encode("redial\n"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    const late = setTimeout(() => this.#process.kill("SIGKILL"), 5_000);
    await this.#process.status;
    clearTimeout(late);
    await this.#lines.return?.();
    await this.#problem;
  }
}

/** CPU time and memory of a process around something that happens to it. */
export async function costOf<T>(
  pid: number,
  happens: () => Promise<T>,
): Promise<{ value: T; cpuSeconds: number; grownMiB: number }> {
  const [cpu, memory] = [cpuSeconds(pid), residentMiB(pid)];
  const value = await happens();
  return { value, cpuSeconds: cpuSeconds(pid) - cpu, grownMiB: residentMiB(pid) - memory };
}

export function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1] ?? NaN) / 1024;
}

/** Limits of a server that lets one source be thousands of clients. */
export const OPEN_LIMITS = [
  ...["--limit", "connections-per-source=20000", "--limit", "connections-per-all=20000"],
  ...["--limit", "handshakes-per-source=off", "--limit", "handshakes-per-all=off"],
];

/** What the server itself says of its registered agents. A machine that is busy with the load may need more than one question. */
export async function registeredAgents(server: RoleProcess, folder: string): Promise<number> {
  const { path } = await server.until("admin-listening");
  let said = "";
  for (let attempt = 0; attempt < 5; attempt++) {
    const answer = await runPostern(["status", "--json", "--unix-socket-path", String(path)], folder);
    said = answer.said;
    if (answer.code !== 0) continue;
    const { services } = JSON.parse(answer.stdout) as { readonly services: readonly { readonly agents: number }[] };
    return services.reduce((sum, { agents }) => sum + agents, 0);
  }
  throw new Error(`the server does not say how many agents it has: ${said}`);
}
