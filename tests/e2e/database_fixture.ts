/**
 * Real databases for tests: PostgreSQL and Redis as their own programs, with nothing of the machine's settings, on a free port of
 * loopback, in a folder of their own, never as root. They end with the test.
 */
import { join } from "node:path";
import { sleep } from "./tcp_fixture.ts";

/** The user that has no rights. Only root can be somebody else, and must be: PostgreSQL does not run as root. */
const NOBODY = 65_534;
const USER = Deno.uid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
const READY_MS = 60_000;
export const PASSWORD = "of-a-test";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly said: string;
}

/** Runs a program to its end with this on its standard input. */
export async function runWith(
  input: Uint8Array<ArrayBuffer>,
  program: string,
  args: readonly string[],
  options: Deno.CommandOptions = {},
) {
  const child = new Deno.Command(program, { args: [...args], stdin: "piped", stdout: "piped", stderr: "piped", ...options })
    .spawn();
  // Who needs no input may end before it is written.
  const written = new Blob([input]).stream().pipeTo(child.stdin).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await written;
  return { code, out: new TextDecoder().decode(stdout), said: new TextDecoder().decode(stderr) };
}

/** A program that stays until the end of the test. */
class Daemon implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #said: Promise<string>;
  readonly #signal: Deno.Signal;
  #hasEnded = false;

  constructor(program: string, args: readonly string[], signal: Deno.Signal, options: Deno.CommandOptions = {}) {
    this.#signal = signal;
    this.#process = new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      ...USER,
      ...options,
    })
      .spawn();
    this.#said = new Response(this.#process.stderr).text();
    this.#process.status.then(() => this.#hasEnded = true);
  }

  /** Asks until the answer is yes. Throws when the program has ended, with its words. */
  async untilReady(isReady: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + READY_MS;
    while (!await isReady()) {
      if (this.#hasEnded || performance.now() > deadline) {
        this.#end();
        throw new Error(`a database did not come up: ${await this.#said}`);
      }
      await sleep(50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    await this.#process.status;
    await this.#said;
  }

  #end(): void {
    if (!this.#hasEnded) this.#process.kill(this.#signal);
  }
}

/** A folder that the user of the databases may write to. */
class DataFolder implements Disposable {
  // Not where TMPDIR says: that may lie where nobody else may go.
  readonly path = Deno.makeTempDirSync({ dir: "/tmp", prefix: "postern-data-" });

  constructor() {
    if (USER.uid !== undefined) Deno.chownSync(this.path, USER.uid, USER.gid ?? null);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Where PostgreSQL's programs lie: on PATH, or where Debian keeps each version. */
export const POSTGRES_FOLDER = findPostgres();

function findPostgres(): string {
  const versions = "/usr/lib/postgresql";
  try {
    const newest = [...Deno.readDirSync(versions)].map(({ name }) => Number(name)).sort((a, b) => b - a)[0];
    return `${versions}/${newest}/bin`;
  } catch {
    return `${versions}/VERSION/bin`;
  }
}

/** What a test of both asks of the machine. */
export const DATABASE_NEEDS = {
  tools: ["psql", "redis-server", "redis-cli"],
  files: [`${POSTGRES_FOLDER}/postgres`, `${POSTGRES_FOLDER}/initdb`, "dist/postern"],
};

/** Starts PostgreSQL with the user `postgres` and {@linkcode PASSWORD}. */
export async function startPostgres(port: number): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  try {
    const folder = stack.use(new DataFolder()).path;
    const data = join(folder, "data"), password = join(folder, "password");
    Deno.writeTextFileSync(password, `${PASSWORD}\n`, { mode: 0o644 });
    const options = { cwd: folder, env: { LC_ALL: "C" }, ...USER };
    const made = await runWith(
      new Uint8Array(),
      `${POSTGRES_FOLDER}/initdb`,
      ["--username=postgres", "--auth=scram-sha-256", `--pwfile=${password}`, "--locale=C", "--encoding=UTF8", "--no-sync", data],
      options,
    );
    if (made.code !== 0) throw new Error(`initdb ended with ${made.code}: ${made.said}`);
    const settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "jit=off"]
      .concat(["shared_buffers=16MB", "max_parallel_workers_per_gather=0"]);
    const args = ["-D", data, "-p", `${port}`, ...settings.flatMap((setting) => ["-c", setting])];
    // At once, but not before its processes, which write into the folder.
    const daemon = stack.use(new Daemon(`${POSTGRES_FOLDER}/postgres`, args, "SIGQUIT", options));
    await daemon.untilReady(async () => (await psql(port, ["-c", "select 1"])).code === 0);
    return stack;
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** psql as a user would call it, without the settings of whoever runs the tests; rows come without a frame. */
export async function psql(port: number, args: readonly string[], input = new Uint8Array()): Promise<Ran> {
  const at = ["--host=127.0.0.1", `--port=${port}`, "--username=postgres", "--dbname=postgres", "--no-psqlrc"];
  const form = ["--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"];
  return await runWith(input, "psql", [...at, ...form, ...args], { env: { PGPASSWORD: PASSWORD, PGCONNECT_TIMEOUT: "60" } });
}

/** Starts Redis, in memory only. */
export async function startRedis(port: number): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  try {
    const folder = stack.use(new DataFolder()).path;
    const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"];
    const daemon = stack.use(new Daemon("redis-server", args, "SIGTERM", { cwd: folder }));
    await daemon.untilReady(async () => (await redis(port, ["ping"])).out === "PONG\n");
    return stack;
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

export async function redis(port: number, args: readonly string[], input = new Uint8Array()): Promise<Ran> {
  return await runWith(input, "redis-cli", ["-h", "127.0.0.1", "-p", `${port}`, ...args]);
}
